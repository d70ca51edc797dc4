import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { buildProgram } from '../support/built.ts';
import { startRedis } from '../support/redis.ts';
import { loopbackOrigin } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { ask, askSecurely, countersOf, lives, load, many, serve, startApp } from './stage.ts';

const { main, clear } = buildProgram();
const redis = await startRedis();
t.teardown(async () => {
  await redis.stop();
  clear();
});
const replaced = 'a worker has taken the place of one that ended';

/** A database of its own: what one test keeps is nothing to another. */
let databases = 0;
const database = (): string => `${redis.url}/${(databases += 1)}`;

t.jobs = 3;

t.test('a signal to the whole group, under load: no request is lost', { buffered: true }, async (t) => {
  const app = await startApp(t);
  const served = await serve(t, main, {
    upstream: app.url,
    redis: database(),
    more: { log: { access: false } },
  });
  const { origin } = served;
  const traffic = load(['a', 'slow', 'b', 'slow'].map((path) => () => ask(`${origin}/open/${path}`)));
  await until(() => traffic.total() > 200, 'load');
  const long = many(6, () => ask(`${origin}/open/long`));
  await until(() => app.seen.has('/open/long'), 'the long ones run');
  // As a terminal does on Ctrl-C.
  process.kill(-served.pid, 'SIGINT');
  await until(
    () =>
      served.look('/readyz').then(
        ({ status }) => status !== 200,
        () => true,
      ),
    '/readyz fails',
  );
  await traffic.stop();
  t.same([...traffic.outcomes.keys()], ['200'], JSON.stringify([...traffic.outcomes]));
  t.same(
    (await long).map(({ status }) => status),
    Array(6).fill(200),
    'what ran was finished',
  );
  t.equal((await served.exit)[0], 0, served.out.stderr);
  t.equal(served.told('shutting down').length, 1);
});

t.test(
  'the primary is killed: what runs is finished, nobody stays, and the port is free',
  { buffered: true },
  async (t) => {
    const app = await startApp(t);
    const served = await serve(t, main, { upstream: app.url, redis: database() });
    const workers = served.workers();
    const long = many(6, () => ask(`${served.origin}/open/long`));
    await until(() => app.seen.has('/open/long'), 'the long ones run');
    await new Promise((resolve) => setTimeout(resolve, 200));
    process.kill(served.pid, 'SIGKILL');
    const next = createServer();
    await until(
      () =>
        new Promise<boolean>((resolve) => {
          next.once('error', () => resolve(false));
          next.listen(Number(new URL(served.origin).port), '127.0.0.1', () => resolve(true));
        }),
      'the port is free',
      1_500,
    );
    next.close();
    t.same(
      (await long).map(({ status }) => status),
      Array(6).fill(200),
    );
    await until(() => !workers.some(lives), 'they are gone');
    await until(
      () => served.lines().filter((line) => line['url.path'] === '/open/long').length === 6,
      'and said so',
    );
  },
);

t.test('a worker that hangs is ended and replaced', { buffered: true }, async (t) => {
  const app = await startApp(t);
  const served = await serve(t, main, {
    upstream: app.url,
    redis: database(),
    more: { log: { access: false } },
  });
  const [stuck = 0] = served.workers();
  await ask(`${served.origin}/open/a`);
  await countersOf(served);
  process.kill(stuck, 'SIGSTOP');
  const startedAt = performance.now();
  const before = await countersOf(served);
  t.ok(performance.now() - startedAt < 3_000, 'a scrape does not wait for it');
  t.ok(
    (before.get('sallyport_http_requests_total{route="open",access="public",method="GET",code="200"}') ??
      0) >= 1,
  );
  const statuses = (await many(20, () => ask(`${served.origin}/open/b`))).map(({ status }) => status);
  t.same([...new Set(statuses)], [200], 'the other one serves');
  await until(() => served.told(replaced).length === 1, 'a replacement', 40_000);
  t.equal(served.told('a worker does not answer: it is ended').length, 1);
  t.notOk(lives(stuck));
});

t.test(
  'workers that die in a row are replaced ever more slowly, and for ever',
  { buffered: true },
  async (t) => {
    const app = await startApp(t);
    const defect = `
    import cluster from 'node:cluster';
    import { existsSync } from 'node:fs';
    if (cluster.isWorker) setInterval(() => existsSync(process.env.DIRECTORY + '/die') && process.exit(7), 20).unref();
  `;
    const served = await serve(t, main, {
      upstream: app.url,
      redis: database(),
      nodeArguments: [`--import=data:text/javascript,${encodeURIComponent(defect)}`],
    });
    const fuse = join(served.directory, 'die');
    writeFileSync(fuse, '');
    const deaths = () => served.told('a worker ended unexpectedly');
    await until(() => deaths().length >= 5, 'deaths in a row', 40_000);
    t.same(
      deaths()
        .slice(0, 5)
        .map((line) => line['replaced_in_ms']),
      [0, 250, 500, 1_000, 2_000],
    );
    t.equal((await served.look('/livez')).status, 200);
    t.equal((await served.look('/readyz')).status, 503);
    rmSync(fuse);
    await until(
      () =>
        ask(`${served.origin}/open/a`).then(
          ({ status }) => status === 200,
          () => false,
        ),
      'it serves again',
      30_000,
    );
  },
);

t.test('a fault that a start finds ends it, as it does a single process', { buffered: true }, async (t) => {
  const app = await startApp(t);
  const origin = await loopbackOrigin();
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(Number(new URL(origin).port), '127.0.0.1', resolve));
  t.teardown(() => squatter.close());
  const start = { upstream: app.url, redis: database(), origin, untilReady: false };
  const ends = await Promise.all(
    [1, 2].map(async (workers) => {
      const served = await serve(t, main, { ...start, more: { server: { workers } } });
      const [status] = await served.exit;
      await until(() => served.out.stderr.includes('\n'), 'its words');
      t.same(served.workers(), []);
      return { status, stderr: served.out.stderr, ready: served.told('ready').length };
    }),
  );
  t.match(ends[0], { status: 2, stderr: /cannot be bound \(EADDRINUSE\)/, ready: 0 });
  t.same(ends[1], ends[0]);
});

t.test(
  'a socket in the file system outlives all workers; certificates are swapped in all',
  { buffered: true },
  async (t) => {
    const app = await startApp(t);
    const fixture = (name: string): string =>
      fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
    const place = mkdtempSync(join(tmpdir(), 'sallyport-socket-'));
    t.teardown(() => rmSync(place, { recursive: true }));
    const tls = { cert_file: join(place, 'tls.crt'), key_file: join(place, 'tls.key') };
    const socketPath = join(place, 'http.sock');
    const install = (name: string): void => {
      copyFileSync(fixture(`${name}.pem`), tls.cert_file);
      copyFileSync(fixture(`${name}.key`), tls.key_file);
    };
    install('app');
    const server = { listen: `unix:${socketPath}`, public_url: 'https://forge.internal', tls };
    const served = await serve(t, main, { upstream: app.url, redis: database(), more: { server } });
    const knock = () => askSecurely(socketPath, readFileSync(fixture('ca.pem'), 'utf8'));
    const shown = async (): Promise<readonly string[]> => [...new Set(await many(12, knock))];
    t.same(await shown(), ['200 app.internal']);
    install('other');
    await until(async () => (await shown()).join() === '200 other.internal', 'all show the new one');
    for (const pid of served.workers()) process.kill(pid, 'SIGKILL');
    await until(() => served.told(replaced).length === 2, 'replacements', 30_000);
    t.same(await shown(), ['200 other.internal']);
  },
);

t.test('nobody reads what they say: they serve all the same', { buffered: true }, async (t) => {
  const app = await startApp(t);
  const served = await serve(t, main, { upstream: app.url, redis: database(), deaf: true });
  const long = 'y'.repeat(1_000);
  // More than a pipe holds and the writers' queues together would take in one go.
  for (let round = 0; round < 6; round += 1) {
    const statuses = (await many(50, () => ask(`${served.origin}/open/${long}`))).map(({ status }) => status);
    t.same([...new Set(statuses)], [200]);
  }
  t.equal((await served.look('/metrics')).status, 200);
});
