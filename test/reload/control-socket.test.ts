import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { askReload, openControlSocket } from '../../src/reload/control-socket.ts';

const directory = mkdtempSync(join(tmpdir(), 'sallyport-socket-'));
t.teardown(() => rmSync(directory, { recursive: true }));

/** Sends bytes, and takes what comes back. */
function send(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.on('error', reject).on('close', () => resolve(answer));
  });
}

t.test('what is no request is told so, and reloads nothing', async (t) => {
  const path = join(directory, 'a.sock');
  const actors: (string | undefined)[] = [];
  const socket = await openControlSocket(path, {
    reload: async (actor) => {
      actors.push(actor);
      return { result: 'applied', restartRequired: [], warnings: [] };
    },
  });
  t.teardown(() => socket.close());
  for (const request of [
    'reload\n',
    '{}\n',
    'null\n',
    '{"command":"stop"}\n',
    '{"command":"reload","actor":7}\n',
    '{"command":"reload","actor":""}\n',
    '{"command":"reload","actor":"a\\nb"}\n',
    `{"command":"reload","actor":"${'a'.repeat(300)}"}\n`,
    'x'.repeat(10_000),
  ]) {
    t.match(
      JSON.parse(await send(path, request)),
      { result: 'malformed', message: /\S/ },
      request.slice(0, 50),
    );
  }
  t.strictSame(actors, []);
  t.match(await askReload(path, 'Zoë'), { result: 'applied' });
  t.match(await askReload(path, undefined), { result: 'applied' });
  t.strictSame(actors, ['Zoë', undefined]);
});

t.test(
  'a socket that a killed process left is replaced; one that answers, or another file, is not',
  async (t) => {
    const path = join(directory, 'b.sock');
    spawnSync(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    t.ok(existsSync(path), 'it was left');
    const commands = { reload: () => Promise.reject(new Error('nothing to see')) };
    const socket = await openControlSocket(path, commands);
    t.equal(lstatSync(path).mode & 0o777, 0o600);
    t.match(await askReload(path, undefined), { result: 'refused', report: 'nothing to see\n' });
    await t.rejects(openControlSocket(path, commands), {
      code: 'config_invalid',
      message: /another process/,
    });
    await socket.close();
    t.notOk(existsSync(path));
    writeFileSync(path, 'precious');
    await t.rejects(openControlSocket(path, commands), { code: 'config_invalid', message: /no socket/ });
    await t.rejects(openControlSocket(join(directory, 'no', 'where'), commands), { code: 'config_invalid' });
  },
);
