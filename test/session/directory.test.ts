import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createDirectory, mostPerIndex } from '../../src/session/directory.ts';
import { announcementOf, readAnnouncement } from '../../src/session/announcements.ts';
import { createEndings } from '../../src/session/endings.ts';
import type { EndedSession } from '../../src/session/endings.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createSessions } from '../../src/session/sessions.ts';
import type { Store } from '../../src/session/types.ts';
import { createStillClock } from './clock.ts';
import { makeRecord } from './record-fixture.ts';
import { sessionsDeps } from './sessions-deps.ts';

const hourMs = 3_600_000;
const [older, newer] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const issuer = 'https://idp.example.com';

function build(wrap: (store: Store) => Store = (store) => store) {
  const clock = createStillClock();
  const kept = createMemoryStore(clock);
  const store = wrap(kept);
  /** One replica, with these secrets. */
  const replica = (secrets: readonly Buffer[] = [older]) => {
    const sealing = createSealing(secrets, systemRandomness);
    const directory = createDirectory({ store, sealing });
    const pushedOut: EndedSession[] = [];
    const sessions = createSessions(
      sessionsDeps({
        ...{ store, sealing, clock, cacheMs: hourMs, maxCached: 5000 },
        onPushedOut: (ended) => pushedOut.push(ended),
      }),
    );
    return { sealing, directory, sessions, pushedOut, endings: createEndings({ store, directory, clock }) };
  };
  const count = async (prefix: string): Promise<number> => {
    const found: string[] = [];
    for await (const key of kept.keys(prefix)) found.push(key);
    return found.length;
  };
  return { clock, kept, store, replica, count };
}

t.test(
  'a session is found by subject, by sid and by address in any case, of its own issuer alone',
  async (t) => {
    const { clock, replica } = build();
    const { sessions, directory, sealing } = replica();
    const record = makeRecord(clock.nowMs(), { claims: { sid: 's-1' } });
    const { cookieValue } = await sessions.create(record);
    const key = sealing.sessionKey(cookieValue);
    t.same(await directory.find('sub', issuer, 'subject-4711'), [key]);
    t.same(await directory.find('sid', issuer, 's-1'), [key]);
    t.same(await directory.find('email', issuer, 'Margaret@EXAMPLE.com'), [key]);
    t.same(await directory.find('sub', issuer, 's-1'), [], 'one index is not another');
    t.same(await directory.find('sub', 'https://other.example.com', 'subject-4711'), []);
    t.same(await directory.find('sub', issuer, 'SUBJECT-4711'), [], 'subjects are exact');
  },
);

t.test('its card says who and how, and opens with the secret alone', async (t) => {
  const { clock, replica } = build();
  const { sessions, directory, sealing } = replica();
  const judgement = {
    aal: 'aal2',
    status: 'verified',
    evidence: { claim: 'amr', value: ['otp'] },
    weak: false,
  } as const;
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()), judgement);
  const key = sealing.sessionKey(cookieValue);
  const card = await directory.card(key);
  t.match(card, { id: 'public-session-id', subject: 'subject-4711', source: 'entra', judgement });
  t.notMatch(JSON.stringify(card), 'token');
  t.equal(await replica([newer]).directory.card(key), undefined);
});

t.test('a session ended by its key is gone on every replica, and is ended once', async (t) => {
  const { clock, replica, count } = build();
  const [one, two] = [replica(), replica()];
  const { cookieValue } = await one.sessions.create(makeRecord(clock.nowMs()));
  const told: (readonly string[])[] = [];
  two.sessions.onEnded((keys) => told.push(keys));
  await two.sessions.open(cookieValue);
  const keys = await two.directory.find('sub', issuer, 'subject-4711');
  const ended: EndedSession[] = [];
  await Promise.all([1, 2].map(() => one.endings.end(keys, (each) => ended.push(each))));
  t.match(ended, [{ card: { subject: 'subject-4711' } }]);
  t.equal(one.sessions.peek(cookieValue), undefined);
  t.equal(two.sessions.peek(cookieValue), undefined);
  t.equal(await two.sessions.open(cookieValue), undefined);
  t.same(told[0], keys);
  t.same([await count('session:'), await count('card:')], [0, 0]);
  t.same(await two.directory.find('sub', issuer, 'subject-4711'), [], 'nothing is left in the index');
  t.equal(await one.sessions.lives(keys[0]!), false);
});

t.test('an end that arrives while the store is asked is not overtaken by the answer', async (t) => {
  let release: (() => void) | undefined;
  let held = false;
  const { clock, replica } = build((store) => ({
    ...store,
    async get(key) {
      const found = await store.get(key);
      if (held && key.startsWith('session:')) await new Promise<void>((resolve) => (release = resolve));
      return found;
    },
  }));
  const [one, two] = [replica(), replica()];
  const { cookieValue } = await one.sessions.create(makeRecord(clock.nowMs()));
  held = true;
  const opening = two.sessions.open(cookieValue);
  await new Promise((resolve) => setImmediate(resolve));
  await one.endings.end([one.sealing.sessionKey(cookieValue)], () => undefined);
  release?.();
  t.equal(await opening, undefined);
  t.equal(two.sessions.peek(cookieValue), undefined);
});

t.test('signing out strikes out card and index entries', async (t) => {
  const { clock, replica, count } = build();
  const { sessions, directory } = replica();
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  t.ok(await sessions.end(cookieValue));
  t.equal(await count('card:'), 0);
  t.same(await directory.find('email', issuer, 'margaret@example.com'), []);
});

t.test(
  'after a rotation sessions of either secret are found; one that knows only the older finds its own',
  async (t) => {
    const { clock, replica } = build();
    await replica([older]).sessions.create(makeRecord(clock.nowMs()));
    const rotated = replica([newer, older]);
    await rotated.sessions.create(makeRecord(clock.nowMs()));
    t.equal((await rotated.directory.find('sub', issuer, 'subject-4711')).length, 2);
    t.equal((await replica([older]).directory.find('sub', issuer, 'subject-4711')).length, 1);
  },
);

t.test(
  'whoever has too many sessions loses the oldest, rather than have one that nothing finds',
  async (t) => {
    const { clock, replica } = build();
    const { sessions, directory, pushedOut } = replica();
    const cookies: string[] = [];
    for (let index = 0; index <= mostPerIndex; index += 1) {
      clock.advance(1000);
      cookies.push((await sessions.create(makeRecord(clock.nowMs(), { id: `id-${index}` }))).cookieValue);
    }
    t.equal((await directory.find('sub', issuer, 'subject-4711')).length, mostPerIndex);
    await new Promise((resolve) => setImmediate(resolve));
    t.match(pushedOut, [{ card: { id: 'id-0' } }]);
    t.equal(await sessions.open(cookies[0]!), undefined);
    t.ok(await sessions.open(cookies[1]!));
  },
);

t.test('a store that fails on the way leaves no session that could not be revoked', async (t) => {
  for (const failing of ['put card', 'addMember', 'put record'] as const) {
    let broken = false;
    const fail = () => Promise.reject(new Error('down'));
    const { clock, replica, count } = build((store) => ({
      ...store,
      put: (key, sealed, ttlMs) => {
        const what = key.startsWith('card:') ? 'put card' : 'put record';
        return broken && what === failing ? fail() : store.put(key, sealed, ttlMs);
      },
      addMember: (...given) => (broken && failing === 'addMember' ? fail() : store.addMember(...given)),
    }));
    const { sessions } = replica();
    broken = true;
    await t.rejects(sessions.create(makeRecord(clock.nowMs())), { message: 'down' }, failing);
    t.equal(await count('session:'), 0, failing);
  }
});

t.test('an end that failed half-way is told when it is done again', async (t) => {
  let deaf = false;
  const { clock, replica } = build((store) => ({
    ...store,
    announce: (message) => (deaf ? Promise.reject(new Error('down')) : store.announce(message)),
  }));
  const [one, two] = [replica(), replica()];
  const { cookieValue } = await one.sessions.create(makeRecord(clock.nowMs()));
  await two.sessions.open(cookieValue);
  const keys = await one.directory.find('sub', issuer, 'subject-4711');
  const ended: EndedSession[] = [];
  deaf = true;
  await t.rejects(one.endings.end(keys, (each) => ended.push(each)));
  t.equal(ended.length, 1, 'on record at once');
  t.ok(two.sessions.peek(cookieValue), 'nobody told');
  deaf = false;
  await one.endings.end(await one.directory.find('sub', issuer, 'subject-4711'), (each) => ended.push(each));
  t.equal(two.sessions.peek(cookieValue), undefined);
  t.equal(ended.length, 1);
});

t.test('an end that failed for one session is a failure, and ends the others', async (t) => {
  let broken = '';
  const { clock, replica } = build((store) => ({
    ...store,
    delete: (key) => (key === broken ? Promise.reject(new Error('down')) : store.delete(key)),
  }));
  const one = replica();
  const made = [];
  for (let each = 0; each < 3; each += 1) made.push(await one.sessions.create(makeRecord(clock.nowMs())));
  const keys = made.map(({ cookieValue }) => one.sealing.sessionKey(cookieValue));
  broken = keys[1] ?? '';
  const ended: EndedSession[] = [];
  await t.rejects(
    one.endings.end(keys, (each) => ended.push(each)),
    { message: 'down' },
  );
  t.same(
    ended.map(({ key }) => key),
    [keys[0], keys[2]],
  );
  t.same(
    made.map(({ cookieValue }) => one.sessions.peek(cookieValue) !== undefined),
    [false, true, false],
  );
  broken = '';
  await one.endings.end(keys, (each) => ended.push(each));
  t.equal(ended.length, 3, 'the one that was left is found and ended by the next attempt');
});

t.test('what is noted of a session before it is stored outlives an end that came too early', async (t) => {
  const { clock, replica } = build();
  const { directory, endings, sessions, sealing } = replica();
  const record = makeRecord(clock.nowMs());
  const key = sealing.sessionKey((await sessions.create(record)).cookieValue);
  const unborn = sealing.sessionKey('unborn');
  await directory.enter(unborn, record, undefined, { recordMs: hourMs, sessionMs: hourMs });
  const find = async () => [...(await directory.find('sub', issuer, 'subject-4711'))].sort();
  t.same(await find(), [key, unborn].sort());
  await endings.end([key, unborn], () => undefined);
  t.same(await find(), [unborn], 'its record may come yet, and has to be found by the next end');
  clock.advance(121_000);
  await endings.end([unborn], () => undefined);
  t.same(await find(), [], 'after two minutes none will');
});

t.test('everything expires by itself with the session', async (t) => {
  const { clock, replica, count } = build();
  const { sessions, directory } = replica();
  const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
  for (let hours = 0; hours < 12; hours += 2) {
    clock.advance(2 * hourMs);
    t.ok(await sessions.open(cookieValue));
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(await count('card:'), 1, 'the card lives as long as the session is used');
  }
  clock.advance(9 * hourMs);
  t.same([await count('session:'), await count('card:')], [0, 0], 'idle');
  clock.advance(4 * hourMs);
  t.same(await directory.find('sub', issuer, 'subject-4711'), []);
});

t.test(
  'a session without a card, made by the version before, gets card and entries when it is used',
  async (t) => {
    const { clock, kept, replica } = build();
    const { sessions, directory, sealing } = replica();
    const { cookieValue } = await sessions.create(makeRecord(clock.nowMs()));
    const key = sealing.sessionKey(cookieValue);
    await directory.forget(key, {
      issuer,
      subject: 'subject-4711',
      sid: undefined,
      email: 'margaret@example.com',
    });
    t.equal(await directory.card(key), undefined);
    clock.advance(2 * hourMs);
    await sessions.open(cookieValue);
    await new Promise((resolve) => setImmediate(resolve));
    t.match(await directory.card(key), { subject: 'subject-4711', judgement: undefined });
    t.same(await directory.find('sub', issuer, 'subject-4711'), [key]);
    t.ok(await kept.get(key));
  },
);

t.test('an announcement is a word and hashes; what is not one means nothing', (t) => {
  const key = `session:${'a'.repeat(43)}`;
  for (const news of ['ended', 'changed', 'narrowed'] as const)
    t.same(readAnnouncement(announcementOf([key, key], news)), { news, keys: [key, key] });
  t.equal(announcementOf([key]), `1 ${'a'.repeat(43)}`, 'as releases before this one read it');
  for (const other of ['', '1', '2 x', `4 ${'a'.repeat(43)}`, '1 ../../x', `1 ${'a'.repeat(44)}`])
    t.equal(readAnnouncement(other), undefined, other);
  t.end();
});
