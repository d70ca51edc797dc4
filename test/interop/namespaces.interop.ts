import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { stringify } from 'yaml';
import { until } from '../support/until.ts';
import { adminName, startForge } from './forge.ts';

/*
 * What docker-compose.yml does by `network_mode: service:…`, and a pod by itself, made by hand with network namespaces: the forge and
 * Sallyport share one, the world is another. Needs root.
 */

const execute = promisify(execFile);
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const tsx = fileURLToPath(import.meta.resolve('tsx'));
const inside = '10.203.7.1';
const world = '10.203.7.2';

t.test('the forge in a network namespace shared with Sallyport alone', async (t) => {
  const pod = `sp-pod-${process.pid}`;
  const outside = `sp-out-${process.pid}`;
  const ip = (...args: string[]) => execute('ip', args);
  const within = (namespace: string, ...command: string[]) =>
    execute('ip', ['netns', 'exec', namespace, ...command], { timeout: 60_000 });
  const node = (...args: string[]) => [process.execPath, '--import', tsx, main, ...args];

  for (const namespace of [pod, outside]) {
    await ip('netns', 'add', namespace);
    t.teardown(() => ip('netns', 'del', namespace));
    await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }
  const [one, two] = [`spa${process.pid % 100_000}`, `spb${process.pid % 100_000}`];
  await ip('link', 'add', one, 'netns', pod, 'type', 'veth', 'peer', 'name', two, 'netns', outside);
  for (const [namespace, link, address] of [
    [pod, one, inside],
    [outside, two, world],
  ] as const) {
    await ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', link);
    await ip('-n', namespace, 'link', 'set', link, 'up');
  }

  const wrapper = ['ip', 'netns', 'exec', pod];
  const rootUrl = `http://${inside}:4180`;
  const forge = await startForge({ rootUrl, tcp: { host: '127.0.0.1', port: 3000 }, wrapper });
  t.teardown(() => forge.stop());

  const file = join(t.testdir(), 'sallyport.yaml');
  writeFileSync(
    file,
    stringify({
      server: { listen: '0.0.0.0:4180', public_url: 'http://127.0.0.1:4180' },
      operations: { listen: '127.0.0.1:9464' },
      upstream: { url: 'http://127.0.0.1:3000', preset: 'forgejo' },
      session: { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'] },
      sources: [
        {
          id: 'idp',
          issuer: 'http://127.0.0.1:9999',
          client_id: 'forge',
          client_secret: 'a-client-secret-of-the-tests',
          mfa: { preset: 'generic' },
        },
      ],
    }),
  );
  const [command = '', ...args] = [...wrapper, ...node('serve', '--config', file)];
  const sallyport = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = once(sallyport, 'exit');
  t.teardown(async () => {
    sallyport.kill('SIGTERM');
    await gone;
  });
  let log = '';
  sallyport.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await until(() => log.includes('"message":"ready"'), 'Sallyport is ready', 60_000);

  /** Status of one request with a spoofed header; 0 when nobody answers. */
  const status = async (namespace: string, url: string): Promise<number> => {
    const script = `fetch(process.argv[1], { redirect: 'manual', headers: { host: '127.0.0.1:4180', 'x-webauth-user': '${adminName}' }, signal: AbortSignal.timeout(5000) }).then((answer) => console.log(answer.status), () => console.log(0))`;
    const { stdout } = await within(namespace, process.execPath, '-e', script, url);
    return Number(stdout);
  };

  t.test('inside, the forge believes a header: that is why it matters', async (t) => {
    t.equal(await status(pod, 'http://127.0.0.1:3000/api/v1/admin/users'), 200);
  });

  t.test('the world reaches Sallyport, which believes nobody', async (t) => {
    t.ok([401, 421].includes(await status(outside, `http://${inside}:4180/api/v1/admin/users`)));
    const { stdout } = await within(outside, ...node('check', '--direct', rootUrl, '--as', adminName));
    t.match(stdout, /warn .*did not believe/);
  });

  t.test('the world does not reach the forge, nor the operations listener', async (t) => {
    t.equal(await status(outside, `http://${inside}:3000/`), 0);
    t.equal(await status(outside, `http://${inside}:9464/metrics`), 0);
    const { stdout } = await within(outside, ...node('check', '--direct', `http://${inside}:3000`));
    t.match(stdout, /ok .*can't be reached from here/);
  });

  t.test(
    'a forge that listens on every address of the namespace is found out by check --direct',
    async (t) => {
      const open = await startForge({ rootUrl, tcp: { host: '0.0.0.0', port: 3001 }, wrapper });
      t.teardown(() => open.stop());
      const failed = within(
        outside,
        ...node('check', '--direct', `http://${inside}:3001`, '--as', adminName),
      );
      await t.rejects(failed, { code: 1, stdout: /fail .*believed/ });
    },
  );
});
