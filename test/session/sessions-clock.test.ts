import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { createForwardClock } from '../../src/kernel/clock.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions, type SessionsDeps } from '../../src/session/sessions.ts';
import type { Store, StoreHealth } from '../../src/session/types.ts';
import { makeRecord } from './record-fixture.ts';

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);

/** A wall clock that can be set, and (as on every machine, but not in every test) a second one that only runs. */
function createWallClock(withSteady: boolean) {
  let wallMs = Date.UTC(2026, 0, 1);
  let steadyMs = 5000;
  const clock: Clock = {
    nowMs: () => wallMs,
    ...(withSteady ? { steadyMs: () => steadyMs } : {}),
  };
  return {
    clock,
    pass: (ms: number): void => {
      wallMs += ms;
      steadyMs += ms;
    },
    set: (byMs: number): void => {
      wallMs += byMs;
    },
  };
}

/** Sessions over a memory store whose reads are counted and that can be cut off. */
function build(withSteady: boolean, changes: Partial<SessionsDeps> = {}) {
  const time = createWallClock(withSteady);
  const { clock } = time;
  const kept = createMemoryStore(clock);
  let health: StoreHealth = kept.health();
  let asked = 0;
  const store: Store = {
    ...kept,
    get(key) {
      asked += 1;
      if (!health.up) return Promise.reject(new SallyportError('store_unavailable', 'cut off'));
      return kept.get(key);
    },
    touch: (key, ttlMs) => kept.touch(key, ttlMs),
    health: () => health,
  };
  const sessions = createSessions({
    store,
    sealing,
    clock,
    randomness: systemRandomness,
    meter: silentMeter,
    idleTimeoutMs: 8 * hourMs,
    absoluteTimeoutMs: 24 * hourMs,
    cacheMs: 5 * secondMs,
    outageGraceMs: 0,
    maxCached: 100,
    ...changes,
  });
  const cutOff = () => {
    const sinceSteadyMs = clock.steadyMs?.();
    health = {
      up: false,
      sinceMs: clock.nowMs(),
      ...(sinceSteadyMs === undefined ? {} : { sinceSteadyMs }),
      cause: 'cut off',
    };
  };
  return { ...time, sessions, cutOff, asked: () => asked };
}

const unavailable = { code: 'store_unavailable' };

for (const withSteady of [true, false]) {
  const kind = withSteady ? 'beside a steady clock' : 'without one';

  t.test(`a clock set back serves nobody during an outage without grace (${kind})`, async (t) => {
    const { sessions, clock, set, pass, cutOff } = build(withSteady);
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    cutOff();
    t.equal(sessions.peek(cookieValue), undefined);
    set(-hourMs);
    t.equal(sessions.peek(cookieValue), undefined, 'an outage that begins in the future has no grace');
    await t.rejects(sessions.open(cookieValue), unavailable);
    pass(59 * minuteMs);
    t.equal(sessions.peek(cookieValue), undefined);
    await t.rejects(sessions.open(cookieValue), unavailable);
  });

  t.test(`a clock set back lengthens no grace (${kind})`, async (t) => {
    const { sessions, clock, set, pass, cutOff } = build(withSteady, { outageGraceMs: 10 * minuteMs });
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    cutOff();
    pass(9 * minuteMs);
    t.ok(sessions.peek(cookieValue));
    set(-hourMs);
    t.equal(sessions.peek(cookieValue), undefined);
    pass(hourMs);
    if (withSteady) t.equal(sessions.peek(cookieValue), undefined, 'more than an hour has passed since');
  });

  t.test(
    `after the clock was set back by an hour the store is asked, and asked again (${kind})`,
    async (t) => {
      const { sessions, clock, set, pass, asked } = build(withSteady);
      const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
      pass(secondMs);
      t.equal(sessions.peek(cookieValue), session);
      set(-hourMs);
      t.equal(sessions.peek(cookieValue), undefined);
      t.equal(await sessions.open(cookieValue), session, 'nobody is signed out by it');
      t.equal(asked(), 1);
      t.equal(sessions.peek(cookieValue), session, 'asked and answered: fresh');
      pass(5 * secondMs);
      t.equal(sessions.peek(cookieValue), undefined, 'but for session.cache, not for the hour');
      t.equal(await sessions.open(cookieValue), session);
      t.equal(asked(), 2);
    },
  );
}

t.test('a clock set back unseen does not make an old answer fresh', async (t) => {
  const { sessions, clock, set, pass } = build(true);
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  pass(hourMs);
  set(-hourMs);
  t.equal(sessions.peek(cookieValue), undefined, 'an hour old, though the clock says the same as then');
});

t.test('a clock set back lengthens neither the idle limit nor the absolute one', async (t) => {
  const { sessions, clock, set, pass, cutOff } = build(true, {
    idleTimeoutMs: 10 * minuteMs,
    absoluteTimeoutMs: hourMs,
    outageGraceMs: 48 * hourMs,
  });
  const open = async () => (await sessions.create(makeRecord(clock.nowMs()))).cookieValue;
  const [idle, busy] = [await open(), await open()];
  set(-30 * minuteMs);
  for (let minute = 0; minute < 59; minute += 1) {
    t.ok(await sessions.open(busy), `minute ${minute}`);
    pass(minuteMs);
  }
  t.equal(await sessions.open(idle), undefined, 'idle for an hour');
  pass(minuteMs);
  t.equal(sessions.peek(busy), undefined);
  t.equal(await sessions.open(busy), undefined, 'an hour old, though the clock says half an hour');

  const cut = await open();
  cutOff();
  pass(9 * minuteMs);
  set(-5 * minuteMs);
  t.ok(sessions.peek(cut));
  set(-4 * minuteMs);
  pass(10 * minuteMs);
  t.equal(sessions.peek(cut), undefined, 'idle for ten minutes, in an outage');
});

t.test('a session that says it was made in the future is as old as it can be', async (t) => {
  const { sessions, clock, set, pass } = build(true, { absoluteTimeoutMs: hourMs, maxCached: 1 });
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  await sessions.create(makeRecord(clock.nowMs()));
  set(-30 * minuteMs);
  t.ok(await sessions.open(cookieValue), 'opened anew');
  pass(hourMs - 1);
  t.ok(await sessions.open(cookieValue));
  pass(1);
  t.equal(await sessions.open(cookieValue), undefined);
});

t.test('a memory store keeps nothing for longer because the clock was set back', async (t) => {
  const { clock, set, pass } = createWallClock(true);
  const store = createMemoryStore(clock);
  await store.put('key', Buffer.from('value'), minuteMs);
  set(-hourMs);
  pass(minuteMs - 1);
  t.equal((await store.get('key'))?.ttlMs, 1);
  pass(1);
  t.equal(await store.get('key'), undefined);
});

t.test('a forward clock never goes back and never stands still', (t) => {
  const { clock, set, pass } = createWallClock(true);
  const forward = createForwardClock(clock);
  const startMs = forward.nowMs();
  t.equal(startMs, clock.nowMs());
  pass(10);
  t.equal(forward.nowMs() - startMs, 10);
  set(-hourMs);
  t.equal(forward.nowMs() - startMs, 10);
  pass(10);
  t.equal(forward.nowMs() - startMs, 20);
  set(2 * hourMs);
  t.equal(forward.nowMs(), clock.nowMs(), 'a machine that slept');
  t.end();
});
