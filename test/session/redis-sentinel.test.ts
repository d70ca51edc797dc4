import t from 'tap';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { Secret } from '../../src/kernel/secret.ts';
import type { RedisSettings } from '../../src/session/redis-options.ts';
import { createStore } from '../../src/session/store.ts';
import type { Store } from '../../src/session/types.ts';
import { askRedis, startSentinelGroup } from '../support/redis-groups.ts';
import { freePort } from '../support/ports.ts';
import { until } from '../support/until.ts';
import { failureOf } from './failure.ts';
import { holdToStoreContract } from './store-contract.ts';

const group = await startSentinelGroup();
t.teardown(() => group.stop());

function open(sentinel: Partial<NonNullable<RedisSettings['sentinel']>> = {}): {
  readonly store: Store;
  readonly warnings: string[];
} {
  const warnings: string[] = [];
  const store = createStore(
    { redis: { key_prefix: 'sp:', sentinel: { name: group.name, nodes: group.nodes, ...sentinel } } },
    {
      meter: silentMeter,
      clock: systemClock,
      logWarning: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
    },
  );
  return { store, warnings };
}

t.test('the master behind sentinels keeps the contract of a store', async (t) => {
  // A sentinel that is not there costs nothing.
  const { store, warnings } = open({ nodes: [`127.0.0.1:${await freePort()}`, ...group.nodes], db: 3 });
  t.teardown(() => store.close());
  await holdToStoreContract(t, { store, elapse: (ms) => wait(ms + 20) });
  t.same(warnings, []);
});

t.test('what the sentinels can not tell is named', async (t) => {
  const rows: [string, Partial<NonNullable<RedisSettings['sentinel']>>, RegExp][] = [
    [
      'a name that none knows',
      { name: 'other' },
      /no sentinel tells the master: the sentinels know no master other/,
    ],
    ['nobody there', { nodes: [`127.0.0.1:${await freePort()}`] }, /no sentinel tells.*ECONNREFUSED/],
    [
      'a password that they do not ask for',
      { username: 'me', password: new Secret('hush-hush') },
      /no sentinel tells.*WRONGPASS/,
    ],
  ];
  for (const [title, sentinel, cause] of rows) {
    const { store, warnings } = open(sentinel);
    const failure = await failureOf(store.ping());
    t.equal(failure.code, 'store_unavailable', title);
    t.match(failure.detail, cause, title);
    t.ok(failure.ms < 1000, title);
    t.notMatch(JSON.stringify([warnings, failure, store.health()]), /hush-hush/);
    await store.close();
  }
});

t.test('a master that was demoted while its connection stands is left', async (t) => {
  const { store } = open();
  t.teardown(() => store.close());
  await store.put('kept', Buffer.from('kept'), 600_000);
  const former = await group.master();
  await until(async () => {
    const sizes = await Promise.all(group.servers.map(({ port }) => askRedis(port, 'DBSIZE')));
    return new Set(sizes.map(String)).size === 1;
  }, 'the replicas have it');
  await until(
    async () =>
      (await askRedis(Number(group.nodes[0]?.split(':')[1]), 'SENTINEL', 'FAILOVER', group.name)) === 'OK',
  );
  await until(async () => (await group.master()) !== former, 'another is master', 30_000);
  const next = await group.master();
  // Written past the store, as by another replica of Sallyport: the former master sees it late, or never.
  await until(
    async () => (await askRedis(next.port, 'SET', 'sp:news', 'new')) === 'OK',
    'it takes writes',
    30_000,
  );
  const electedAt = performance.now();
  await until(
    async () => (await store.get('news').catch(() => undefined))?.sealed.toString() === 'new',
    'the new master is read',
  );
  await until(async () => {
    await store.put('written', Buffer.of(1), 60_000).catch(() => undefined);
    return (await askRedis(next.port, 'EXISTS', 'sp:written')) === 1;
  }, 'the new master is written');
  t.comment(`${Math.round(performance.now() - electedAt)} ms after the election`);
  t.equal((await store.get('kept'))?.sealed.toString(), 'kept');
  await until(
    async () => {
      const roles = await Promise.all(group.servers.map(({ port }) => askRedis(port, 'ROLE')));
      return roles.filter((role) => (role as unknown[] | undefined)?.[0] === 'master').length === 1;
    },
    'one master is left',
    30_000,
  );
});

t.test(
  'a master that is cut off from its sentinels, and goes on answering, is not believed for long',
  async (t) => {
    const { store } = open();
    t.teardown(() => store.close());
    const former = await group.master();
    await store.put('stale', Buffer.from('old'), 600_000);
    let missed = 0;
    store.listen({ heard: () => undefined, missed: () => (missed += 1) });
    await until(() => missed === 1);
    const next = group.servers.find((server) => server !== former);
    // What the sentinels would do of a master that they alone can't reach: another is made one, this one hears of nothing.
    for (const { port } of group.sentinels) await askRedis(port, 'SENTINEL', 'REMOVE', group.name);
    await askRedis(next?.port ?? 0, 'REPLICAOF', 'NO', 'ONE');
    for (const { port } of group.sentinels)
      await askRedis(port, 'SENTINEL', 'MONITOR', group.name, '127.0.0.1', String(next?.port), '2');
    t.equal(((await askRedis(former.port, 'ROLE')) as unknown[] | undefined)?.[0], 'master');
    await askRedis(next?.port ?? 0, 'SET', 'sp:stale', 'ended elsewhere');
    await until(
      async () => (await store.get('stale').catch(() => undefined))?.sealed.toString() === 'ended elsewhere',
      'the master that the sentinels name is read',
      15_000,
    );
    await until(() => missed === 2, 'announcements are heard there too');
  },
);

t.test('with every sentinel gone the master in use stays in use', async (t) => {
  const { store } = open();
  t.teardown(() => store.close());
  await store.put('alone', Buffer.from('here'), 600_000);
  await Promise.all(group.sentinels.map((sentinel) => sentinel.stop()));
  const until2 = performance.now() + 2500;
  await until(async () => {
    t.equal((await store.get('alone'))?.sealed.toString(), 'here');
    await wait(100);
    return performance.now() > until2;
  });
});
