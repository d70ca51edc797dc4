import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { findMissing, findProgram, installCommand, type Program, programs } from './programs.ts';

/*
 * Runs before the tests (npm's `pretest`). The tests use a real Redis server, a real browser, a real nginx and a real
 * Prometheus: where they are missing, root on Debian gets them installed, and anybody else one clear line.
 *
 * Nothing of tap is imported here: it gives whatever process imports it half a minute, and packages may take longer. `tap build` comes
 * after this, since a fresh tap has a plugin that compiles TypeScript in a way that ours does not bear.
 */

/** Debian asks this script before a package starts its service; 101 = don't (invoke-rc.d(8)). */
const policyScript = '/usr/sbin/policy-rc.d';

const missing = findMissing(programs);
if (missing.length > 0) {
  if (process.getuid?.() === 0 && findProgram('apt-get') !== undefined) install(missing);
  const still = findMissing(missing);
  if (still.length > 0) {
    const named = still.map((program) => `${program.name} (${program.purpose})`).join(', ');
    process.stderr.write(`The tests need ${named}. Install as root: ${installCommand(still)}\n`);
    process.exitCode = 1;
  }
}

function install(wanted: readonly Program[]): void {
  process.stderr.write(
    `Installing for the tests: ${wanted.map((program) => program.debianPackage).join(', ')}\n`,
  );
  // Ports 6379, 80 and 9090 are none of our business: the tests start their own servers on ports of their own.
  const ours = !existsSync(policyScript);
  if (ours) writeFileSync(policyScript, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    spawnSync('/bin/sh', ['-c', installCommand(wanted)], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      // Standard output stays for the tests' own report.
      stdio: ['ignore', 2, 2],
    });
  } finally {
    if (ours) rmSync(policyScript, { force: true });
  }
}
