import { request } from 'node:http';
import t from 'tap';
import { createBadTokenBound } from '../../src/signin/bad-token-bound.ts';
import { createStillClock } from '../session/clock.ts';
import { signJws } from '../support/op.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn, whoami } from './house.ts';

/* Whoever sends bad logout tokens is looked at 300 times a minute; an IdP that signs everybody out at once is not held up. */

t.test('the bound is of one address and one source, and of one minute from the first bad token', (t) => {
  const clock = createStillClock();
  const bound = createBadTokenBound(clock, 300);
  const mallory = '192.0.2.1';
  for (let bad = 0; bad < 300; bad += 1) {
    t.equal(bound.wait(mallory, 'main'), undefined);
    bound.count(mallory, 'main');
    if (bad === 0) clock.advance(15_000);
  }
  t.equal(bound.wait(mallory, 'main'), 45, 'until the minute is over');
  t.equal(bound.wait(mallory, 'other'), undefined, 'another source');
  t.equal(bound.wait('192.0.2.2', 'main'), undefined, 'another address');
  clock.advance(44_999);
  t.equal(bound.wait(mallory, 'main'), 1, 'never zero');
  clock.advance(1);
  t.equal(bound.wait(mallory, 'main'), undefined);
  bound.count(mallory, 'main');
  t.equal(bound.wait(mallory, 'main'), undefined, 'counted from nothing again');
  t.end();
});

t.test('a clock that is set back holds no logout up for longer than a minute', (t) => {
  const clock = createStillClock();
  const bound = createBadTokenBound(clock, 300);
  for (let bad = 0; bad < 300; bad += 1) bound.count('192.0.2.1', 'main');
  t.equal(bound.wait('192.0.2.1', 'main'), 60);
  clock.advance(-3_600_000);
  t.equal(bound.wait('192.0.2.1', 'main'), undefined);
  t.end();
});

t.test('addresses of one IPv6 network are one; several processes share the bound', (t) => {
  const clock = createStillClock();
  const bound = createBadTokenBound(clock, 300, 4);
  for (let bad = 0; bad < 75; bad += 1) bound.count(`2001:db8::${bad.toString(16)}`, 'main');
  t.equal(bound.wait('2001:db8::ffff', 'main'), 60);
  t.equal(bound.wait('2001:db8:1::1', 'main'), undefined);
  t.end();
});

t.test('memory for addresses is bounded: the longest unseen are forgotten', (t) => {
  const bound = createBadTokenBound(createStillClock(), 300);
  const first = '198.51.100.1';
  for (let bad = 0; bad < 300; bad += 1) bound.count(first, 'main');
  t.ok(bound.wait(first, 'main'));
  for (let at = 0; at < 10_000; at += 1) bound.count(`10.1.${at >> 8}.${at & 255}`, 'main');
  t.equal(bound.wait(first, 'main'), undefined);
  t.end();
});

t.test('beyond the bound: 429 with Retry-After, and nobody else waits', async (t) => {
  const house = await openHouse({ sources: { main: {}, other: {} } });
  t.teardown(() => house.close());
  let serial = 0;
  const token = (more: Record<string, unknown>): string => {
    const { kid, privateKey } = house.op.signingKey();
    const iat = Math.floor(Date.now() / 1000);
    const events = { 'http://schemas.openid.net/event/backchannel-logout': {} };
    const claims = { iss: house.op.issuer, aud: 'main', iat, jti: `b${(serial += 1)}`, events, ...more };
    return signJws({ alg: 'RS256', typ: 'logout+jwt', kid }, claims, privateKey, 'RS256');
  };
  const send = (logoutToken: string, source = 'main', localAddress = '127.0.0.1') =>
    new Promise<{ status: number; retryAfter: string | undefined }>((resolve, reject) => {
      const body = new URLSearchParams({ logout_token: logoutToken }).toString();
      const sent = request(
        `${house.origin}${prefix}/backchannel-logout/${source}`,
        { method: 'POST', localAddress, headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        (answer) => {
          answer.resume();
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, retryAfter: answer.headers['retry-after'] }),
          );
        },
      );
      sent.on('error', reject).end(body);
    });
  // All of these are good: they count for nothing.
  for (let at = 0; at < 305; at += 1)
    t.equal((await send(token({ sub: 'nobody' }), 'main', '127.0.0.3')).status, 200);
  const named = { sub: 'nobody', jti: 'the-same' };
  t.equal((await send(token(named), 'main', '127.0.0.3')).status, 200);
  t.equal((await send(token(named), 'main', '127.0.0.3')).status, 400, 'replayed');
  t.equal(
    (await send(token({ ...named, aud: 'other' }), 'other', '127.0.0.3')).status,
    200,
    'not replayed there',
  );
  for (let bad = 0; bad < 300; bad += 1) t.equal((await send('bad')).status, 400);
  const refused = await send('bad');
  t.equal(refused.status, 429);
  t.match(refused.retryAfter, /^([1-9]|[1-5]\d|60)$/);
  t.ok(house.counted.includes('rateLimited backchannel-logout'));
  t.equal((await send('bad', 'other')).status, 400, 'another source');

  house.op.nextLogin = { sub: 'alice', amr: ['mfa'], claims: { preferred_username: 'alice' } };
  const browser = new UserAgent();
  await signIn(house, browser, '?source=main');
  t.equal((await whoami(house, browser)).status, 200);
  t.equal(
    (await send(token({ sub: 'alice' }), 'main', '127.0.0.2')).status,
    200,
    'the IdP, from its own address',
  );
  t.equal((await whoami(house, browser)).status, 401);
  t.equal((await send(token({ sub: 'alice' }))).status, 429, 'whoever shared the address waits as well');
  house.clock.offsetMs = 60_000;
  t.equal((await send(token({ sub: 'alice' }))).status, 200);
});
