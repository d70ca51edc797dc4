import { Redis } from 'ioredis';
import t from 'tap';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { atTheMasterOfItsSlot } from '../../src/session/redis-announcing.ts';
import { slotOf } from '../../src/session/redis-slots.ts';
import { createStore } from '../../src/session/store.ts';
import type { Store } from '../../src/session/types.ts';
import { askRedis, startCluster } from '../support/redis-groups.ts';
import type { RedisServer } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { failureOf } from './failure.ts';
import { holdToStoreContract } from './store-contract.ts';

const cluster = await startCluster({ replicasEach: 1 });
t.teardown(() => cluster.stop());
const [a, b, c] = cluster.masters as [RedisServer, RedisServer, RedisServer];

interface Opened {
  readonly store: Store;
  readonly warnings: string[];
}

function open(nodes: readonly string[], prefix = 'sp:'): Opened {
  const warnings: string[] = [];
  const store = createStore(
    { redis: { key_prefix: prefix, cluster: { nodes } } },
    {
      meter: silentMeter,
      clock: systemClock,
      logWarning: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
    },
  );
  return { store, warnings };
}

/** Listens, and waits until what is announced from now on is heard. */
function listening(store: Store, heard: (word: string) => void, missed?: () => void): Promise<void> {
  return new Promise((resolve) => {
    store.listen({
      heard,
      missed() {
        missed?.();
        resolve();
      },
    });
  });
}

/** A key of the store that the slots of a master hold. */
function keyOf(master: RedisServer, stem: string): string {
  const third = cluster.masters.indexOf(master);
  for (let index = 0; ; index += 1) {
    const slot = slotOf(`sp:${stem}${index}`);
    if (Math.floor((slot * 3) / 16_384) === third) return `${stem}${index}`;
  }
}

t.test('our slots are those of the server', async (t) => {
  for (const key of ['sp:a', 'sp:session:x{y}', 'sp:{}', 'sp:ü'])
    t.equal(await askRedis(a.port, 'CLUSTER', 'KEYSLOT', key), slotOf(key), key);
});

t.test('a cluster keeps the contract of a store', async (t) => {
  // One of the nodes is enough.
  const { store, warnings } = open(cluster.nodes.slice(2));
  t.teardown(() => store.close());
  await holdToStoreContract(t, { store, elapse: (ms) => wait(ms + 20) });
  t.same(warnings, []);

  await t.test('keys stand on every master, and all are found', async (t) => {
    const keys = cluster.masters.flatMap((master) => [1, 2, 3].map((n) => keyOf(master, `scan:${n}:`)));
    for (const key of keys) await store.put(key, Buffer.of(1), 60_000);
    for (const { port } of cluster.masters)
      t.ok(Number(await askRedis(port, 'DBSIZE')) >= 3, 'a part of them is here');
    const found: string[] = [];
    for await (const key of store.keys('scan:')) found.push(key);
    t.same(found.sort(), keys.sort());
  });
});

t.test('what one announces is heard by all, though the nodes do not hear each other', async (t) => {
  const stores = cluster.masters.map((_, index) => open([cluster.nodes[index] ?? '']).store);
  t.teardown(() => Promise.all(stores.map((store) => store.close())));
  const heard = stores.map(() => new Set<string>());
  await Promise.all(stores.map((store, index) => listening(store, (word) => heard[index]?.add(word))));
  await cluster.cutBus();
  await Promise.all(stores.map((store, index) => store.announce(`from ${index}`)));
  await until(() => heard.every((words) => words.size === 3), 'all have heard all', 1000);
});

t.test('a master that was demoted takes no announcement, and nobody listens to it', async (t) => {
  const channel = 'sp:announcements';
  for (const { port } of cluster.replicas) {
    const redis = new Redis(port, '127.0.0.1', {
      protocol: 2,
      enableReadyCheck: false,
      retryStrategy: () => null,
    });
    t.teardown(() => redis.disconnect());
    await t.rejects(Promise.resolve(atTheMasterOfItsSlot.publish(redis, channel, 'x')), {
      message: /^MOVED /,
    });
    const heard = (): void => void t.fail('nothing is heard here');
    await t.rejects(Promise.resolve(atTheMasterOfItsSlot.hear(redis, channel, heard, () => undefined)));
  }
});

t.test('announcements go on where their slot has gone', async (t) => {
  const { store, warnings } = open(cluster.nodes);
  t.teardown(() => store.close());
  const heard: string[] = [];
  let missed = 0;
  let lost = 0;
  store.listen({ heard: () => undefined, missed: () => undefined, lost: () => (lost += 1) });
  await listening(
    store,
    (word) => heard.push(word),
    () => (missed += 1),
  );
  const slot = slotOf('sp:announcements');
  const from = cluster.masters[Math.floor((slot * 3) / 16_384)] ?? a;
  const to = from === a ? b : a;
  const under = await cluster.moveSlot(slot, from, to);
  await store.announce('under way');
  await until(() => heard.includes('under way'), 'what was announced on the way is heard');
  await under.finish();
  await until(() => missed === 2, 'what may have been missed is told');
  await store.announce('after it');
  await until(() => heard.includes('after it'), 'what is announced at the new master is heard');
  await (await cluster.moveSlot(slot, to, from)).finish();
  await until(() => missed === 3, 'and back');
  await store.announce('back');
  await until(() => heard.includes('back'), 'what is announced at the former master is heard');
  t.same(heard, ['under way', 'after it', 'back'], 'each once');
  t.equal(lost, 2, 'nothing was heard for a moment, and that is told');
  t.same(warnings, [], 'a move is no outage');
});

t.test('a slot on its way from one master to another is served all the time', async (t) => {
  const { store, warnings } = open(cluster.nodes);
  t.teardown(() => store.close());
  const slot = 100;
  const keys: string[] = [];
  // The tag puts them all into one slot; which one is of no matter.
  let tag = 0;
  while (slotOf(`{t${tag}}`) >= 5461) tag += 1;
  for (let index = 0; index < 8; index += 1) keys.push(`{t${tag}}:${index}`);
  for (const key of keys) await store.put(key, Buffer.from(key), 60_000);
  await store.addMember(`{t${tag}}:set`, 'one', 60_000, 10);
  const everything = async (): Promise<void> => {
    for (const key of keys) {
      const record = await store.get(key);
      t.equal(record?.sealed.toString(), key);
      t.ok((record?.ttlMs ?? 0) > 1000);
      t.equal(await store.touch(key, 60_000), true);
      t.equal(await store.putIfAbsent(key, Buffer.of(1), 1000), false);
      t.equal(await store.replace(key, Buffer.from(key), Buffer.from(key)), true);
    }
    t.same(await store.addMember(`{t${tag}}:set`, 'two', 60_000, 10), []);
    t.same([...(await store.members(`{t${tag}}:set`))].sort(), ['one', 'two']);
    await store.count(`{t${tag}}:counts`, 'f', Buffer.from('label'), 60_000);
    await store.prepend(`{t${tag}}:list`, Buffer.from('x'), 5, 60_000);
  };
  const moving = slotOf(`sp:${keys[0] ?? ''}`);
  t.not(moving, slot);
  const under = await cluster.moveSlot(moving, a, b);
  await everything();
  await everything();
  t.equal((await store.counts(`{t${tag}}:counts`))[0]?.count, 2);
  await under.finish();
  await everything();
  t.equal((await store.list(`{t${tag}}:list`)).length, 3);
  const found = new Set<string>();
  for await (const key of store.keys(`{t${tag}}:`)) found.add(key);
  t.equal(found.size, keys.length + 3);
  await (await cluster.moveSlot(moving, b, a)).finish();
  await everything();
  t.same(warnings, []);
});

t.test('one master silent: its keys fail within a second, the others are served, and it heals', async (t) => {
  const { store, warnings } = open(cluster.nodes);
  t.teardown(() => store.close());
  const [lost, kept] = [keyOf(a, 'lost'), keyOf(b, 'kept')];
  for (const key of [lost, kept]) await store.put(key, Buffer.from(key), 600_000);
  await until(() => store.health().up);
  a.pause();
  try {
    const first = await failureOf(store.get(lost));
    t.equal(first.code, 'store_unavailable');
    t.match(first.detail, /no answer in time/);
    t.ok(first.ms < 1000, `within a second: ${first.ms}`);
    const second = await failureOf(store.get(lost));
    t.ok(second.ms < 200, `known to be down: ${second.ms}`);
    t.equal((await store.get(kept))?.sealed.toString(), kept);
    t.match(store.health(), { up: false, cause: new RegExp(`^1 of 3 masters: .*${a.port}`) });
    const scan = await failureOf(store.keys('kept')[Symbol.asyncIterator]().next());
    t.equal(scan.code, 'store_unavailable', 'a list that is not whole is none');
  } finally {
    a.resume();
  }
  await until(() => store.health().up);
  t.equal((await store.get(lost))?.sealed.toString(), lost);
  t.equal(warnings.length, 2, 'one line for the outage, one for its end');
});

t.test('a master killed, that of announcements: its replica is found when it is promoted', async (t) => {
  let prefix = 'sp';
  while (Math.floor((slotOf(`${prefix}announcements`) * 3) / 16_384) !== 2) prefix += ':';
  const { store, warnings } = open(cluster.nodes, prefix);
  t.teardown(() => store.close());
  let key = 'promoted';
  while (Math.floor((slotOf(`${prefix}${key}`) * 3) / 16_384) !== 2) key += '+';
  await store.put(key, Buffer.from('kept'), 600_000);
  let missed = 0;
  let lost = 0;
  const heard: string[] = [];
  store.listen({
    heard: (word) => heard.push(word),
    missed: () => (missed += 1),
    lost: () => (lost += 1),
  });
  await until(() => missed === 1);
  // The copy is there before the end is.
  await until(async () => {
    const replica = cluster.replicas[2];
    return Number(await askRedis(replica?.port ?? 0, 'DBSIZE')) === Number(await askRedis(c.port, 'DBSIZE'));
  });
  await cluster.failOverAfter(1500);
  await c.kill();
  await until(() => !store.health().up);
  await until(() => lost === 1, 'that nothing is heard is told');
  t.equal((await failureOf(store.announce('to nobody'))).code, 'store_unavailable', 'and to who announces');
  const killedAt = performance.now();
  await until(
    async () => (await store.get(key).catch(() => undefined))?.sealed.toString() === 'kept',
    'the replica serves',
    30_000,
  );
  t.comment(`${Math.round(performance.now() - killedAt)} ms until the replica served`);
  await until(() => store.health().up && missed === 2, 'and it is told that something may have been missed');
  await store.announce('after');
  await until(() => heard.length > 0, 'announcements go on');
  t.same(heard, ['after']);
  t.match(
    warnings.filter((line) => line.includes('the ends of sessions')),
    [/can not be heard/, /are heard again/],
  );
});

t.test('a server that is no cluster, and nodes that are not there, are named as such', async (t) => {
  const { startRedis } = await import('../support/redis.ts');
  const alone = await startRedis();
  t.teardown(() => alone.stop());
  const wrong = open([`127.0.0.1:${alone.port}`]);
  t.match((await failureOf(wrong.store.ping())).detail, /is no node of a cluster/);
  await wrong.store.close();
  await alone.stop();
  const gone = open([`127.0.0.1:${alone.port}`]);
  let lost = 0;
  gone.store.listen({ heard: () => undefined, missed: () => undefined, lost: () => (lost += 1) });
  const failure = await failureOf(gone.store.ping());
  t.match(failure.detail, /ECONNREFUSED/);
  await until(() => lost === 1, 'who has never heard anything is told, too');
  t.ok(failure.ms < 1000);
  await gone.store.close();
});
