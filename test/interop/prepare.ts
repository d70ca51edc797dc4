import { spawnSync } from 'node:child_process';
import { findMissing, installCommand, type Program } from '../setup/programs.ts';
import { buildForge, findForge } from './forge-binary.ts';

/*
 * Runs before the interoperability tests: sees to it that the forge and the programs are there. Root on Debian gets what is missing
 * installed; anybody else one clear line.
 */
const wanted: readonly Program[] = [
  { name: 'redis-server', debianPackage: 'redis-server', purpose: 'the session store' },
  { name: 'git', debianPackage: 'git', purpose: 'the real client' },
  { name: 'git-lfs', debianPackage: 'git-lfs', purpose: 'large files' },
  { name: 'ip', debianPackage: 'iproute2', purpose: 'network namespaces' },
];

const missing = findMissing(wanted);
if (missing.length > 0) {
  if (process.getuid?.() === 0) {
    spawnSync('/bin/sh', ['-c', installCommand(missing)], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 2, 2],
    });
  }
  const still = findMissing(missing);
  if (still.length > 0) {
    const named = still.map((program) => `${program.name} (${program.purpose})`).join(', ');
    process.stderr.write(`These tests need ${named}. Install as root: ${installCommand(still)}\n`);
    process.exit(1);
  }
}
try {
  const forge = findForge() ?? buildForge();
  process.stderr.write(`The forge under test: ${forge.path}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
