import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Config } from '../../config/schema.ts';
import { fail, ok, type Area, type Finding } from './finding.ts';

/** Whether lines can be added to `audit.file`: a start that can't does not start. Undefined: they go to standard output. */
export async function checkAudit({ audit }: Pick<Config, 'audit'>): Promise<Area | undefined> {
  return audit.file === undefined
    ? undefined
    : { name: 'audit trail', findings: [await tryFile(audit.file)] };
}

/** Looks, and makes nothing: a file that this user made, serve's might not be let to write to. */
async function tryFile(file: string): Promise<Finding> {
  const cure = 'serve does not start like this: make its folder, or correct audit.file';
  try {
    const found = await stat(file).catch(ifAbsent);
    if (found?.isDirectory() === true) return fail(`${file} is a folder`, 'name a file in it');
    if (found === undefined) {
      const folder = dirname(file);
      if (!(await stat(folder)).isDirectory()) return fail(`${folder} is no folder`, cure);
      await access(folder, constants.W_OK | constants.X_OK);
      return ok(`${file} is not there yet, and can be made`);
    }
    await access(file, constants.W_OK);
    return ok(`${file} can be added to`);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'it cannot be looked at';
    return fail(
      `${file}: ${code}`,
      code === 'EACCES' ? 'let this user write there; it has to be the one that runs serve' : cure,
    );
  }
}

function ifAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
