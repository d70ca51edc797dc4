import t from 'tap';
import type { Test } from 'tap';
import { silentMeter } from '../../src/kernel/meter.ts';
import { randomToken, systemRandomness } from '../../src/kernel/randomness.ts';
import { claimOnce } from '../../src/session/single-use.ts';
import { loadOrCreateSealed } from '../../src/session/durable-key.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { SessionsDeps } from '../../src/session/sessions.ts';
import { createStore } from '../../src/session/store.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { createStillClock } from './clock.ts';
import { makeRecord, readableParts } from './record-fixture.ts';
import { sessionsDeps } from './sessions-deps.ts';
import { stopwatch } from '../support/stopwatch.ts';

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;

/** Sessions in a real Redis; the clock stands still, Redis's own does not. */
async function build(t: Test, changes: Partial<SessionsDeps> = {}) {
  const server = await startRedis();
  const clock = createStillClock();
  const deps = { meter: silentMeter, clock, logWarning: () => undefined };
  const open = () => createStore({ redis: { url: server.url, key_prefix: 'sallyport:' } }, deps);
  const store = open();
  t.teardown(() => Promise.all([store.close(), server.stop()]));
  const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);
  const all = sessionsDeps({ store, sealing, clock, ...changes });
  await store.ping();
  // What is opened before announcements are heard is in doubt once they are.
  await new Promise<void>((resolve) => store.listen({ heard: () => undefined, missed: resolve }));
  return { server, clock, store, sealing, deps: all, sessions: createSessions(all) };
}

const unavailable = { code: 'store_unavailable' };

t.test('a copy of Redis shows nothing of who signed in, nor how to be them', async (t) => {
  const { server, clock, store, sealing, sessions } = await build(t);
  const cookies: string[] = [];
  for (let index = 0; index < 5; index += 1) {
    cookies.push((await sessions.create(makeRecord(clock.nowMs()))).cookieValue);
  }
  await claimOnce(store, 'attempt', 'the-state-of-an-attempt', minuteMs);
  await loadOrCreateSealed(store, sealing, 'assertion', () => Buffer.from('the-private-key'));
  const lines = await server.dump();
  const count = (prefix: string) => lines.filter((line) => line.startsWith(`sallyport:${prefix}`)).length;
  t.same(
    [count('session:'), count('card:'), count('index:'), count('once:'), count('durable:')],
    [5, 5, 2, 1, 1],
    'five sessions with their cards, found by subject and by address, an attempt and a key',
  );
  const everything = lines.join('\n');
  const bytes = cookies.map((cookie) => Buffer.from(cookie, 'base64url').toString('latin1'));
  const parts = [
    ...readableParts,
    ...cookies,
    ...bytes,
    'the-state-of-an-attempt',
    'the-private-key',
    'email',
  ];
  for (const part of parts) t.notOk(everything.includes(part), part);
  t.ok(everything.includes('sallyport:session:'), 'the dump does show what is there');
});

t.test(
  'a key lives for the idle limit and a minute, or until the absolute limit if that is sooner',
  async (t) => {
    const { clock, store, sealing, sessions } = await build(t);
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    const key = sealing.sessionKey(cookieValue);
    const first = (await store.get(key))!.ttlMs;
    t.ok(first > 8 * hourMs + 50 * secondMs && first <= 8 * hourMs + minuteMs, String(first));
    clock.advance(20 * hourMs);
    // By Redis's clock no time has passed; a use now shortens what is left to the absolute limit.
    await store.touch(key, hourMs);
    await sessions.open(cookieValue);
    await until(async () => (await store.get(key))!.ttlMs > 3 * hourMs);
    t.ok((await store.get(key))!.ttlMs <= 4 * hourMs + secondMs);
  },
);

t.test(
  'a stopped Redis fails closed at once, signs nobody out, and everyone is in when it is back',
  async (t) => {
    const { server, store, sessions } = await build(t);
    const { clock } = await build(t);
    const made = await Promise.all(
      Array.from({ length: 10 }, () => sessions.create(makeRecord(clock.nowMs()))),
    );
    const [first] = made;
    t.ok(sessions.peek(first!.cookieValue));
    await server.stop();
    await until(() => !store.health().up);
    for (const { cookieValue } of made) {
      t.equal(sessions.peek(cookieValue), undefined);
      await t.rejects(sessions.open(cookieValue), unavailable);
    }
    await t.rejects(sessions.end(first!.cookieValue), unavailable, 'a sign-out is never pretended');
    await t.rejects(sessions.create(makeRecord(clock.nowMs())), unavailable);
    await server.restart();
    await until(() => store.health().up);
    for (const { cookieValue } of made) t.ok(await sessions.open(cookieValue));
    t.ok(await sessions.end(first!.cookieValue));
    t.equal(await sessions.open(first!.cookieValue), undefined);
  },
);

t.test('a Redis that falls silent answers every request within a second', async (t) => {
  const { server, store, clock, sessions } = await build(t);
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(6 * secondMs);
  server.pause();
  const elapsedMs = stopwatch();
  const opening = Array.from({ length: 20 }, () => sessions.open(cookieValue));
  const unknown = sessions.open(randomToken(systemRandomness));
  for (const one of [...opening, unknown]) await t.rejects(one, unavailable);
  t.ok(elapsedMs() < 1000, String(elapsedMs()));
  server.resume();
  await until(() => store.health().up);
  t.equal(await sessions.open(cookieValue), session);
});

t.test('within outage_grace memory goes on, stale entries too, and no longer than that', async (t) => {
  const { server, store, clock, sessions } = await build(t, { outageGraceMs: 10 * minuteMs });
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(hourMs);
  t.equal(sessions.peek(cookieValue), undefined, 'stale while Redis is there to ask');
  await server.stop();
  await until(() => !store.health().up);
  t.equal(sessions.peek(cookieValue), session);
  t.equal(await sessions.open(cookieValue), session);
  await t.rejects(
    sessions.open(randomToken(systemRandomness)),
    unavailable,
    'what memory does not know is unknown',
  );
  await t.rejects(sessions.end(cookieValue), unavailable);
  t.equal(sessions.peek(cookieValue), undefined, 'who asked to be signed out is not served from memory');
  await t.rejects(sessions.open(cookieValue), unavailable);
});

t.test('outage_grace counts from the beginning of the outage', async (t) => {
  const { server, store, clock, sessions } = await build(t, { outageGraceMs: 10 * minuteMs });
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  await server.stop();
  await until(() => !store.health().up);
  clock.advance(10 * minuteMs - 1);
  t.equal(sessions.peek(cookieValue), session);
  clock.advance(1);
  t.equal(sessions.peek(cookieValue), undefined);
  await t.rejects(sessions.open(cookieValue), unavailable);
  await server.restart();
  await until(() => store.health().up);
  t.equal(await sessions.open(cookieValue), session, 'nobody was signed out');
});

t.test('the request that finds the outage is served within the grace too', async (t) => {
  const { server, clock, sessions } = await build(t, { outageGraceMs: minuteMs });
  const { cookieValue, session } = await sessions.create(makeRecord(clock.nowMs()));
  clock.advance(6 * secondMs);
  server.pause();
  t.equal(await sessions.open(cookieValue), session);
  server.resume();
});

t.test('the limits hold during an outage as well', async (t) => {
  const { server, store, clock, sessions } = await build(t, {
    outageGraceMs: 48 * hourMs,
    idleTimeoutMs: 10 * minuteMs,
    absoluteTimeoutMs: hourMs,
  });
  const [idle, busy] = await Promise.all([
    sessions.create(makeRecord(clock.nowMs())),
    sessions.create(makeRecord(clock.nowMs())),
  ]);
  await server.stop();
  await until(() => !store.health().up);
  clock.advance(5 * minuteMs);
  t.ok(sessions.peek(busy.cookieValue));
  clock.advance(5 * minuteMs);
  t.equal(sessions.peek(idle.cookieValue), undefined, 'idle for ten minutes');
  await t.rejects(sessions.open(idle.cookieValue), unavailable, 'nobody can say that it has ended');
  for (let minute = 10; minute < 59; minute += 1) {
    t.ok(sessions.peek(busy.cookieValue));
    clock.advance(minuteMs);
  }
  clock.advance(minuteMs);
  t.equal(sessions.peek(busy.cookieValue), undefined, 'an hour old');
});
