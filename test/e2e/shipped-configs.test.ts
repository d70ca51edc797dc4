import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { countWorkers } from '../../src/workers/count.ts';
import { readManifests, readShipped } from '../deployment/manifests.ts';
import { buildProgram } from '../support/built.ts';
import { startRedis } from '../support/redis.ts';
import { freePort } from '../support/ports.ts';
import { until } from '../support/until.ts';
import { ask } from '../workers/stage.ts';

/*
 * The configurations that ship, as `serve` takes them: only addresses, the server name of Redis and the places of secrets are
 * this machine's, and `server.workers` is `auto`, as docs/operations.md has it for a single machine.
 */

type Json = Record<string, unknown>;

const { main, clear } = buildProgram();
const redis = await startRedis();
t.teardown(async () => {
  await redis.stop();
  clear();
});

const configMap = readManifests().find(({ manifest }) => manifest['kind'] === 'ConfigMap')?.manifest[
  'data'
] as Json | undefined;
const shipped: Readonly<Record<string, string>> = {
  'config/minimal.yaml': readShipped('minimal.yaml'),
  'config/docker-compose.yaml': readShipped('docker-compose.yaml'),
  'config/kubernetes/configmap.yaml': String(configMap?.['sallyport.yaml']),
  'config/systemd/sallyport.yaml': readShipped('systemd/sallyport.yaml'),
};

for (const [name, text] of Object.entries(shipped)) {
  t.test(`${name} starts with workers: auto`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'sallyport-shipped-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const listen = `127.0.0.1:${await freePort()}`;
    const operations = `127.0.0.1:${await freePort()}`;
    mkdirSync(join(directory, 'files'));
    let files = 0;
    const own = text
      .replaceAll('${CREDENTIALS_DIRECTORY}', '/run/credentials')
      .replaceAll(/\/run\/(?:secrets|credentials)[\w/-]*/g, () => {
        const file = join(directory, 'files', String((files += 1)));
        writeFileSync(file, 'a secret of these tests, long enough to be one\n', { mode: 0o600 });
        return file;
      })
      .replaceAll('/var/log/sallyport', directory)
      .replaceAll(/redis:\/\/[\w.]+:6379/g, redis.url);
    t.ok(own.includes(redis.url) && files > 0, 'what had to be replaced was found');
    const config = parse(own) as { server: Json; operations?: Json };
    const [publicUrl = ''] = [config.server['public_url']].flat() as string[];
    config.server = { ...config.server, listen, workers: 'auto' };
    config.operations = { ...config.operations, listen: operations };
    const file = join(directory, 'sallyport.yaml');
    writeFileSync(file, stringify(config));
    const child = spawn(process.execPath, [main, 'serve', '--config', file], {
      env: { PATH: process.env['PATH'] ?? '' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
    const ended = once(child, 'exit') as Promise<[number | null]>;
    t.teardown(() => child.kill('SIGKILL'));

    const expected = countWorkers('auto');
    const ready = (): Promise<boolean> =>
      ask(`http://${operations}/readyz`).then(
        ({ status, text }) =>
          status === 200 && (expected === 1 || text.includes(`"wanted":${expected},"accepting":${expected}`)),
        () => false,
      );
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${said}`);
        return ready();
      },
      'ready',
      60_000,
    );
    const answer = await ask(`http://${listen}/_sallyport/whoami`, {
      headers: { host: new URL(publicUrl).host },
    });
    t.equal(answer.status, 401);
    child.kill('SIGTERM');
    t.same((await ended)[0], 0, said);
    t.equal(said, '');
  });
}
