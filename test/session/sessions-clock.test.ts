import fc from 'fast-check';
import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { createForwardClock } from '../../src/kernel/clock.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions, type SessionsDeps } from '../../src/session/sessions.ts';
import type { Store, StoreHealth, StoreListener } from '../../src/session/types.ts';
import { makeRecord } from './record-fixture.ts';
import { sessionsDeps } from './sessions-deps.ts';

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
  const listeners = new Set<StoreListener>();
  const store: Store = {
    ...kept,
    get(key) {
      asked += 1;
      if (!health.up) return Promise.reject(new SallyportError('store_unavailable', 'cut off'));
      return kept.get(key);
    },
    touch: (key, ttlMs) => kept.touch(key, ttlMs),
    health: () => health,
    listen(listener) {
      listeners.add(listener);
      return kept.listen(listener);
    },
  };
  const replica = () => createSessions(sessionsDeps({ store, sealing, clock, ...changes }));
  const cutOff = () => {
    const sinceSteadyMs = clock.steadyMs?.();
    health = {
      up: false,
      sinceMs: clock.nowMs(),
      ...(sinceSteadyMs === undefined ? {} : { sinceSteadyMs }),
      cause: 'cut off',
    };
  };
  const heal = () => {
    health = kept.health();
  };
  /** The link for announcements is back, after who knows what. */
  const relink = () => {
    for (const listener of listeners) listener.missed();
  };
  /** The link for announcements is lost. */
  const unlink = () => {
    for (const listener of listeners) listener.lost?.();
  };
  return { ...time, sessions: replica(), replica, cutOff, heal, relink, unlink, kept, asked: () => asked };
}

const unavailable = { code: 'store_unavailable' };

t.test('an outage has no grace where ends had gone unheard before it', async (t) => {
  const { sessions, clock, pass, cutOff, heal, unlink, relink } = build(true, {
    outageGraceMs: 10 * minuteMs,
  });
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  unlink();
  pass(2 * secondMs);
  unlink();
  cutOff();
  t.equal(sessions.peek(cookieValue), session, 'the link goes with the server, a little earlier or later');
  heal();
  pass(1);
  cutOff();
  t.equal(sessions.peek(cookieValue), undefined, 'it was lost before');
  await t.rejects(sessions.open(cookieValue), unavailable);
  heal();
  relink();
  t.equal(await sessions.open(cookieValue), session);
  cutOff();
  pass(9 * minuteMs);
  t.equal(sessions.peek(cookieValue), session, 'and is back');
});

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

t.test(
  'what may have ended unheard is not served in an outage before the store was asked again',
  async (t) => {
    const { sessions, clock, pass, cutOff, heal, relink } = build(true, { outageGraceMs: hourMs });
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    pass(minuteMs);
    relink();
    cutOff();
    t.equal(sessions.peek(cookieValue), undefined, 'its end could have been announced to nobody');
    await t.rejects(sessions.open(cookieValue), unavailable);
    heal();
    t.ok(await sessions.open(cookieValue), 'asked and answered');
    cutOff();
    t.ok(sessions.peek(cookieValue));
  },
);

t.test(
  'whatever outages and uses: no limit is passed by more than a minute, no grace at all, and nothing ends early',
  async () => {
    const [idleMs, absoluteMs, graceMs] = [10 * minuteMs, 45 * minuteMs, 5 * minuteMs];
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom('use', 'use', 'use', 'use', 'cut', 'heal'),
        pauseMs: fc.oneof(
          fc.integer({ min: 0, max: 12 * minuteMs }),
          fc.integer({ min: 0, max: 20 * secondMs }),
        ),
        which: fc.nat(2),
      }),
      { minLength: 5, maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(steps, fc.constantFrom(0, 5 * secondMs, hourMs), async (all, cacheMs) => {
        const { replica, clock, pass, cutOff, heal } = build(true, {
          idleTimeoutMs: idleMs,
          absoluteTimeoutMs: absoluteMs,
          outageGraceMs: graceMs,
          cacheMs,
        });
        const replicas = [replica(), replica(), replica()];
        const bornMs = clock.nowMs();
        const { cookieValue } = await replicas[0]!.create(makeRecord(bornMs));
        let usedMs = bornMs;
        /** The last use that the store could be told of. */
        let writtenMs = bornMs;
        let cutMs: number | undefined;
        for (const { what, pauseMs, which } of all) {
          pass(pauseMs);
          const nowMs = clock.nowMs();
          if (what === 'cut' && cutMs === undefined) {
            cutMs = nowMs;
            cutOff();
          } else if (what === 'heal') {
            cutMs = undefined;
            heal();
          } else if (what === 'use') {
            const one = replicas[which]!;
            const served =
              one.peek(cookieValue) ??
              (await one.open(cookieValue).catch((error: unknown) => {
                if (cutMs === undefined) throw error;
                return undefined;
              }));
            if (served !== undefined) {
              assert(nowMs < bornMs + absoluteMs, 'later than the absolute limit');
              assert(nowMs < usedMs + idleMs + minuteMs, 'later than the idle limit and a minute');
              assert(cutMs === undefined || nowMs - cutMs < graceMs, 'later than the grace');
              usedMs = nowMs;
              if (cutMs === undefined) writtenMs = nowMs;
            } else if (cutMs === undefined) {
              assert(
                nowMs >= writtenMs + idleMs || nowMs >= bornMs + absoluteMs,
                'earlier than it should have ended',
              );
              return;
            }
          }
        }
      }),
      { numRuns: 400 },
    );
  },
);

function assert(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
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
