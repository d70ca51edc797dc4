import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { findProgram } from '../setup/programs.ts';
import { configOf, readShipped } from './manifests.ts';

const unit = readShipped('systemd/sallyport.service');
const directory = mkdtempSync(join(tmpdir(), 'sallyport-systemd-'));
t.teardown(() => rmSync(directory, { recursive: true }));

/** systemd looks for the executables; Node stands elsewhere on a developer's machine. */
function write(text: string): string {
  const file = join(directory, 'sallyport.service');
  writeFileSync(file, text.replaceAll('/usr/bin/node', process.execPath));
  return file;
}

function analyze(...args: readonly string[]) {
  const program = findProgram('systemd-analyze') ?? 'systemd-analyze';
  const { status, stdout, stderr } = spawnSync(program, ['--no-pager', ...args], { encoding: 'utf8' });
  return { status, said: stdout + stderr };
}

t.test('systemd has nothing to say against the unit, and has against a misspelt one', async (t) => {
  t.same(analyze('verify', write(unit)), { status: 0, said: '' });
  t.match(
    analyze('verify', write(unit.replace('ProtectHome=', 'ProtectHomes='))).said,
    /Unknown key .*'ProtectHomes'/,
  );
});

t.test('the unit is hardened: exposure below 2 of 10 by systemd-analyze', async (t) => {
  t.equal(analyze('security', '--offline=yes', '--threshold=20', write(unit)).status, 0);
  const bare = unit.replace(/^(?!\[|Exec|Type|Description).*$/gm, '');
  t.not(
    analyze('security', '--offline=yes', '--threshold=20', write(bare)).status,
    0,
    'the bound can be missed',
  );
});

t.test('the configuration beside it loads with the credentials that the unit gives', async (t) => {
  const text = readShipped('systemd/sallyport.yaml');
  const config = configOf(text, { CREDENTIALS_DIRECTORY: '/run/credentials/sallyport.service' });
  const given = [...unit.matchAll(/^LoadCredential=(\w+):/gm)].map(([, name]) => name);
  const wanted = [...text.matchAll(/\$\{CREDENTIALS_DIRECTORY\}\/(\w+)/g)].map(([, name]) => name);
  t.same(given, wanted);
  const logs = /^LogsDirectory=(\w+)$/m.exec(unit)?.[1] ?? '';
  t.match(config.audit.file, `/var/log/${logs}/`);
  const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]);
  t.ok(stop * 1000 > config.server.shutdown_grace, 'draining is given its time');
});
