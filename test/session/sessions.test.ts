import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { silentMeter } from '../../src/kernel/meter.ts';
import { randomToken, systemRandomness } from '../../src/kernel/randomness.ts';
import { createDirectory } from '../../src/session/directory.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { SessionsDeps } from '../../src/session/sessions.ts';
import type { Store } from '../../src/session/types.ts';
import { createStillClock } from './clock.ts';
import { makeRecord } from './record-fixture.ts';
import { sessionsDeps } from './sessions-deps.ts';

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);

/** Sessions over a memory store whose calls are counted, on a clock that stands still. */
function build(changes: Partial<SessionsDeps> = {}) {
  const clock = createStillClock();
  const kept = createMemoryStore(clock);
  const calls: string[] = [];
  const counts = new Map<string, number>();
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
  // Calls for records; the cards beside them come and go with these.
  const note = (call: string, key: string): void => {
    if (key.startsWith('session:')) calls.push(call);
  };
  const store: Store = {
    ...kept,
    get: (key) => (note('get', key), kept.get(key)),
    put: (key, sealed, ttlMs) => (note('put', key), kept.put(key, sealed, ttlMs)),
    touch: (key, ttlMs) => (note('touch', key), kept.touch(key, ttlMs)),
    delete: (key) => (note('delete', key), kept.delete(key)),
  };
  const meter = { ...silentMeter, sessionCache: count, sessionCreated: () => count('created') };
  const deps = sessionsDeps({ store, sealing, clock, meter, ...changes });
  /** Another replica over the same store. */
  const replica = () => createSessions(deps);
  return { clock, kept, calls, counts, deps, replica, sessions: createSessions(deps) };
}

t.test('a new session is served from memory and opens from the store', async (t) => {
  const { sessions, replica, clock, calls, counts } = build();
  const record = makeRecord(clock.nowMs());
  const { cookieValue, session } = await sessions.create(record);
  t.match(cookieValue, /^[A-Za-z0-9_-]{43}$/);
  t.equal(sessions.peek(cookieValue), session);
  t.equal(await sessions.open(cookieValue), session);
  t.same(calls, ['put'], 'memory was enough');
  const other = replica();
  t.equal(other.peek(cookieValue), undefined);
  const { idToken, refreshToken, ...held } = record.tokens;
  t.ok(
    idToken !== undefined && refreshToken !== undefined,
    'the session has tokens that nobody needs in memory',
  );
  for (const session of [sessions.peek(cookieValue), await other.open(cookieValue)])
    t.strictSame(session?.record, {
      ...record,
      lineage: undefined,
      refreshed: undefined,
      tokens: { ...held, refreshDueAt: undefined },
    });
  t.same(Object.fromEntries(counts), { created: 1, hit: 3, miss: 1 });
  t.same(await other.end(cookieValue), record, 'whoever ends it gets them');
});

t.test('every session has a cookie value and a key of its own', async (t) => {
  const { sessions, clock } = build();
  const values = await Promise.all(
    Array.from({ length: 50 }, () => sessions.create(makeRecord(clock.nowMs()))),
  );
  t.equal(new Set(values.map(({ cookieValue }) => cookieValue)).size, 50);
});

t.test('what is no cookie value costs nothing', async (t) => {
  const { sessions, calls } = build();
  for (const value of [
    '',
    'x',
    'A'.repeat(42),
    'A'.repeat(44),
    `${'A'.repeat(42)}B`,
    'A'.repeat(100_000),
    '../../key',
  ]) {
    t.equal(sessions.peek(value), undefined);
    t.equal(await sessions.open(value), undefined);
    t.equal(await sessions.end(value), undefined);
  }
  t.same(calls, []);
  t.equal(await sessions.open(randomToken(systemRandomness)), undefined, 'a well-formed one nobody made');
  t.same(calls, ['get']);
});

t.test('memory serves for `cache`, then the store is asked, and the object stays the same', async (t) => {
  const { sessions, clock, calls, counts } = build();
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(5 * secondMs - 1);
  t.equal(sessions.peek(cookieValue), session);
  clock.advance(1);
  t.equal(sessions.peek(cookieValue), undefined);
  t.equal(await sessions.open(cookieValue), session);
  t.equal(sessions.peek(cookieValue), session);
  t.same(calls, ['put', 'get']);
  t.equal(counts.get('stale'), 1);
});

t.test('with a cache of 0s the store is asked every time', async (t) => {
  const { sessions, clock, calls } = build({ cacheMs: 0 });
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  t.equal(sessions.peek(cookieValue), undefined);
  t.equal(await sessions.open(cookieValue), session);
  t.equal(await sessions.open(cookieValue), session);
  t.same(calls, ['put', 'get', 'get']);
});

t.test('a hundred requests for one session ask the store once', async (t) => {
  const { sessions, replica, clock, calls } = build();
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  calls.length = 0;
  const other = replica();
  const opened = await Promise.all(Array.from({ length: 100 }, () => other.open(cookieValue)));
  t.same(calls, ['get']);
  t.equal(new Set(opened).size, 1);
  t.ok(opened[0]);
});

t.test('a record that was sealed anew is another session object, with what it says now', async (t) => {
  const { sessions, kept, clock } = build();
  const record = makeRecord(clock.nowMs());
  const { cookieValue, session } = await sessions.create(record);
  const changed = Buffer.from(JSON.stringify({ ...record, source: 'okta' }));
  await kept.put(sealing.sessionKey(cookieValue), sealing.sealSession(cookieValue, changed), hourMs);
  clock.advance(6 * secondMs);
  const opened = await sessions.open(cookieValue);
  t.not(opened, session);
  t.equal(opened?.record.source, 'okta');
});

t.test('what the store holds but nobody sealed for this cookie is no session', async (t) => {
  const { sessions, kept, clock } = build();
  const [one, two] = await Promise.all([
    sessions.create(makeRecord(clock.nowMs())),
    sessions.create(makeRecord(clock.nowMs(), { source: 'okta' })),
  ]);
  const [keyOne, keyTwo] = [sealing.sessionKey(one.cookieValue), sealing.sessionKey(two.cookieValue)];
  // Whoever can write to Redis swaps the records of two users.
  await kept.put(keyOne, (await kept.get(keyTwo))!.sealed, hourMs);
  await kept.put(keyTwo, Buffer.from('{"version":1}'), hourMs);
  clock.advance(6 * secondMs);
  t.equal(await sessions.open(one.cookieValue), undefined);
  t.equal(await sessions.open(two.cookieValue), undefined);
});

t.test('a record of an unknown version, or of none, means signing in again', async (t) => {
  const { sessions, kept, clock } = build({ cacheMs: 0 });
  const record = makeRecord(clock.nowMs());
  const { cookieValue } = await sessions.create(record);
  const key = sealing.sessionKey(cookieValue);
  for (const content of [
    { ...record, version: 2 },
    { ...record, version: '1' },
    {},
    null,
    [],
    { ...record, expiresAt: null },
  ]) {
    await kept.put(key, sealing.sealSession(cookieValue, Buffer.from(JSON.stringify(content))), hourMs);
    t.equal(await sessions.open(cookieValue), undefined, JSON.stringify(content).slice(0, 40));
  }
  await kept.put(key, sealing.sealSession(cookieValue, Buffer.from('no json')), hourMs);
  t.equal(await sessions.open(cookieValue), undefined);
  await kept.put(key, sealing.sealSession(cookieValue, Buffer.from(JSON.stringify(record))), hourMs);
  t.ok(await sessions.open(cookieValue), 'the one we know opens');
});

t.test('the absolute limit ends a session that is in use all the time, to the millisecond', async (t) => {
  for (const cacheMs of [0, 5 * secondMs, 48 * hourMs]) {
    const { sessions, clock } = build({ cacheMs });
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    for (let hour = 0; hour < 23; hour += 1) {
      clock.advance(hourMs);
      t.ok(await sessions.open(cookieValue));
    }
    clock.advance(hourMs - 1);
    t.ok(await sessions.open(cookieValue), 'never early');
    clock.advance(1);
    t.equal(sessions.peek(cookieValue), undefined);
    t.equal(await sessions.open(cookieValue), undefined, 'never late');
  }
});

t.test(
  'a shorter absolute limit in the configuration binds older sessions too, a longer one does not',
  async (t) => {
    const { deps, kept, sessions, clock } = build();
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    clock.advance(2 * hourMs);
    t.equal(await createSessions({ ...deps, absoluteTimeoutMs: 2 * hourMs }).open(cookieValue), undefined);
    t.ok(await createSessions({ ...deps, absoluteTimeoutMs: 100 * hourMs }).open(cookieValue));
    await kept.touch(sealing.sessionKey(cookieValue), 100 * hourMs);
    clock.advance(22 * hourMs);
    t.equal(await createSessions({ ...deps, absoluteTimeoutMs: 100 * hourMs }).open(cookieValue), undefined);
  },
);

t.test('near the absolute limit memory still serves, and nothing is written for nothing', async (t) => {
  const { sessions, clock, calls } = build({ cacheMs: minuteMs });
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  for (let hour = 0; hour < 20; hour += 1) {
    clock.advance(hourMs);
    await sessions.open(cookieValue);
  }
  calls.length = 0;
  for (let minute = 0; minute < 60; minute += 1) {
    clock.advance(minuteMs);
    await sessions.open(cookieValue);
    t.ok(sessions.peek(cookieValue));
  }
  t.notOk(calls.includes('touch'));
});

t.test('a slow store does not make the last hours before the absolute limit look too short', async (t) => {
  const { deps, kept, calls, clock } = build({ cacheMs: 0 });
  const get: Store['get'] = async (key) => {
    clock.advance(500);
    return kept.get(key);
  };
  const sessions = createSessions({ ...deps, store: { ...deps.store, get } });
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  for (let hour = 0; hour < 20; hour += 1) {
    clock.advance(hourMs);
    await sessions.open(cookieValue);
  }
  calls.length = 0;
  for (let minute = 0; minute < 60; minute += 1) {
    clock.advance(minuteMs);
    t.ok(await sessions.open(cookieValue));
  }
  t.same(calls, [], 'nothing is written any more');
});

t.test('a session that ends between being found and being lengthened does not stay in memory', async (t) => {
  const { deps, kept, clock } = build({ cacheMs: hourMs });
  const touch: Store['touch'] = async (key, ttlMs) => {
    await kept.delete(key);
    return kept.touch(key, ttlMs);
  };
  const sessions = createSessions({ ...deps, store: { ...deps.store, touch } });
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(2 * minuteMs);
  await sessions.open(cookieValue);
  await setImmediate();
  t.equal(sessions.peek(cookieValue), undefined);
  t.equal(await sessions.open(cookieValue), undefined);
});

t.test('an idle session lives for the idle limit and at most a minute longer', async (t) => {
  const idleMs = 10 * minuteMs;
  for (const cacheMs of [0, 5 * secondMs, 24 * hourMs]) {
    for (const lastUseMs of [0, 1, 30 * secondMs, 59 * secondMs, minuteMs, 61 * secondMs, 5 * minuteMs]) {
      for (const [afterMs, alive] of [
        [idleMs - 1, true],
        [idleMs + minuteMs + 1, false],
      ] as const) {
        const { sessions, clock } = build({ idleTimeoutMs: idleMs, cacheMs });
        const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
        clock.advance(lastUseMs);
        t.ok(sessions.peek(cookieValue) ?? (await sessions.open(cookieValue)));
        clock.advance(afterMs);
        const found = sessions.peek(cookieValue) ?? (await sessions.open(cookieValue));
        t.equal(
          found !== undefined,
          alive,
          `cache ${cacheMs}, last used at ${lastUseMs}, again after ${afterMs}`,
        );
      }
    }
  }
});

t.test('over any number of replicas and any uses: never early, at most a minute late', async () => {
  const idleMs = 10 * minuteMs;
  const uses = fc.array(fc.tuple(fc.integer({ min: 0, max: 12 * minuteMs }), fc.nat(2)), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(uses, fc.constantFrom(0, 5 * secondMs, hourMs), async (steps, cacheMs) => {
      const { sessions, replica, clock } = build({ idleTimeoutMs: idleMs, cacheMs });
      const replicas = [sessions, replica(), replica()];
      const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
      for (const [pauseMs, which] of steps) {
        clock.advance(pauseMs);
        const one = replicas[which]!;
        const alive = (one.peek(cookieValue) ?? (await one.open(cookieValue))) !== undefined;
        if (pauseMs < idleMs && !alive) return false;
        if (pauseMs > idleMs + minuteMs && alive) return false;
        if (!alive) return true;
      }
      return true;
    }),
    { numRuns: 200 },
  );
});

t.test('idle time is written at most once a minute, whatever the traffic', async (t) => {
  const { sessions, replica, clock, calls } = build();
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  const other = replica();
  for (let second = 0; second < 600; second += 1) {
    clock.advance(secondMs);
    for (const one of [sessions, other]) t.ok(one.peek(cookieValue) ?? (await one.open(cookieValue)));
  }
  const touches = calls.filter((call) => call === 'touch').length;
  t.ok(touches >= 9 && touches <= 10, `two replicas, ten minutes: ${touches}`);
});

t.test('an idle limit that a reload has shortened holds for the sessions of before', async (t) => {
  const { deps, clock } = build();
  let idleTimeoutMs = 8 * hourMs;
  const limited = {
    ...deps,
    get idleTimeoutMs() {
      return idleTimeoutMs;
    },
  };
  const [sessions, other] = [createSessions(limited), createSessions(limited)];
  const idle = await sessions.create(makeRecord(clock.nowMs()));
  const used = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(4 * minuteMs);
  idleTimeoutMs = 5 * minuteMs;
  t.ok(await sessions.open(used.cookieValue));
  await setImmediate();
  clock.advance(2 * minuteMs);
  t.equal(await sessions.open(idle.cookieValue), undefined);
  t.equal(await sessions.open(idle.cookieValue), undefined, 'nor when it is asked for once more');
  t.equal(await other.open(idle.cookieValue), undefined, 'nor by who has never seen it');
  t.ok(await sessions.open(used.cookieValue));
  await setImmediate();
  clock.advance(6 * minuteMs + 1);
  t.equal(await other.open(used.cookieValue), undefined, 'its use has told the store of the shorter limit');
});

t.test('memory is bounded, and keeps who came last', async (t) => {
  const { sessions, clock, calls } = build({ maxCached: 10 });
  const values: string[] = [];
  for (let index = 0; index < 50; index += 1)
    values.push((await sessions.create(makeRecord(clock.nowMs()))).cookieValue);
  t.equal(values.filter((value) => sessions.peek(value) !== undefined).length, 10);
  calls.length = 0;
  t.ok(await sessions.open(values[0]!), 'whoever was dropped is asked for again');
  t.same(calls, ['get']);
});

t.test('an ended session is gone from memory and store, and is handed out once', async (t) => {
  const { sessions, replica, clock } = build();
  const record = makeRecord(clock.nowMs());
  const { cookieValue } = await sessions.create(record);
  const ended = await Promise.all([sessions.end(cookieValue), sessions.end(cookieValue)]);
  t.same(ended, [record, undefined]);
  t.equal(sessions.peek(cookieValue), undefined);
  t.equal(await sessions.open(cookieValue), undefined);
  t.equal(await replica().open(cookieValue), undefined);
  t.equal(await sessions.end(cookieValue), undefined);
});

/** A store whose first answer is what it found, told only later: much may happen in between. */
function lateOnce(kept: Store): { readonly store: Store; readonly answer: () => void } {
  let answer: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (answer = resolve));
  let isFirst = true;
  const store: Store = {
    ...kept,
    async get(key) {
      const waits = isFirst;
      isFirst = false;
      const found = await kept.get(key);
      if (waits) await held;
      return found;
    },
  };
  return { store, answer: () => answer() };
}

t.test('a request on its way cannot bring back a session that ends meanwhile', async (t) => {
  const { sessions, kept, deps, clock } = build();
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  const late = lateOnce(kept);
  const one = createSessions({ ...deps, store: late.store });
  const opening = one.open(cookieValue);
  t.ok(await one.end(cookieValue));
  late.answer();
  t.equal(await opening, undefined);
  t.equal(one.peek(cookieValue), undefined);
  t.equal(await one.open(cookieValue), undefined);
});

t.test('a request on its way asks again when the session was written anew meanwhile', async (t) => {
  const { sessions, kept, deps, clock } = build();
  const record = makeRecord(clock.nowMs());
  const { cookieValue, session } = await sessions.create(record);
  const late = lateOnce(kept);
  const other = createSessions({ ...deps, store: late.store });
  const opening = other.open(cookieValue);
  const stored = await sessions.read(session.key ?? '');
  t.ok(stored);
  if (stored === undefined) return;
  t.ok(await sessions.rewrite(stored, { ...record, refreshed: { amr: ['pwd'] } }, undefined, true));
  late.answer();
  t.same((await opening)?.record.refreshed, { amr: ['pwd'] });
  t.same(other.peek(cookieValue)?.record.refreshed, { amr: ['pwd'] });
});

t.test('a use whose lengthening failed is made up for by the next one, however soon', async (t) => {
  const { deps, clock, calls } = build({ cacheMs: hourMs });
  let broken = true;
  const touch: Store['touch'] = (key, ttlMs) =>
    broken && key.startsWith('session:') ? Promise.reject(new Error('down')) : deps.store.touch(key, ttlMs);
  const sessions = createSessions({ ...deps, store: { ...deps.store, touch } });
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(2 * minuteMs);
  t.ok(await sessions.open(cookieValue));
  await setImmediate();
  broken = false;
  calls.length = 0;
  t.equal(sessions.peek(cookieValue), undefined, 'memory alone would let it end too early');
  t.ok(await sessions.open(cookieValue));
  t.same(calls, ['get', 'touch']);
});

t.test(
  'what is written anew counts at once: here, on every replica, and in what is shown of it',
  async (t) => {
    const { deps, sessions, replica, clock } = build({ cacheMs: hourMs });
    const lost = createSessions({
      ...deps,
      store: { ...deps.store, announce: () => Promise.reject(new Error('down')) },
    });
    const directory = createDirectory(deps);
    for (const [one, title] of [
      [sessions, 'told to all'],
      [lost, 'told to nobody'],
    ] as const) {
      const record = makeRecord(clock.nowMs());
      const { cookieValue, session } = await one.create(record);
      const other = replica();
      await other.open(cookieValue);
      const narrowed: string[] = [];
      one.onNarrowed?.((keys) => narrowed.push(...keys));
      const stored = await one.read(session.key ?? '');
      t.ok(stored);
      if (stored === undefined) return;
      const judgement = { aal: 'aal1', status: 'rejected', evidence: undefined, weak: false } as const;
      t.ok(await one.rewrite(stored, { ...record, refreshed: { amr: ['pwd'] } }, judgement, true));
      t.equal(one.peek(cookieValue), undefined, title);
      t.ok(narrowed.includes(session.key ?? ''), title);
      t.equal(other.peek(cookieValue) === undefined, one === sessions, title);
      t.match(
        (await directory.card(session.key ?? ''))?.judgement,
        { aal: 'aal1', status: 'rejected' },
        title,
      );
    }
  },
);

t.test('whoever signs out is signed out on every replica at once', async (t) => {
  const { sessions, replica, clock } = build({ cacheMs: hourMs });
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  const other = replica();
  t.ok(await other.open(cookieValue));
  await sessions.end(cookieValue);
  t.equal(other.peek(cookieValue), undefined);
});

t.test(
  'a session that memory has dropped counts as narrower where a refresh may have made it so',
  async (t) => {
    const { sessions, deps, clock } = build();
    const few = createSessions({ ...deps, maxCached: 1 });
    const record = makeRecord(clock.nowMs());
    for (const [refreshDueAt, narrower] of [
      [record.issuedAt + 60, true],
      [undefined, false],
    ] as const) {
      const made = await sessions.create({ ...record, tokens: { ...record.tokens, refreshDueAt } });
      const session = await few.open(made.cookieValue);
      t.ok(session);
      if (session === undefined) return;
      t.equal(await few.isNarrower?.(session), false, 'memory can look');
      await few.open((await sessions.create(record)).cookieValue);
      t.equal(await few.isNarrower?.(session), narrower, 'memory can look no more');
    }
  },
);

t.test('a session that another replica ended is served for `cache` at most', async (t) => {
  const { sessions, replica, clock } = build();
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  await replica().end(cookieValue);
  clock.advance(5 * secondMs);
  t.equal(sessions.peek(cookieValue), undefined);
  t.equal(await sessions.open(cookieValue), undefined);
  t.equal(sessions.peek(cookieValue), undefined);
});

t.test('peek asks neither the store nor the sealing', async (t) => {
  let allowed = true;
  const watched = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, name, receiver): unknown {
        if (!allowed && name !== 'health') throw new Error(`the hot path asked for ${String(name)}`);
        return Reflect.get(target, name, receiver);
      },
    });
  const { deps, clock } = build();
  const sessions = createSessions({ ...deps, store: watched(deps.store), sealing: watched(sealing) });
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  allowed = false;
  t.equal(sessions.peek(cookieValue), session);
  clock.advance(hourMs);
  t.equal(sessions.peek(cookieValue), undefined);
  await t.rejects(sessions.open(cookieValue), { message: /asked for/ }, 'the watch does watch');
});
