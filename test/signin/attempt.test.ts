import fc from 'fast-check';
import t from 'tap';
import { buildSource } from './source.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createSealing } from '../../src/session/sealing.ts';
import {
  attemptCookieName,
  createAttempt,
  isExpired,
  openAttempt,
  policyFingerprint,
  sealAttempt,
} from '../../src/signin/attempt.ts';
import { beginAttemptCookies } from '../../src/signin/attempt-cookies.ts';
import { findAttempt } from '../../src/signin/callback-state.ts';

const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);
const site = { name: '__Host-sallyport', secure: true };
const plain = {
  source: 'main',
  purpose: 'signin',
  fingerprint: 'f',
  returnTo: '/a',
  origin: 'https://forge.example.com',
  fresh: false,
  restarted: false,
} as const;
const make = (createdAt?: number) => {
  const attempt = createAttempt(plain, { clock: systemClock, randomness: systemRandomness });
  return createdAt === undefined ? attempt : { ...attempt, createdAt, createdAtMs: createdAt * 1000 };
};

t.test('an attempt opens under its own cookie name and secret, and nowhere else', async (t) => {
  const attempt = make();
  const name = attemptCookieName(site.name, attempt.state);
  t.match(name, /^__Host-sallyport-a-[\w-]{16}$/);
  t.notOk(name.includes(attempt.state.slice(0, 16)), 'the name does not give the state away');
  const value = sealAttempt(sealing, name, attempt);
  t.same(openAttempt(sealing, name, value), attempt);
  t.equal(openAttempt(sealing, attemptCookieName(site.name, 'another'), value), undefined);
  t.equal(openAttempt(createSealing([Buffer.alloc(32, 2)], systemRandomness), name, value), undefined);
  const rotated = createSealing([Buffer.alloc(32, 2), Buffer.alloc(32, 1)], systemRandomness);
  t.same(openAttempt(rotated, name, value), attempt, 'a secret in rotation still opens it');
  const later = sealing.sealShared('attempt', Buffer.from('{"version":2}'), name).toString('base64url');
  t.equal(openAttempt(sealing, name, later), undefined, 'of another version');
  const other = sealing.sealShared('card', Buffer.from(JSON.stringify(attempt)), name).toString('base64url');
  t.equal(openAttempt(sealing, name, other), undefined, 'of another purpose');
});

t.test('nothing readable stands in the cookie, and the longest return_to fits into one', async (t) => {
  const attempt = { ...make(), returnTo: `/${'r'.repeat(1023)}` };
  const [line] = beginAttemptCookies(sealing, site, undefined, attempt);
  t.ok(line!.length < 4096, 'browsers drop a cookie of more than 4096 bytes');
  for (const secret of [attempt.state, attempt.nonce, attempt.verifier, 'rrrr'])
    t.notOk(line!.includes(secret));
  t.match(line, /; Path=\/; HttpOnly; SameSite=Lax; Secure; Max-Age=600$/);
});

t.test('a cookie header never leads to more than five attempts, whatever stands in it', async () => {
  const now = Math.floor(systemClock.nowMs() / 1000);
  const valid = fc.integer({ min: now - 900, max: now + 200 }).map((createdAt) => {
    const attempt = make(createdAt);
    const name = attemptCookieName(site.name, attempt.state);
    return { pair: `${name}=${sealAttempt(sealing, name, attempt)}`, name, createdAt };
  });
  const foreign = fc.constantFrom(
    '__Host-sallyport=x',
    '__Host-sallyport-a-=x',
    '__Host-sallyport-a-junk=x',
    'a=b',
    ';',
    '=',
  );
  fc.assert(
    fc.property(
      fc.array(valid, { maxLength: 12 }),
      fc.array(foreign, { maxLength: 4 }),
      (attempts, others) => {
        const header = [...attempts.map(({ pair }) => pair), ...others].join('; ');
        const next = make(now);
        const lines = beginAttemptCookies(sealing, site, header, next);
        const expired = new Set(
          lines.filter((line) => line.includes('Max-Age=0')).map((line) => line.split('=', 1)[0]),
        );
        const left = attempts.filter(({ name }) => !expired.has(name));
        const alive = attempts.filter(({ createdAt }) => createdAt > now - 600 && createdAt <= now + 60);
        const newest = [...alive].sort((a, b) => b.createdAt - a.createdAt).slice(0, 4);
        return (
          lines.filter((line) => line.includes('Max-Age=600')).length === 1 &&
          left.length === Math.min(4, alive.length) &&
          left.every(({ createdAt }) => createdAt >= (newest.at(-1)?.createdAt ?? 0)) &&
          !expired.has('__Host-sallyport')
        );
      },
    ),
    { numRuns: 60 },
  );
});

t.test('of tabs that begin in one second, the first make room, and not the latest', async (t) => {
  const now = Math.floor(systemClock.nowMs() / 1000);
  const tabs = [0, 1, 2, 3, 4].map((tab) => ({ ...make(now), createdAtMs: now * 1000 + tab }));
  const names = tabs.map(({ state }) => attemptCookieName(site.name, state));
  const header = tabs.map((tab, at) => `${names[at]!}=${sealAttempt(sealing, names[at]!, tab)}`).join('; ');
  const lines = beginAttemptCookies(sealing, site, header, { ...make(now), createdAtMs: now * 1000 + 5 });
  const gone = lines.filter((line) => line.includes('Max-Age=0')).map((line) => line.split('=', 1)[0]);
  t.same(gone, [names[0]]);
});

t.test('a callback finds the attempt of its own state, source and origin, and no other', async (t) => {
  const attempt = make();
  const now = attempt.createdAt + 1;
  const cookieOf = (state: string) => {
    const name = attemptCookieName(site.name, state);
    return `${name}=${sealAttempt(sealing, name, attempt)}`;
  };
  const request = {
    cookieHeader: cookieOf(attempt.state),
    states: [attempt.state],
    sourceId: 'main',
    origin: 'https://forge.example.com',
    now,
  };
  const find = (over: Partial<typeof request> = {}) => {
    const found = findAttempt(sealing, site, { ...request, ...over });
    return found.ok ? found.attempt.state : found.fault;
  };
  t.equal(find(), attempt.state);
  const other = make().state;
  // Only part of the state's digest is in the name: two states may share it, and a sealed one of another is none.
  t.equal(find({ states: [other], cookieHeader: cookieOf(other) }), 'attempt_unreadable');
  t.equal(find({ states: [other] }), 'attempt_cookie_missing');
  t.equal(find({ states: [attempt.state, attempt.state] }), 'state_malformed');
  t.equal(find({ sourceId: 'other' }), 'attempt_of_another_source');
  // Cookies know no ports: what was begun at one origin of a host comes along to the others.
  t.equal(find({ origin: 'https://forge.example.com:8443' }), 'attempt_of_another_source');
  t.equal(find({ now: now + 600 }), 'attempt_expired');
});

t.test('a cookie header full of made-up attempts costs a bounded answer', async (t) => {
  const header = Array.from({ length: 500 }, (_, at) => `${site.name}-a-made-up-${at}=x`).join('; ');
  t.ok(beginAttemptCookies(sealing, site, header, make()).length <= 33);
});

t.test('an attempt lives ten minutes', async (t) => {
  const attempt = make(1000);
  t.notOk(isExpired(attempt, 1599));
  t.ok(isExpired(attempt, 1600));
  t.ok(isExpired(attempt, 900), 'and none comes from the future');
});

t.test('the fingerprint follows what is asked for, and of whom, alone', async (t) => {
  const of = (source: Parameters<typeof buildSource>[0]) => policyFingerprint(buildSource(source));
  const base = of({});
  t.equal(of({ display_name: 'Other', allowed_groups: ['a'] }), base);
  t.equal(of({ mfa: { mode: 'report_only' } }), base);
  for (const change of [
    { issuer: 'https://other.example' },
    { client_id: 'other' },
    { scopes: ['openid'] },
    { mfa: { acr_values: 'gold' } },
    { mfa: { requested_claims: { id_token: { acr: { essential: true } } } } },
    { mfa: { max_auth_age: '1h' } },
  ]) {
    t.not(of(change), base, JSON.stringify(change));
  }
});
