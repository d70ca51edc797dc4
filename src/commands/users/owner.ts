import { readFile, stat } from 'node:fs/promises';
import { stdin } from 'node:process';
import type { SourceConfig } from '../../config/schema.ts';
import { isSubjectIdentifier, type Subject } from '../../identity/binding-record.ts';
import { parseRows, type LineFault, type Rows } from './rows.ts';
import { UsageFault, type Workplace } from './workplace.ts';

/** Whose a name is to be, and through which source. */
export interface Owner extends Subject {
  readonly source: string;
}

/** What was given of an owner: the source or its issuer, and the subject. */
export interface GivenOwner {
  readonly source?: string | undefined;
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
}

/**
 * The owner that was meant, or one sentence on what is wrong. The issuer must be a configured one: issuers are compared
 * exactly, so that a slash too many would give the name to nobody.
 */
export function resolveOwner(given: GivenOwner, sources: readonly SourceConfig[]): Owner | string {
  const { source: id, issuer, subject } = given;
  const known = (of: (source: SourceConfig) => string): string => sources.map(of).join(', ');
  if (subject === undefined) return 'no subject is given';
  if (!isSubjectIdentifier(subject))
    return 'the subject is longer than 255 characters, or holds a control character';
  if (id === undefined && issuer === undefined) return 'neither source nor issuer is given';
  if (id !== undefined && !sources.some((source) => source.id === id))
    return `no source has the id ${JSON.stringify(id)}; there are: ${known((source) => source.id)}`;
  const found = sources.find(
    (source) => (id === undefined || source.id === id) && (issuer === undefined || source.issuer === issuer),
  );
  if (found !== undefined) return { issuer: found.issuer, subject, source: found.id };
  return id === undefined
    ? `no source has the issuer ${JSON.stringify(issuer)} (issuers are compared exactly); there are: ${known((source) => source.issuer)}`
    : `source ${id} has another issuer than ${JSON.stringify(issuer)}`;
}

const maxFileBytes = 16 * 1024 * 1024;

/** Reads a file of users; `-` is standard input. @throws UsageFault when it cannot be read */
export async function readRows(path: string, columns: readonly string[]): Promise<Rows> {
  try {
    if (path === '-') return parseRows(await readAll(stdin), columns);
    if ((await stat(path)).size > maxFileBytes)
      throw new UsageFault(`${JSON.stringify(path)} is larger than 16 MiB`);
    return parseRows(await readFile(path, 'utf8'), columns);
  } catch (error) {
    if (error instanceof UsageFault) throw error;
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new UsageFault(`${JSON.stringify(path)} cannot be read: ${code}`);
  }
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

/** Tells every fault by its line, and that nothing was changed. Exit status. */
export function refuseFile(place: Workplace, path: string, faults: readonly LineFault[]): 1 {
  for (const { line, message } of [...faults].sort((a, b) => a.line - b.line))
    place.complain(`${path === '-' ? 'standard input' : path}:${line}: ${message}`);
  place.complain(`${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}; nothing was changed`);
  return 1;
}

/** How long a session may still act under a name that has passed to another subject. */
export function sessionsNotice({ config }: Workplace): string {
  const hours = Math.ceil(config.session.absolute_timeout / 3_600_000);
  return `Sessions that are open now go on under these names until they end: at most ${hours} h (session.absolute_timeout).`;
}
