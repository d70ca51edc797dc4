import { mock } from 'node:test';
import t from 'tap';
import { SallyportError } from '../../src/kernel/error.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import type { Running } from '../../src/proxy/running.ts';
import { closeWithSessions } from '../../src/proxy/session-ends.ts';
import type { UpgradedSockets } from '../../src/proxy/websocket.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type {
  OpenedSession,
  SessionRecord,
  SessionWatch,
  Store,
  StoreListener,
} from '../../src/session/types.ts';
import { createStillClock } from '../session/clock.ts';
import { makeRecord } from '../session/record-fixture.ts';
import { until } from '../support/until.ts';

/* Sessions that expire do so without a word: what runs under them is found by looking, once a minute. */

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('what runs under a session that has expired unheard is closed within a minute', async (t) => {
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const living = new Set(['session:stays', 'session:expires', 'session:socket']);
  let down = false;
  let asked = 0;
  const watch = {
    onEnded: () => () => undefined,
    onDoubt: () => () => undefined,
    lives(key: string) {
      asked += 1;
      return down ? Promise.reject(new Error('down')) : Promise.resolve(living.has(key));
    },
  } as unknown as SessionWatch;
  const closed: string[] = [];
  const opened = new Map<string, OpenedSession>();
  const sessionOf = (key: string): OpenedSession => {
    const session = opened.get(key) ?? ({ key } as OpenedSession);
    opened.set(key, session);
    return session;
  };
  const running = ['session:stays', 'session:expires', undefined].map((key) => ({
    session: key === undefined ? undefined : sessionOf(key),
    isRunning: true,
    sessionEnded: () => closed.push(key ?? 'none'),
  })) as unknown as Running;
  const sockets = new Set(['session:stays', 'session:socket']);
  const upgraded = {
    sessions: () => [...sockets].map(sessionOf),
    review(stays: (session: OpenedSession) => boolean) {
      for (const key of [...sockets]) if (!stays({ key } as OpenedSession)) sockets.delete(key);
    },
  } as unknown as UpgradedSockets;
  const stop = closeWithSessions(running, upgraded, watch);

  living.delete('session:expires');
  living.delete('session:socket');
  mock.timers.tick(59_999);
  await settle();
  t.equal(asked, 0);
  down = true;
  mock.timers.tick(1);
  await settle();
  mock.timers.tick(1000);
  t.equal(asked, 3, 'each session once, however much runs under it');
  t.same(
    [closed, [...sockets]],
    [[], ['session:stays', 'session:socket']],
    'a store that is down ends nobody',
  );

  down = false;
  mock.timers.tick(59_000);
  await settle();
  t.same([...sockets], ['session:stays'], 'WebSockets at once');
  t.same(closed, [], 'others may be about to end anyway');
  mock.timers.tick(400);
  t.same(closed, ['session:expires']);

  stop();
  living.clear();
  mock.timers.tick(120_000);
  await settle();
  t.equal(asked, 6, 'not after it has been stopped');
});

t.test('what ends of itself while its session ends is left alone', async (t) => {
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  t.teardown(() => mock.timers.reset());
  let tell: (keys: readonly string[]) => void = () => undefined;
  const watch = {
    onEnded: (listener: typeof tell) => ((tell = listener), () => undefined),
    onDoubt: () => () => undefined,
    lives: () => Promise.resolve(true),
  } as unknown as SessionWatch;
  const closed: string[] = [];
  const visit = (name: string) => ({
    ...{ session: { key: 'session:a' } as OpenedSession, isRunning: true },
    sessionEnded: () => closed.push(name),
  });
  const [short, long] = [visit('short'), visit('long')];
  const upgraded = { sessions: () => [], review: () => undefined } as unknown as UpgradedSockets;
  t.teardown(closeWithSessions([short, long] as unknown as Running, upgraded, watch));
  tell(['session:a']);
  short.isRunning = false;
  mock.timers.tick(400);
  t.same(closed, ['long']);
});

t.test('a doubt that comes while sessions are looked for is looked into at once', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  let doubt: () => void = () => undefined;
  let answer: (lives: boolean) => void = () => undefined;
  let asked = 0;
  let narrower = 0;
  const watch = {
    onEnded: () => () => undefined,
    onDoubt: (listener: () => void) => ((doubt = listener), () => undefined),
    lives: () => ((asked += 1), new Promise<boolean>((resolve) => (answer = resolve))),
    isNarrower: () => ((narrower += 1), Promise.resolve(false)),
  } as unknown as SessionWatch;
  const session = { key: 'session:a' } as OpenedSession;
  const upgraded = { sessions: () => [session], review: () => undefined } as unknown as UpgradedSockets;
  t.teardown(closeWithSessions([] as unknown as Running, upgraded, watch));
  mock.timers.tick(60_000);
  t.equal(asked, 1);
  doubt();
  answer(true);
  await settle();
  t.equal(asked, 2, 'what was asked before says nothing of what went unheard since');
  answer(true);
  await settle();
  t.equal(narrower, 1);
});

t.test('what narrowed unheard is closed as soon as others are heard again, and nothing else', async (t) => {
  const clock = createStillClock();
  const store = createMemoryStore(clock);
  const sealing = createSealing([Buffer.alloc(32, 7)], systemRandomness);
  let hearing: StoreListener | undefined;
  let down = false;
  const replica = (own: Partial<Store>) =>
    createSessions({
      ...{ store: { ...store, ...own }, sealing, clock, randomness: systemRandomness, meter: silentMeter },
      ...{ idleTimeoutMs: 8 * 3_600_000, absoluteTimeoutMs: 24 * 3_600_000 },
      ...{ cacheMs: 5000, outageGraceMs: 0, maxCached: 100 },
    });
  const one = replica({});
  const deaf = replica({
    get: (key) => (down ? Promise.reject(new SallyportError('store_unavailable', 'down')) : store.get(key)),
    listen(listener) {
      hearing = listener;
      return () => undefined;
    },
  });
  const fresh = makeRecord(clock.nowMs());
  const record = { ...fresh, identity: { ...fresh.identity, groups: ['dev', 'ops'] } };
  const changes: readonly [string, Partial<SessionRecord>][] = [
    ['lowered', { refreshed: { amr: ['pwd'] } }],
    ['out of a group', { identity: { ...record.identity, groups: ['dev'] } }],
    ['shortened', { expiresAt: record.expiresAt - 60 }],
    ['into a group', { identity: { ...record.identity, groups: ['dev', 'ops', 'more'] } }],
    ['refreshed', { tokens: { ...record.tokens, accessToken: 'another' } }],
    ['untouched', {}],
  ];
  const open = new Map<OpenedSession, string>();
  for (const [title, change] of changes) {
    const { cookieValue, session } = await one.create(record);
    open.set((await deaf.open(cookieValue))!, title);
    const stored = await one.read(session.key!);
    t.ok(title === 'untouched' || (await one.rewrite(stored!, { ...record, ...change }, undefined, true)));
  }
  const upgraded = {
    sessions: () => open.keys(),
    review(stays: (session: OpenedSession) => boolean) {
      for (const session of [...open.keys()]) if (!stays(session)) open.delete(session);
    },
  } as unknown as UpgradedSockets;
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const stop = closeWithSessions([] as unknown as Running, upgraded, deaf);
  t.teardown(stop);
  down = true;
  hearing?.missed();
  await settle();
  await settle();
  t.equal(open.size, changes.length, 'a store that is down says nothing');
  down = false;
  mock.timers.tick(60_000);
  await until(() => open.size < changes.length);
  await settle();
  t.same([...open.values()], ['into a group', 'refreshed', 'untouched']);
});
