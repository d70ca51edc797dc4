import t, { type Test } from 'tap';
import { signJws } from '../support/op.ts';
import { testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { forgeToken, startHouse, timed, type House } from './redis-house.ts';

/*
 * Redis answers, but late, or not every command, or without what it knew. Elsewhere: redis-faults.test.ts, where it does not answer.
 */

t.jobs = 3;

/** The form of the sign-out page, sent. */
async function signOut(who: ReturnType<House['browser']>) {
  const page = await who.ask('/_sallyport/signout', { navigate: true });
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
  return who.ask('/_sallyport/signout', {
    method: 'POST',
    navigate: true,
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
    body: new URLSearchParams({ csrf }).toString(),
  });
}

/** The IdP says by back-channel that somebody has signed out. */
function logOut({ op, browser }: House, sub: string) {
  const { kid, alg, privateKey } = op.signingKey();
  const iat = Math.floor(Date.now() / 1000);
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} };
  const claims = { iss: op.issuer, aud: testClient.client_id, iat, exp: iat + 120, jti: sub, sub, events };
  const token = signJws({ alg, kid, typ: 'logout+jwt' }, claims, privateKey, alg);
  return browser().ask('/_sallyport/backchannel-logout/idp', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ logout_token: token }).toString(),
  });
}

async function isOut(t: Test, who: ReturnType<House['browser']>, why: string): Promise<void> {
  const page = await who.ask('/hello', { navigate: true });
  t.equal(page.status, 302, `${why}: a navigation is sent to sign in`);
  t.match(page.location, /\/_sallyport\/signin\?return_to=/);
  t.equal((await who.ask('/hello')).status, 401, `${why}: anything else is told`);
}

/** Asks again when told to come back, twice at most: a machine busy with others keeps a process from answers that are there. */
async function again<T extends { readonly status: number }>(ask: () => Promise<T>): Promise<T> {
  let answer = await ask();
  for (let more = 2; more > 0 && answer.status === 503; more -= 1) answer = await ask();
  return answer;
}

t.test('Redis is slow, 200 ms for an answer: slower where it is asked, and nothing else', async (t) => {
  const house = await startHouse(t, [{ session: { cache: '10m' } }, { session: { cache: '10m' } }]);
  const [ada, ben] = [house.browser(), house.browser()];
  t.equal((await ada.signIn('ada')).status, 200);
  for (const link of house.links) link.delayMs = 100;
  const known = await timed(() => ada.ask('/hello'));
  t.equal(known.status, 200);
  t.ok(known.tookMs < 150, `from memory: ${Math.round(known.tookMs)} ms`);
  ada.at(1);
  const asked = await timed(() => ada.ask('/hello'));
  t.equal(asked.status, 200);
  t.ok(asked.elapsedMs > 100 && asked.tookMs < 1000, `from Redis: ${Math.round(asked.tookMs)} ms`);
  t.equal((await again(() => ben.signIn('ben'))).status, 200, 'a sign-in');
  t.equal((await again(() => signOut(ben))).status, 303, 'a sign-out');
  t.equal((await again(() => ben.ask('/hello'))).status, 401, 'signed out');
  for (const index of [0, 1]) {
    await until(async () => (await house.readiness(index)).status === 'ready');
    t.equal(await house.metric('sallyport_redis_up', index), 1);
  }
});

const refusals = [
  {
    fault: 'full (maxmemory, noeviction)',
    begin: ['CONFIG', 'SET', 'maxmemory', '1'],
    end: ['CONFIG', 'SET', 'maxmemory', '0'],
    cause: /OOM/,
    // What makes room is not refused.
    signsOut: true,
  },
  {
    fault: 'read-only (a replica now)',
    begin: ['REPLICAOF', '127.0.0.1', '1'],
    end: ['REPLICAOF', 'NO', 'ONE'],
    cause: /READONLY/,
    signsOut: false,
  },
  {
    fault: 'without enough replicas to write (min-replicas-to-write)',
    begin: ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
    end: ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
    cause: /NOREPLICAS/,
    signsOut: false,
  },
] as const;

for (const { fault, begin, end, cause, signsOut } of refusals) {
  t.test(`Redis is ${fault}: who is in stays in, nobody comes in`, { buffered: true }, async (t) => {
    const house = await startHouse(
      t,
      [{}, { operations: { readiness_requires: ['redis'] } }],
      ['--maxmemory-policy', 'noeviction'],
    );
    const { redis, origin, upstream } = house;
    const [ada, ben, cat, dot] = [house.browser(), house.browser(), house.browser(), house.browser()];
    for (const [who, name] of [
      [ada, 'ada'],
      [ben, 'ben'],
      [dot, 'dot'],
    ] as const)
      t.equal((await who.signIn(name)).status, 200);
    const callback = (await cat.signInHalfway('cat')).slice(origin.length);
    const cookie = ada.cookie();
    t.equal(await redis.command(begin[0], ...begin.slice(1)), 'OK');

    for (const index of [0, 1]) {
      ada.at(index);
      const answer = await timed(() => ada.ask('/hello', { navigate: true }));
      t.equal(answer.status, 200, index === 0 ? 'known to memory' : 'read from Redis');
      t.equal(upstream.seen.at(-1)?.headers['x-forwarded-user'], 'ada');
    }
    const reached = house.identified().length;
    const refused = await timed(() => cat.ask(callback, { navigate: true }));
    t.equal(refused.status, 503, 'a sign-in');
    t.match(refused.headers['content-type'], /^text\/html/);
    t.match(refused.headers['retry-after'], /^[1-9]\d*$/);
    t.ok(refused.tookMs < 1000, `${Math.round(refused.tookMs)} ms`);
    t.same(refused.setCookies, [], 'the attempt is kept');
    const out = await signOut(ben);
    if (signsOut) {
      t.equal(out.status, 303, 'a sign-out makes room');
      await isOut(t, ben, 'signed out');
    } else {
      t.equal(out.status, 503, 'a sign-out is not pretended');
      t.match(out.headers['retry-after'], /^[1-9]\d*$/);
      t.same(out.setCookies, []);
      t.equal((await ben.ask('/hello')).status, 200, 'still in');
    }
    if (signsOut) {
      const told = await logOut(house, 'dot');
      t.equal(told.status, 503, 'the IdP has to come again: sign-ins under way were not told');
      await isOut(t, dot, 'signed out by the IdP');
    }
    for (const [path, headers] of [
      ['/open/door', {}],
      ['/raw/runner', {}],
      ['/api/repositories', { authorization: forgeToken }],
    ] as const)
      t.equal((await cat.ask(path, { headers })).status, 200, path);
    t.equal(house.identified().length - reached, signsOut ? 0 : 1, 'nobody else has reached the application');

    // It refuses a sign-in now, so that the replica knows, whatever it wrote before.
    t.equal((await cat.ask(callback, { navigate: true })).status, 503);
    t.match(await house.readiness(0), { code: 200, status: 'degraded', redis: { state: 'impaired', cause } });
    t.equal((await house.readiness(1)).code, 200, 'no reason to take replicas out of service');

    t.equal(await redis.command(end[0], ...end.slice(1)), 'OK');
    await until(
      async () => (await cat.ask(callback, { navigate: true })).status === 302,
      'the very sign-in can be finished',
    );
    t.equal((await cat.ask('/hello')).status, 200);
    await until(async () => (await house.readiness(0)).status === 'ready', 'it heals by itself');
    for (const index of [0, 1]) {
      ada.at(index);
      t.equal((await ada.ask('/hello')).status, 200);
    }
    t.equal(ada.cookie(), cookie);
    await signOut(ada);
    await isOut(t, ada, 'signed out');
  });
}

t.test('Redis starts again empty: everybody signs in again, once, and that is all', async (t) => {
  const house = await startHouse(t, [{}, {}]);
  const { redis, origin, apps } = house;
  const [ada, ben, cat, eve] = [house.browser(), house.browser(), house.browser(), house.browser()];
  t.equal((await ada.signIn('ada')).status, 200);
  t.equal((await ben.signIn('ben')).status, 200);
  ben.at(1);
  t.equal((await ben.ask('/hello')).status, 200);
  const callback = (await cat.signInHalfway('cat')).slice(origin.length);
  const before = ada.cookie();
  const keys = async (index: number): Promise<string> => {
    const agent = house.browser(index);
    return (await agent.ask('/_sallyport/jwks.json')).body;
  };
  const key = await keys(0);
  t.equal(await keys(1), key);

  await redis.restart({ empty: true });
  const seen: number[] = [];
  for (const who of [ada, ben])
    await until(async () => {
      const { status, setCookies } = await who.ask('/hello');
      t.same(setCookies, []);
      seen.push(status);
      return status === 401;
    }, 'the loss shows');
  t.same(
    seen.filter((status) => ![200, 401, 503].includes(status)),
    [],
    'no 500',
  );
  await isOut(t, ada, 'not known any more');
  await isOut(t, ben, 'not known any more');
  t.equal((await ada.ask('/_sallyport/whoami')).status, 401);
  t.equal((await ada.ask('/open/door')).status, 200);
  t.equal((await ada.ask('/api/x', { headers: { authorization: forgeToken } })).status, 200);

  t.equal((await ada.signIn('ada')).status, 200, 'one way to the IdP and back, in spite of the old cookie');
  t.not(ada.cookie(), before);
  t.equal((await cat.ask(callback, { navigate: true })).status, 302, 'who was on the way arrives');
  t.equal((await cat.ask('/hello')).status, 200);
  for (const index of [0, 1]) {
    await until(async () => (await house.readiness(index)).status === 'ready');
    t.equal(await house.metric('sallyport_redis_up', index), 1);
  }
  // Names were bound there: who comes first has them now. Whoever still is bound, is.
  house.op.nextLogin = {
    sub: 'eve',
    amr: ['pwd', 'mfa'],
    claims: { email: 'eve@example.com', email_verified: true, preferred_username: 'ada' },
  };
  const taken = (await eve.agent.follow(`${origin}/hello`)).last;
  t.equal(taken.status, 403, 'ada has signed in again, and has her name');

  const told = () =>
    apps.flatMap((app) => app.log.lines()).filter(({ message }) => /without its data/.test(String(message)));
  await until(() => told().length > 0, 'the operator is told');
  t.equal(await keys(0), key, 'the application verifies assertions as before');
  await apps[1]!.close();
  apps[1] = await house.start(1);
  t.equal(await keys(1), key, 'those of a replica that starts now, too');
});
