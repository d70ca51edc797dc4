import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { stringify } from 'yaml';
import { startRedis } from '../support/redis.ts';
import { testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import {
  accessTokenSeconds,
  ask,
  cookieOf,
  dueAfterSeconds,
  furnishRefreshHouse,
  makeGate,
} from './refresh-house.ts';

const session = (redis: { readonly port: number }) => ({
  idle_timeout: '8h',
  absolute_timeout: '24h',
  redis: { url: `redis://127.0.0.1:${redis.port}` },
});

t.test(
  '4 replicas, 200 requests at once of one session: one refresh, and no rotated token is spent twice',
  async (t) => {
    const redis = await startRedis();
    t.teardown(() => redis.stop());
    const house = await furnishRefreshHouse({ replicas: 4, config: { session: session(redis) } });
    t.teardown(() => house.close());
    const { origin, replicas, spent } = house;
    const cookie = cookieOf(await house.signIn(), origin);
    const round = () =>
      Promise.all(
        Array.from({ length: 200 }, (_, index) => ask(replicas[index % 4]!, origin, cookie, `/${index}`)),
      );
    await round();
    for (let generation = 1; generation <= 5; generation += 1) {
      house.advance(dueAfterSeconds + 1);
      const answers = await round();
      t.ok(
        answers.every(({ status }) => status === 200),
        `generation ${generation}: everybody is served`,
      );
      await house.untilRefreshed(generation);
      await round();
      t.equal(spent().length, generation);
    }
    t.equal(new Set(spent()).size, 5, 'each token once');
    t.strictSame(
      house.refreshes().map(({ result }) => result),
      Array.from({ length: 5 }, () => 'refreshed'),
    );
  },
);

t.test('the same with tokens that have expired and go upstream: all wait for the one refresh', async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  const house = await furnishRefreshHouse({
    replicas: 4,
    config: { session: session(redis), upstream: { pass_access_token: true } },
  });
  t.teardown(() => house.close());
  const { origin, replicas, spent, upstream } = house;
  const cookie = cookieOf(await house.signIn(), origin);
  const passed = (index: number): string | undefined =>
    upstream.seen[index]?.headers['x-forwarded-access-token'];
  await Promise.all(replicas.map((replica) => ask(replica, origin, cookie, '/')));
  const first = passed(upstream.seen.length - 1);
  t.type(first, 'string');
  for (let generation = 1; generation <= 3; generation += 1) {
    house.advance(accessTokenSeconds + 1);
    const from = upstream.seen.length;
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) => ask(replicas[index % 4]!, origin, cookie, '/')),
    );
    t.ok(answers.every(({ status }) => status === 200));
    const tokens = new Set(upstream.seen.slice(from).map((_, index) => passed(from + index)));
    t.equal(tokens.size, 1, 'one and the same token for all of them');
    t.notOk(tokens.has(first) || tokens.has(undefined), 'a new one');
    t.equal(spent().length, generation);
  }
  t.equal(new Set(spent()).size, 3);
});

t.test('a replica that is killed with the lock delays nobody by more than seconds', async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  const house = await furnishRefreshHouse({ replicas: 2, config: { session: session(redis) } });
  t.teardown(() => house.close());
  const { origin, op, replicas } = house;
  const cookie = cookieOf(await house.signIn(), origin);

  const directory = mkdtempSync(join(tmpdir(), 'sallyport-refresh-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'sallyport.yaml');
  writeFileSync(
    file,
    stringify({
      server: { listen: '127.0.0.1:0', public_url: origin },
      operations: { listen: '127.0.0.1:0' },
      upstream: { url: house.upstream.url },
      session: { ...session(redis), secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'] },
      sources: [
        {
          ...{ id: 'idp', issuer: op.issuer, ...testClient },
          scopes: ['openid', 'profile', 'email', 'offline_access'],
          mfa: { mode: 'enforce', aal2_amr_values: ['mfa'] },
        },
      ],
    }),
  );
  const script = fileURLToPath(new URL('refresh-replica.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', script, file, String((dueAfterSeconds + 1) * 1000)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => child.kill('SIGKILL'));
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const victim = { ...replicas[0]!, listen: said.toString().trim() };

  let asked = 0;
  op.fault = (endpoint) => {
    if (endpoint !== 'token') return undefined;
    asked += 1;
    return asked === 1 ? { kind: 'hang' } : undefined;
  };
  t.equal((await ask(victim, origin, cookie, '/')).status, 200);
  await until(() => asked === 1, 'the refresh of the replica that will be killed');
  const [lock] = (await redis.command('keys', '*lock:session:*')) as string[];
  t.type(lock, 'string');

  // The lock is renewed while it is held: others do not get it however long the IdP takes.
  house.advance(dueAfterSeconds + 1);
  const heldUntil = Date.now() + 6500;
  await until(
    async () => {
      const asking = Date.now();
      const { status } = await ask(replicas[1]!, origin, cookie, '/');
      if (status !== 200 || Date.now() - asking > 1000) t.fail(`${status} after ${Date.now() - asking} ms`);
      return Date.now() > heldUntil;
    },
    'longer than the lock lives by itself',
    30_000,
  );
  t.equal(asked, 1, 'renewed');

  child.kill('SIGKILL');
  await once(child, 'close');
  const killedAt = Date.now();
  await until(async () => {
    const asking = Date.now();
    const { status } = await ask(replicas[1]!, origin, cookie, '/');
    if (status !== 200 || Date.now() - asking > 1000) t.fail(`${status} after ${Date.now() - asking} ms`);
    return house.refreshes().length > 0;
  });
  t.ok(Date.now() - killedAt < 9000, `${Date.now() - killedAt} ms after the kill`);
  t.match(house.refreshes(), [{ result: 'refreshed' }]);
});

t.test(
  'a session that is lowered opens nothing on any replica, and its WebSockets are closed there too',
  async (t) => {
    const redis = await startRedis();
    t.teardown(() => redis.stop());
    const server = createServer((_request, response) => response.end('hello'));
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.send('hello'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    t.teardown(() => {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      server.close();
    });
    const house = await furnishRefreshHouse({
      replicas: 2,
      config: {
        session: session(redis),
        upstream: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
      },
    });
    t.teardown(() => house.close());
    const { origin, replicas, idp } = house;
    const cookie = cookieOf(await house.signIn(), origin);
    const other = replicas[1]!;
    const socket = new WebSocket(`ws://${other.listen.replace(/^https?:\/\//, '')}/x`, {
      headers: { origin, cookie, host: new URL(origin).host },
    });
    socket.on('error', () => undefined);
    await once(socket, 'message');

    house.advance(dueAfterSeconds + 1);
    await ask(replicas[0]!, origin, cookie, '/');
    await house.untilRefreshed(1);
    await ask(other, origin, cookie, '/');
    t.equal(socket.readyState, WebSocket.OPEN, 'a refresh that changes nothing closes nothing');

    idp.refreshed = { amr: ['pwd'] };
    house.advance(dueAfterSeconds + 1);
    const gone = once(socket, 'close');
    t.equal((await ask(replicas[0]!, origin, cookie, '/')).status, 200);
    t.match((await house.untilRefreshed(2)).at(-1), { result: 'lowered', aal: 'aal1' });
    await gone;
    await until(async () => (await ask(other, origin, cookie, '/')).status === 401);
    t.equal((await ask(replicas[0]!, origin, cookie, '/')).status, 401);
  },
);

t.test(
  'Redis fails while a token is spent: it is written down once Redis is back, and nobody is signed out',
  async (t) => {
    const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    t.teardown(() => redis.stop());
    const house = await furnishRefreshHouse({
      replicas: 2,
      config: { session: { ...session(redis), outage_grace: '1m' } },
    });
    t.teardown(() => house.close());
    const { origin, op, replicas, spent } = house;
    const cookie = cookieOf(await house.signIn(), origin);
    const gate = makeGate();
    let asked = 0;
    op.fault = (endpoint) => {
      if (endpoint !== 'token') return undefined;
      asked += 1;
      return { kind: 'hold', until: gate.opened };
    };
    house.advance(dueAfterSeconds + 1);
    t.equal((await ask(replicas[0]!, origin, cookie, '/')).status, 200);
    await until(() => asked === 1);
    await redis.stop();
    gate.open();
    await until(() => spent().length === 1);
    t.same(house.refreshes(), []);
    await redis.restart();
    t.match(await house.untilRefreshed(1), [{ result: 'refreshed' }]);
    await until(async () => (await ask(replicas[1]!, origin, cookie, '/')).status === 200);
    house.advance(dueAfterSeconds + 1);
    await until(async () => (await ask(replicas[1]!, origin, cookie, '/')).status === 200);
    t.match((await house.untilRefreshed(2)).at(-1), { result: 'refreshed' });
    t.equal(new Set(spent()).size, 2, 'the new one is what is spent next');
  },
);
