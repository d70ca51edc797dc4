import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { prepareListen } from '../../src/proxy/listen.ts';

/** Short: a socket's path has 107 characters at most. */
const dir = mkdtempSync(join(tmpdir(), 'sallyport-'));
t.teardown(() => rmSync(dir, { recursive: true }));

t.test('a socket that a killed process left behind makes way', async (t) => {
  const path = join(dir, 'dead.sock');
  // A process that ends without closing leaves its socket file.
  spawnSync(process.execPath, [
    '-e',
    `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  t.ok(existsSync(path), 'it is there');
  t.strictSame(await prepareListen(`unix:${path}`), { path });
  t.notOk(existsSync(path), 'it is gone');
});

t.test('a socket that somebody answers on stays, and so does a file that is no socket', async (t) => {
  writeFileSync(join(dir, 'file'), 'precious');
  const path = join(dir, 'alive.sock');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => server.close());
  await prepareListen(`unix:${path}`);
  t.ok(existsSync(path));
  await prepareListen(`unix:${join(dir, 'file')}`);
  t.ok(existsSync(join(dir, 'file')));
});

t.test('what is no address is refused', async (t) => {
  await t.rejects(prepareListen('4180'), { code: 'config_invalid' });
});
