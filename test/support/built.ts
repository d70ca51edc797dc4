import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What `npm run build` makes, in a place of its own: its start does not wait for a compiler. */
export interface Built {
  /** To be run by node. */
  readonly main: string;
  readonly clear: () => void;
}

/** Builds the program. */
export function buildProgram(): Built {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const place = mkdtempSync(join(tmpdir(), 'sallyport-built-'));
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const options = ['-p', 'tsconfig.build.json', '--noCheck', '--outDir', join(place, 'dist')];
  execFileSync(process.execPath, [compiler, ...options], { cwd: root });
  symlinkSync(join(root, 'node_modules'), join(place, 'node_modules'));
  cpSync(join(root, 'package.json'), join(place, 'package.json'));
  return { main: join(place, 'dist/main.js'), clear: () => rmSync(place, { recursive: true }) };
}
