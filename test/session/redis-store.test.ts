import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import t from 'tap';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { Secret } from '../../src/kernel/secret.ts';
import type { RedisSettings } from '../../src/session/redis-options.ts';
import { createStore } from '../../src/session/store.ts';
import type { Store } from '../../src/session/types.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import type { RedisServer } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { failureOf } from './failure.ts';
import { holdToStoreContract } from './store-contract.ts';

interface Opened {
  readonly store: Store;
  readonly warnings: string[];
  readonly ups: boolean[];
  readonly commands: string[];
}

function open(settings: Omit<RedisSettings, 'key_prefix'>): Opened {
  const warnings: string[] = [];
  const ups: boolean[] = [];
  const commands: string[] = [];
  const meter = {
    ...silentMeter,
    storeUp: (up: boolean) => void ups.push(up),
    storeCommand: (command: string) => void commands.push(command),
  };
  const logWarning = (message: string, fields: object) =>
    void warnings.push(`${message} ${JSON.stringify(fields)}`);
  const store = createStore(
    { redis: { key_prefix: 'sp:', ...settings } },
    { meter, clock: systemClock, logWarning },
  );
  return { store, warnings, ups, commands };
}

async function withAdmin<T>(server: RedisServer, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(server.port, '127.0.0.1', { protocol: 2 });
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

t.test('the Redis store keeps the contract', async (t) => {
  const server = await startRedis();
  const { store, commands, ups, warnings } = open({ url: `${server.url}/3` });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  await holdToStoreContract(t, { store, elapse: (ms) => wait(ms + 20) });

  await t.test('keys stand under the prefix, in the database of the url', async (t) => {
    const keys = await withAdmin(server, async (redis) => {
      await redis.select(3);
      return redis.keys('*');
    });
    t.ok(keys.includes('sp:forever'));
    t.same(
      keys.filter((key) => !key.startsWith('sp:')),
      [],
    );
  });

  await t.test('commands are counted, and nothing was worth a warning', async (t) => {
    t.ok(['get', 'set', 'pexpire', 'del', 'setnx', 'ping'].every((command) => commands.includes(command)));
    t.same(ups, [false, true]);
    t.same(warnings, []);
  });
});

t.test('a stopped Redis is noticed, fails at once, and is found again with its data', async (t) => {
  const server = await startRedis();
  const { store, warnings, ups } = open({ url: server.url });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  await store.put('a', Buffer.from('kept'), 600_000);
  const beforeMs = Date.now();
  await server.stop();
  await until(() => !store.health().up);
  t.ok(store.health().sinceMs >= beforeMs);
  const since = store.health().sinceMs;
  for (const work of [
    store.get('a'),
    store.put('a', Buffer.of(1), 9),
    store.touch('a', 9),
    store.delete('a'),
    store.ping(),
  ]) {
    const failure = await failureOf(work);
    t.equal(failure.code, 'store_unavailable');
    t.ok(failure.ms < 100, `at once: ${failure.ms}`);
  }
  await until(() => store.health().cause?.includes('ECONNREFUSED') === true);
  t.equal(store.health().sinceMs, since, 'the outage began once');
  const restartedAt = performance.now();
  await server.restart();
  await until(() => store.health().up);
  t.ok(performance.now() - restartedAt < 4000, 'recovery is seen soon');
  t.equal((await store.get('a'))?.sealed.toString(), 'kept');
  t.equal(warnings.length, 2, 'one line for the outage, one for its end');
  t.same(ups, [false, true, false, true]);
});

t.test('a Redis that accepts and never answers fails within a second, and heals', async (t) => {
  const server = await startRedis();
  const { store } = open({ url: server.url });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  await store.put('a', Buffer.from('kept'), 600_000);
  server.pause();
  const first = await failureOf(store.get('a'));
  t.equal(first.code, 'store_unavailable');
  t.match(first.detail, /no answer in time/);
  t.ok(first.ms < 1000, `within a second: ${first.ms}`);
  const second = await failureOf(store.get('a'));
  t.ok(second.ms < 100, `known to be down: ${second.ms}`);
  server.resume();
  await until(() => store.health().up);
  t.equal((await store.get('a'))?.sealed.toString(), 'kept');
});

t.test('silence is noticed without anyone asking', async (t) => {
  const server = await startRedis();
  const { store } = open({ url: server.url });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  await store.ping();
  server.pause();
  await until(() => !store.health().up);
  server.resume();
  await until(() => store.health().up);
});

t.test('a Redis that is not there at start is waited for, but by no request', async (t) => {
  const server = await startRedis();
  await server.stop();
  const { store, warnings } = open({ url: server.url });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  t.equal(store.health().up, false);
  const failure = await failureOf(store.get('a'));
  t.equal(failure.code, 'store_unavailable');
  t.match(failure.detail, /ECONNREFUSED/);
  t.ok(failure.ms < 1000);
  await server.restart();
  await until(() => store.health().up);
  t.equal(await store.get('a'), undefined);
  t.equal(warnings.length, 2);
});

t.test('a server out of memory refuses what is new, and what is there goes on', async (t) => {
  const server = await startRedis();
  const { store } = open({ url: server.url });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  await store.put('a', Buffer.from('kept'), 600_000);
  await withAdmin(server, (redis) => redis.config('SET', 'maxmemory', '1'));
  const failure = await failureOf(store.put('b', Buffer.of(1), 1000));
  t.equal(failure.code, 'store_unavailable');
  t.match(failure.detail, /^OOM/);
  t.equal((await store.get('a'))?.sealed.toString(), 'kept');
  t.match(store.health(), { up: true, cause: /^OOM/ });
  await withAdmin(server, (redis) => redis.config('SET', 'maxmemory', '0'));
  await store.put('b', Buffer.of(1), 1000);
  t.equal(store.health().cause, undefined);
});

t.test('a read-only replica is unavailable for writing until it is none any more', async (t) => {
  const server = await startRedis();
  const { store } = open({ url: server.url });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  await store.ping();
  // A primary that nobody will find: it stays a replica with its old data, which it serves.
  await withAdmin(server, (redis) => redis.replicaof('127.0.0.1', 1));
  const failure = await failureOf(store.put('a', Buffer.of(1), 1000));
  t.equal(failure.code, 'store_unavailable');
  t.match(failure.detail, /^READONLY/);
  await withAdmin(server, (redis) => redis.replicaof('NO', 'ONE'));
  await store.put('a', Buffer.of(1), 1000);
  t.same((await store.get('a'))?.sealed, Buffer.of(1));
});

t.test('after a failover the new primary is found, though the old connection still stands', async (t) => {
  const [former, next] = await Promise.all([startRedis(), startRedis()]);
  let target = former.port;
  const address = createServer((socket) => {
    const upstream = connect(target, '127.0.0.1');
    socket.pipe(upstream).pipe(socket);
    for (const end of [socket, upstream]) end.on('error', () => (socket.destroy(), upstream.destroy()));
  });
  await new Promise<void>((resolve) => void address.listen(0, '127.0.0.1', resolve));
  const { port } = address.address() as AddressInfo;
  const { store } = open({ url: `redis://127.0.0.1:${port}` });
  const closeAddress = (): Promise<unknown> => new Promise((resolve) => address.close(resolve));
  t.teardown(() => Promise.all([store.close(), former.stop(), next.stop(), closeAddress()]));
  await store.put('a', Buffer.of(1), 60_000);
  await withAdmin(former, (redis) => redis.replicaof('127.0.0.1', next.port));
  target = next.port;
  const putAgain = (): Promise<boolean> =>
    store.put('b', Buffer.of(2), 60_000).then(
      () => true,
      () => false,
    );
  t.equal(await putAgain(), false);
  await until(putAgain);
  t.same(await withAdmin(next, (redis) => redis.keys('*')), ['sp:b']);
});

t.test('a database that the server does not have is no database, never another one', async (t) => {
  const server = await startRedis();
  const { store } = open({ url: `${server.url}/999` });
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  const failure = await failureOf(store.put('a', Buffer.of(1), 1000));
  t.equal(failure.code, 'store_unavailable');
  t.match(failure.detail, /^ERR/);
  t.same(await server.dump(), []);
});

t.test('a wrong or missing password counts as down', async (t) => {
  const server = await startRedis({ args: ['--requirepass', 'right-password'] });
  t.teardown(() => server.stop());
  const rows: [string, Omit<RedisSettings, 'key_prefix'>, RegExp][] = [
    ['none', { url: server.url }, /^NOAUTH/],
    ['wrong', { url: server.url.replace('//', '//:wrong-password@') }, /^WRONGPASS/],
    [
      'wrong user',
      { url: server.url, username: 'nobody', password: new Secret('right-password') },
      /^WRONGPASS/,
    ],
  ];
  for (const [title, settings, cause] of rows) {
    const { store, warnings } = open(settings);
    const failure = await failureOf(store.ping());
    t.match(failure.detail, cause, title);
    t.notMatch(
      JSON.stringify([warnings, failure, store.health()]),
      /password@|right-password|wrong-password/,
      title,
    );
    await store.close();
  }
  const right = open({ url: server.url.replace('//', '//:right-password@') });
  await right.store.ping();
  await right.store.close();
});

t.test('LOADING counts as down, and no error repeats what the server quotes of a command', async (t) => {
  const secret = 'very-secret-password';
  let reply = `-ERR unknown command 'AUTH', with args beginning with: '${secret}'\r\n`;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write(reply));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { store, warnings } = open({ url: `redis://:${secret}@127.0.0.1:${port}` });
  t.teardown(() => Promise.all([store.close(), new Promise((resolve) => server.close(resolve))]));
  const failure = await failureOf(store.ping());
  t.equal(failure.detail, 'ERR: the server refused the command');
  reply = '-LOADING Redis is loading the dataset in memory\r\n';
  await until(() => store.health().cause?.startsWith('LOADING') === true);
  t.equal((await failureOf(store.get('a'))).code, 'store_unavailable');
  t.notMatch(JSON.stringify([warnings, failure, store.health()]), new RegExp(secret));
});

t.test('a reply that is no Redis at all is an outage, not a crash', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { store } = open({ url: `redis://127.0.0.1:${port}` });
  t.teardown(() => Promise.all([store.close(), new Promise((resolve) => server.close(resolve))]));
  const failure = await failureOf(store.ping());
  t.equal(failure.code, 'store_unavailable');
  t.ok(failure.ms < 1000);
});

t.test('rediss:// speaks TLS to a server whose certificate holds, and to no other', async (t) => {
  const at = (name: string): string => fileURLToPath(new URL(`fixtures/${name}.pem`, import.meta.url));
  const port = await freePort();
  const files = [
    '--tls-cert-file',
    at('server'),
    '--tls-key-file',
    at('server-key'),
    '--tls-ca-cert-file',
    at('ca'),
  ];
  const server = await startRedis({ port, args: ['--port', '0', '--tls-port', String(port), ...files] });
  t.teardown(() => server.stop());
  const url = `rediss://127.0.0.1:${port}`;
  const client = { client_cert_file: at('client'), client_key_file: at('client-key') };
  const { store } = open({ url, tls: { ca_file: at('ca'), ...client } });
  await store.put('a', Buffer.from('sealed'), 60_000);
  t.equal((await store.get('a'))?.sealed.toString(), 'sealed');
  await store.close();

  const rows: [string, Omit<RedisSettings, 'key_prefix'>, RegExp][] = [
    ['an authority that the machine does not trust', { url, tls: client }, /SELF_SIGNED|UNABLE_TO/],
    [
      'a name that the certificate does not bear',
      { url: url.replace('127.0.0.1', 'localhost'), tls: { ca_file: at('ca'), ...client } },
      /ALTNAME/,
    ],
    ['no certificate of our own', { url, tls: { ca_file: at('ca') } }, /./],
    ['no TLS at all', { url: url.replace('rediss', 'redis') }, /./],
  ];
  for (const [title, settings, cause] of rows) {
    const { store } = open(settings);
    const failure = await failureOf(store.ping());
    t.equal(failure.code, 'store_unavailable', title);
    t.match(failure.detail, cause, title);
    await store.close();
  }
});

t.test('after closing every command fails at once', async (t) => {
  const server = await startRedis();
  const { store } = open({ url: server.url });
  t.teardown(() => server.stop());
  await store.ping();
  await store.close();
  t.equal((await failureOf(store.get('a'))).code, 'store_unavailable');
  t.equal(store.health().up, false);
});
