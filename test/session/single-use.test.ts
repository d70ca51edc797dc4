import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { loadOrCreateSealed } from '../../src/session/durable-key.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { claimOnce } from '../../src/session/single-use.ts';
import { createStillClock } from './clock.ts';

const older = createSealing([Buffer.alloc(32, 1)], systemRandomness);
const rotated = createSealing([Buffer.alloc(32, 2), Buffer.alloc(32, 1)], systemRandomness);
const newer = createSealing([Buffer.alloc(32, 2)], systemRandomness);

t.test('a token is claimed once, by one of many, until its time is over', async (t) => {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const claims = await Promise.all(
    Array.from({ length: 20 }, () => claimOnce(store, 'attempt', 'state', 1000)),
  );
  t.equal(claims.filter(Boolean).length, 1);
  t.equal(await claimOnce(store, 'attempt', 'state', 1000), false);
  t.equal(await claimOnce(store, 'attempt', 'another', 1000), true);
  t.equal(await claimOnce(store, 'link', 'state', 1000), true, 'purposes do not mix');
  clock.advance(1000);
  t.equal(await claimOnce(store, 'attempt', 'state', 1000), true);
});

t.test('a durable key is made once and is the same for every replica', async (t) => {
  const store = createMemoryStore(createStillClock());
  let made = 0;
  const make = async (): Promise<Buffer> => Buffer.from(`key ${(made += 1)}`);
  const keys = await Promise.all(
    Array.from({ length: 8 }, () => loadOrCreateSealed(store, older, 'assertion', make)),
  );
  t.equal(new Set(keys.map((key) => key.toString())).size, 1);
  const before = made;
  t.same(await loadOrCreateSealed(store, older, 'assertion', make), keys[0]);
  t.equal(made, before, 'and never again');
  t.equal((await store.get('durable:assertion'))?.ttlMs, Infinity, 'it does not expire');
});

t.test('after a rotation the key is sealed anew, so that the older secret can go', async (t) => {
  const store = createMemoryStore(createStillClock());
  const never = (): Buffer => {
    throw new Error('it was made anew');
  };
  const key = await loadOrCreateSealed(store, older, 'assertion', () => Buffer.from('key'));
  t.same(await loadOrCreateSealed(store, rotated, 'assertion', never), key);
  t.same(await loadOrCreateSealed(store, newer, 'assertion', never), key);
  t.equal((await store.get('durable:assertion'))?.ttlMs, Infinity);
});

t.test('a key that no listed secret opens is a fault, never a new key', async (t) => {
  const store = createMemoryStore(createStillClock());
  await loadOrCreateSealed(store, older, 'assertion', () => Buffer.from('key'));
  await t.rejects(
    loadOrCreateSealed(store, newer, 'assertion', () => Buffer.from('other')),
    {
      code: 'config_invalid',
      detail: 'durable_key_unreadable',
    },
  );
});
