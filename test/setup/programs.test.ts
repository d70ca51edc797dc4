import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { findMissing, findProgram, installCommand, programs } from './programs.ts';

t.test('a program is found on PATH, and only if it may be run', (t) => {
  const folder = t.testdir({ 'no-such-tool-a': '', 'no-such-tool-b': '' });
  chmodSync(join(folder, 'no-such-tool-a'), 0o755);
  chmodSync(join(folder, 'no-such-tool-b'), 0o644);
  t.equal(findProgram('no-such-tool-a', folder), join(folder, 'no-such-tool-a'));
  t.equal(findProgram('no-such-tool-b', folder), undefined);
  t.equal(findProgram('no-such-tool-a', ''), undefined);
  t.end();
});

t.test('what is missing is named with the one command that installs it', (t) => {
  const missing = findMissing(programs, (name) => (name === 'nginx' ? '/usr/sbin/nginx' : undefined));
  t.match(installCommand(missing), / redis-server chromium caddy prometheus systemd$/);
  t.same(findMissing(programs), [], 'the tests of this very run have all they need');
  t.end();
});

t.test('packages may take longer to install than a test may take', (t) => {
  const script = fileURLToPath(new URL('prepare.ts', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, ['--import=tsx', script], {
    env: { PATH: process.env['PATH'], TAP_TIMEOUT: '0.001' },
    encoding: 'utf8',
  });
  t.equal(status, 0);
  t.equal(stdout, '', 'no test runner is at work yet');
  t.end();
});
