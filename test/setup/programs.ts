import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program that tests start, and the Debian package that brings it. */
export interface Program {
  readonly name: string;
  readonly debianPackage: string;
  /** What the tests need it for, in a few words. */
  readonly purpose: string;
}

/** Everything beyond Node.js that the tests start. */
export const programs: readonly Program[] = [
  { name: 'redis-server', debianPackage: 'redis-server', purpose: 'the session store' },
  { name: 'chromium', debianPackage: 'chromium', purpose: 'a real browser' },
  { name: 'nginx', debianPackage: 'nginx', purpose: 'the proxy that ours is compared with' },
  { name: 'caddy', debianPackage: 'caddy', purpose: 'forward auth as its example has it' },
  { name: 'prometheus', debianPackage: 'prometheus', purpose: 'a real scrape of our metrics' },
  { name: 'promtool', debianPackage: 'prometheus', purpose: 'the unit tests of our alert rules' },
  { name: 'systemd-analyze', debianPackage: 'systemd', purpose: 'the check of our systemd unit' },
];

/** nginx stands in sbin, which is not on every user's PATH. */
const usualFolders = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/bin', '/sbin'];

/** The path of a program, looked for on PATH and where Debian puts it; undefined when it is not there. */
export function findProgram(name: string, path = process.env['PATH'] ?? ''): string | undefined {
  const folders = [...path.split(delimiter).filter((folder) => folder !== ''), ...usualFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** Those of `wanted` that are not installed. */
export function findMissing(wanted: readonly Program[], find = findProgram): readonly Program[] {
  return wanted.filter((program) => find(program.name) === undefined);
}

/** The command that installs them on Debian. */
export function installCommand(missing: readonly Program[]): string {
  const packages = [...new Set(missing.map((program) => program.debianPackage))].join(' ');
  return `apt-get update && apt-get install -y --no-install-recommends ${packages}`;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
