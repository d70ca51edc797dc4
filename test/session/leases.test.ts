import { mock } from 'node:test';
import t from 'tap';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createLeases } from '../../src/session/leases.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createStillClock } from './clock.ts';

t.test('one of many gets it, and the next once it is given back', async (t) => {
  const store = createMemoryStore(systemClock);
  const leases = createLeases({ store, randomness: systemRandomness });
  const taken = await Promise.all(Array.from({ length: 20 }, () => leases.take('lock:a')));
  const held = taken.filter((lease) => lease !== undefined);
  t.equal(held.length, 1);
  t.ok(await leases.take('lock:b'), 'another one is another');
  await held[0]!.release();
  const next = await leases.take('lock:a');
  t.ok(next);
  await held[0]!.release();
  t.equal(await leases.take('lock:a'), undefined, 'who gives it back twice takes it from nobody');
  await next!.release();
  await store.close();
});

t.test('one that nobody renews ends by itself, and its former holder takes it from nobody', async (t) => {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const leases = createLeases({ store, randomness: systemRandomness });
  const stopped = await leases.take('lock:a');
  clock.advance(4999);
  t.equal(await leases.take('lock:a'), undefined);
  clock.advance(2);
  const next = await leases.take('lock:a');
  t.ok(next);
  await stopped!.release();
  t.equal(await leases.take('lock:a'), undefined);
  await next!.release();
  await store.close();
});

t.test('a holder that lives keeps it for as long as its work takes', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const leases = createLeases({ store, randomness: systemRandomness });
  const lease = await leases.take('lock:a');
  for (let second = 0; second < 20; second += 1) {
    clock.advance(1000);
    mock.timers.tick(1000);
    t.equal(await leases.take('lock:a'), undefined, `after ${second + 1} s`);
  }
  await lease!.release();
  t.ok(await leases.take('lock:a'));
  await store.close();
});

t.test('giving it back never fails, and nobody asks the store for it any more', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const store = createMemoryStore(createStillClock());
  let touches = 0;
  const leases = createLeases({
    store: {
      ...store,
      touchIf: (...given) => {
        touches += 1;
        return store.touchIf(...given);
      },
      deleteIf: () => Promise.reject(new Error('down')),
    },
    randomness: systemRandomness,
  });
  const lease = await leases.take('lock:a');
  mock.timers.tick(1500);
  t.equal(touches, 1);
  await t.resolves(lease!.release());
  mock.timers.tick(15_000);
  t.equal(touches, 1, 'it ends by itself');
  await store.close();
});

t.test('a holder whom the store fails once goes on, and one who has lost it stops', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const store = createMemoryStore(createStillClock());
  const answers = [() => Promise.reject(new Error('down')), async () => true, async () => false];
  let touches = 0;
  const leases = createLeases({
    store: { ...store, touchIf: () => answers[touches++]?.() ?? Promise.resolve(false) },
    randomness: systemRandomness,
  });
  const lease = await leases.take('lock:a');
  for (const count of [1, 2, 3, 3, 3]) {
    mock.timers.tick(1500);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(touches, count);
  }
  await lease!.release();
  await store.close();
});
