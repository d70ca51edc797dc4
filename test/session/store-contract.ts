import type { Test } from 'tap';
import type { Store } from '../../src/session/types.ts';
import { until } from '../support/until.ts';

/** A store under test, and how to let its time pass. */
export interface StoreUnderTest {
  readonly store: Store;
  /** Lets at least `ms` pass for the store's keys. */
  readonly elapse: (ms: number) => Promise<void>;
}

/** What every store must do, whatever it keeps its records in. */
export async function holdToStoreContract(t: Test, { store, elapse }: StoreUnderTest): Promise<void> {
  const value = Buffer.from([0, 1, 0xff, 0x0d, 0x0a, 0x80]);

  await t.test('a key nobody put is not there', async (t) => {
    t.equal(await store.get('nothing'), undefined);
    t.equal(await store.touch('nothing', 1000), false);
    t.equal(await store.delete('nothing'), false);
  });

  await t.test('what is put comes back byte for byte, with the life it has left', async (t) => {
    await store.put('a', value, 60_000);
    const record = await store.get('a');
    t.same(record?.sealed, value);
    t.ok(record!.ttlMs > 55_000 && record!.ttlMs <= 60_000, String(record?.ttlMs));
    await store.put('empty', Buffer.alloc(0), 60_000);
    t.equal((await store.get('empty'))?.sealed.length, 0, 'nothing is a value too');
  });

  await t.test('putting again replaces value and life', async (t) => {
    await store.put('a', Buffer.from('second'), 1000);
    const record = await store.get('a');
    t.equal(record?.sealed.toString(), 'second');
    t.ok(record!.ttlMs <= 1000);
  });

  await t.test('a key dies when its life is over', async (t) => {
    await store.put('short', value, 40);
    t.ok(await store.get('short'));
    await elapse(45);
    t.equal(await store.get('short'), undefined);
    t.equal(await store.touch('short', 1000), false);
    t.equal(await store.delete('short'), false);
  });

  await t.test('a touch lengthens or shortens a life and leaves the value', async (t) => {
    await store.put('life', value, 1000);
    t.equal(await store.touch('life', 90_000), true);
    const record = await store.get('life');
    t.ok(record!.ttlMs > 80_000);
    t.same(record?.sealed, value);
    t.equal(await store.touch('life', 30), true);
    await elapse(35);
    t.equal(await store.get('life'), undefined);
  });

  await t.test('what is deleted is gone, and only one caller deleted it', async (t) => {
    await store.put('gone', value, 60_000);
    const answers = await Promise.all([store.delete('gone'), store.delete('gone')]);
    t.same(answers, [true, false]);
    t.equal(await store.get('gone'), undefined);
  });

  await t.test('of many who put if absent, one does', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => store.putIfAbsent('once', Buffer.of(index), 60_000)),
    );
    t.equal(answers.filter(Boolean).length, 1);
    t.same((await store.get('once'))?.sealed, Buffer.of(answers.indexOf(true)), 'and its value stands');
  });

  await t.test('once its life is over a key may be put if absent again', async (t) => {
    t.equal(await store.putIfAbsent('again', value, 40), true);
    await elapse(45);
    t.equal(await store.putIfAbsent('again', value, 60_000), true);
  });

  await t.test(
    'compare and set: where the expected value stands, and nowhere else; the life stays',
    async (t) => {
      const [one, two] = [Buffer.from([0xff, 0, 1]), Buffer.from([0xff, 0, 2])];
      t.equal(await store.replace('cas', one, two), false, 'nothing is not the empty value');
      t.equal(await store.replace('cas', Buffer.alloc(0), two), false);
      t.equal(await store.get('cas'), undefined, 'and nothing comes of it');
      await store.put('cas', one, 60_000);
      t.equal(await store.replace('cas', two, one), false);
      const answers = await Promise.all(Array.from({ length: 10 }, () => store.replace('cas', one, two)));
      t.equal(answers.filter(Boolean).length, 1, 'one of all who try');
      const replaced = await store.get('cas');
      t.same(replaced?.sealed, two);
      t.ok(replaced!.ttlMs > 50_000 && replaced!.ttlMs <= 60_000, String(replaced?.ttlMs));

      t.equal(await store.touchIf('cas', one, 90_000), false);
      t.ok((await store.get('cas'))!.ttlMs <= 60_000);
      t.equal(await store.touchIf('cas', two, 90_000), true);
      t.ok((await store.get('cas'))!.ttlMs > 80_000);
      t.equal(await store.deleteIf('cas', one), false);
      t.ok(await store.get('cas'));
      t.equal(await store.deleteIf('cas', two), true);
      t.equal(await store.deleteIf('cas', two), false);
      t.equal(await store.touchIf('cas', two, 1000), false);
      await store.putIfAbsent('cas-forever', one, undefined);
      t.equal(await store.replace('cas-forever', one, two), true);
      t.equal((await store.get('cas-forever'))?.ttlMs, Infinity);
    },
  );

  await t.test('a key without a life stays', async (t) => {
    t.equal(await store.putIfAbsent('forever', value, undefined), true);
    t.equal((await store.get('forever'))?.ttlMs, Infinity);
    await store.put('forever-2', value, Infinity);
    t.equal((await store.get('forever-2'))?.ttlMs, Infinity);
  });

  await t.test('keys are enumerated by prefix, each once, and a prefix is no pattern', async (t) => {
    const wanted = Array.from({ length: 700 }, (_, index) => `list:[a*]?^-\\${index}`);
    await Promise.all(wanted.map((key) => store.put(key, value, 60_000)));
    await store.put('list:aX1', value, 60_000);
    await store.put('list:[a*]?^-\\short', value, 30);
    await elapse(35);
    const found: string[] = [];
    for await (const key of store.keys('list:[a*]?^-\\')) found.push(key);
    t.same(found.sort(), [...wanted].sort());
    for await (const key of store.keys('nobody:')) t.fail(`found ${key}`);
  });

  await t.test('counters add up over callers, keep the label of the first, and die together', async (t) => {
    t.same(await store.counts('tally'), []);
    await Promise.all(
      Array.from({ length: 20 }, () => store.count('tally', 'one', Buffer.from([0xff, 1]), 60_000)),
    );
    await store.count('tally', 'two', Buffer.from('second'), 60_000);
    await store.count('tally', 'two', Buffer.from('another'), 60_000);
    const found = [...(await store.counts('tally'))].sort((a, b) => (a.field < b.field ? -1 : 1));
    t.same(found, [
      { field: 'one', label: Buffer.from([0xff, 1]), count: 20 },
      { field: 'two', label: Buffer.from('second'), count: 2 },
    ]);
    await store.count('tally', 'one', Buffer.alloc(0), 30);
    await elapse(35);
    t.same(await store.counts('tally'), []);
  });

  await t.test('a list keeps the newest first and no more than it may, and dies as a whole', async (t) => {
    t.same(await store.list('latest'), []);
    for (let index = 0; index < 5; index += 1)
      await store.prepend('latest', Buffer.of(0xf0, index), 3, 60_000);
    t.same(await store.list('latest'), [Buffer.of(0xf0, 4), Buffer.of(0xf0, 3), Buffer.of(0xf0, 2)]);
    await store.prepend('latest', Buffer.of(9), 3, 30);
    await elapse(35);
    t.same(await store.list('latest'), []);
  });

  await t.test('how long a key will live is told without its value', async (t) => {
    t.equal(await store.life('nobody'), undefined);
    await store.put('living', value, 60_000);
    const life = await store.life('living');
    t.ok(life! > 55_000 && life! <= 60_000, String(life));
    await store.put('for good', value, Infinity);
    t.equal(await store.life('for good'), Infinity);
  });

  await t.test('a set holds each member once, until that member ends', async (t) => {
    t.same(await store.members('set:none'), []);
    t.same(await store.addMember('set:a', 'long', 60_000, 10), []);
    t.same(await store.addMember('set:a', 'short', 250, 10), []);
    t.same(await store.addMember('set:a', 'long', 60_000, 10), []);
    t.same([...(await store.members('set:a'))].sort(), ['long', 'short']);
    await elapse(260);
    t.same(await store.members('set:a'), ['long'], 'the life of the set is not that of what came last');
    await store.removeMember('set:a', 'long');
    await store.removeMember('set:a', 'nobody');
    t.same(await store.members('set:a'), []);
  });

  await t.test('a set ends with its last member', async (t) => {
    await store.addMember('set:b', 'one', 40, 10);
    await store.addMember('set:b', 'two', 600, 10);
    await elapse(45);
    t.same(await store.members('set:b'), ['two']);
    await elapse(570);
    t.same(await store.members('set:b'), []);
    t.same(await store.addMember('set:b', 'three', 60_000, 10), []);
    t.same(await store.members('set:b'), ['three']);
  });

  await t.test('beyond its bound a set pushes out what would end first, and says so', async (t) => {
    for (const [index, ttlMs] of [50_000, 40_000, 60_000].entries())
      t.same(await store.addMember('set:c', `m${index}`, ttlMs, 3), []);
    t.same(await store.addMember('set:c', 'm3', 70_000, 3), ['m1']);
    t.same(await store.addMember('set:c', 'm4', 80_000, 2), ['m0', 'm2']);
    t.same([...(await store.members('set:c'))].sort(), ['m3', 'm4']);
    const out = await store.addMember('set:c', 'm5', 1000, 2);
    t.same(out, [], 'what has just come is never pushed out itself');
    t.ok((await store.members('set:c')).includes('m5'));
  });

  await t.test('what is announced is heard by all who listen, until they stop', async (t) => {
    const heard: string[] = [];
    const other: string[] = [];
    const stop = store.listen({ heard: (message) => void heard.push(message), missed: () => undefined });
    const stopOther = store.listen({ heard: (message) => void other.push(message), missed: () => undefined });
    await until(async () => {
      await store.announce('knock');
      return heard.length > 0 && other.length > 0;
    });
    await store.announce('one two');
    await until(() => heard.includes('one two') && other.includes('one two'));
    stopOther();
    await store.announce('three');
    await until(() => heard.includes('three'));
    t.notOk(other.includes('three'));
    stop();
  });

  await t.test('it answers a ping and says that it is up', async (t) => {
    await store.ping();
    const health = store.health();
    t.equal(health.up, true);
    t.equal(store.health(), health, 'the same object, for the hot path reads it');
  });
}
