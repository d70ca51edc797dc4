import t from 'tap';
import WebSocket from 'ws';
import { until } from '../support/until.ts';
import {
  accessTokenSeconds,
  cookieOf,
  dueAfterSeconds,
  furnishRefreshHouse,
  makeGate,
  whoami,
} from './refresh-house.ts';

type Json = Record<string, unknown>;

t.test(
  'a request that finds the token due starts the refresh, and none waits while the old one is valid',
  async (t) => {
    const house = await furnishRefreshHouse();
    t.teardown(() => house.close());
    const { origin, op, spent } = house;
    const browser = await house.signIn();
    house.advance(dueAfterSeconds - 5);
    await browser.request('GET', `${origin}/`);
    t.same(spent(), [], 'not before it is due');

    house.advance(6);
    const gate = makeGate();
    let asked = 0;
    op.fault = (endpoint) => {
      if (endpoint !== 'token') return undefined;
      asked += 1;
      return { kind: 'hold', until: gate.opened };
    };
    const answers = await Promise.all(Array.from({ length: 20 }, () => browser.request('GET', `${origin}/`)));
    t.ok(
      answers.every(({ status }) => status === 200),
      'all are answered while the IdP is silent',
    );
    await until(() => asked === 1, 'the refresh');
    t.same(spent(), []);
    gate.open();
    await house.untilRefreshed(1);
    t.equal(asked, 1, 'once for all of them');
    await browser.request('GET', `${origin}/`);
    t.equal(spent().length, 1, 'it is not due again');
    t.match(house.refreshes(), [{ result: 'refreshed', aal: 'aal2', lowered: false, auth_source: 'idp' }]);
    t.equal((await house.metrics())('refreshed'), 1);

    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    await house.untilRefreshed(2);
    t.equal(new Set(spent()).size, 2, 'the rotated one is what is spent next');
  },
);

t.test('whoami starts it too; upstream and deny routes never do', async (t) => {
  const house = await furnishRefreshHouse({
    config: {
      routes: [
        { name: 'raw', path: '/raw/**', access: 'upstream' },
        { name: 'no', path: '/no/**', access: 'deny' },
      ],
    },
  });
  t.teardown(() => house.close());
  const { origin, spent } = house;
  const browser = await house.signIn();
  house.advance(dueAfterSeconds + 1);
  t.equal((await browser.request('GET', `${origin}/raw/x`)).status, 200);
  t.equal((await browser.request('GET', `${origin}/no/x`)).status, 403);
  t.same(spent(), []);
  t.match(await whoami(browser, origin), { authenticator_assurance_level: 'aal2' });
  await house.untilRefreshed(1);
});

t.test('a refresh extends neither the limits nor the evidence, and nothing of who it is', async (t) => {
  const house = await furnishRefreshHouse({
    config: { session: { idle_timeout: '1h', absolute_timeout: '1h' } },
  });
  t.teardown(() => house.close());
  const { origin, idp } = house;
  const browser = await house.signIn();
  const before = await whoami(browser, origin);
  idp.refreshed = {
    amr: undefined,
    email: 'mallory@example.com',
    preferred_username: 'mallory',
    groups: ['dev', 'ops'],
  };
  for (let round = 1; round <= 13; round += 1) {
    house.advance(dueAfterSeconds + 10);
    t.equal((await browser.request('GET', `${origin}/`)).status, 200);
    await house.untilRefreshed(round);
  }
  const { identity, ...after } = await whoami(browser, origin);
  const { identity: identityBefore, ...rest } = before;
  t.strictSame(after, rest, 'times, evidence, level, id');
  t.strictSame(identity, { ...(identityBefore as Json), groups: ['dev', 'ops'] }, 'the groups follow');
  house.advance(3601 - 13 * (dueAfterSeconds + 10));
  t.equal((await browser.request('GET', `${origin}/`)).status, 401, 'the absolute limit stands');
});

t.test('no ID token, none of the claims, or empty ones: nothing is said', async (t) => {
  const house = await furnishRefreshHouse();
  t.teardown(() => house.close());
  const { origin, idp } = house;
  const browser = await house.signIn();
  let round = 0;
  const said: readonly Json[] = [
    { amr: [], acr: '' },
    { amr: '', acr: null },
    { amr: null, acr: undefined },
    { amr: undefined, acr: 'bronze' },
  ];
  for (const refreshed of said) {
    idp.refreshed = refreshed;
    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    round += 1;
    t.match((await house.untilRefreshed(round)).at(-1), { result: 'refreshed', lowered: false, aal: 'aal2' });
  }
  idp.noIdToken = true;
  house.advance(dueAfterSeconds + 1);
  await browser.request('GET', `${origin}/`);
  t.match((await house.untilRefreshed(round + 1)).at(-1), { result: 'refreshed', aal: 'aal2' });
  t.match(await whoami(browser, origin), {
    authenticator_assurance_level: 'aal2',
    mfa: { status: 'verified', evidence: { claim: 'amr', value: 'mfa' } },
  });
});

t.test(
  'a contradiction takes the AAL2: a navigation is asked to sign in again, and no later refresh gives it back',
  async (t) => {
    const house = await furnishRefreshHouse();
    t.teardown(() => house.close());
    const { origin, idp, op } = house;
    const browser = await house.signIn();
    idp.refreshed = { amr: ['pwd'] };
    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    t.match(await house.untilRefreshed(1), [
      { result: 'lowered', lowered: true, aal: 'aal1', reason: 'amr_not_mfa', observed: { amr: ['pwd'] } },
    ]);
    t.equal((await house.metrics())('lowered'), 1);
    t.equal((await browser.request('GET', `${origin}/`)).status, 401);
    const navigation = await browser.request('GET', `${origin}/`, { navigate: true });
    t.equal(navigation.status, 302);
    t.match(navigation.location, /\/_sallyport\/signin/);
    idp.refreshed = {};
    house.advance(dueAfterSeconds + 1);
    t.equal((await browser.request('GET', `${origin}/`)).status, 401);
    t.equal(house.spent().length, 1, 'what opens nothing is not refreshed');
    op.nextLogin = { ...op.nextLogin, amr: ['pwd', 'mfa'] };
    t.equal((await browser.follow(`${origin}/`)).last.status, 200, 'signing in does');
    t.match(await whoami(browser, origin), { authenticator_assurance_level: 'aal2' });
  },
);

t.test(
  'where AAL1 is let in, a contradicted session is asked to step up where a route wants more',
  async (t) => {
    const house = await furnishRefreshHouse({
      mfa: { mode: 'report_only' },
      config: { routes: [{ name: 'admin', path: '/admin/**', require_aal: 'aal2' }] },
    });
    t.teardown(() => house.close());
    const { origin, idp } = house;
    house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd'] };
    const browser = await house.signIn();
    house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd', 'mfa'] };
    t.equal((await browser.follow(`${origin}/admin/`)).last.status, 200, 'by a step-up, which is tried once');
    idp.refreshed = { amr: ['pwd'] };
    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    await house.untilRefreshed(1);
    t.equal((await browser.request('GET', `${origin}/`)).status, 200, 'AAL1 will do here');
    t.match(await whoami(browser, origin), {
      authenticator_assurance_level: 'aal1',
      mfa: { status: 'would_reject' },
    });
    idp.refreshed = {};
    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    t.match((await house.untilRefreshed(2)).at(-1), { result: 'refreshed', lowered: false, aal: 'aal1' });
    const denied = await browser.request('GET', `${origin}/admin/`);
    t.equal(denied.status, 401, 'a later refresh that says the right thing does not lift it');
    t.match(denied.headers['www-authenticate'], /insufficient_user_authentication/);
    const { last, chain } = await browser.follow(`${origin}/admin/`);
    t.equal(last.status, 200, 'stepping up does');
    t.ok(chain.some(({ url }) => url.includes('step_up=1')));
  },
);

for (const [what, refreshed, detail] of [
  ['another sub', { sub: 'mallory' }, 'sub_changed'],
  ['another auth_time', { auth_time: 1_600_000_000 }, 'auth_time_changed'],
  ['another aud', { aud: 'someone-else' }, 'aud_mismatch'],
  ['another issuer', { iss: 'https://elsewhere.example' }, 'iss_mismatch'],
  ['another nonce', { nonce: 'made up' }, 'nonce_mismatch'],
  ['an azp that was not there', { azp: 'forge' }, 'azp_changed'],
] as const) {
  t.test(`${what}: nothing of the answer is taken, and the session lives on without refreshes`, async (t) => {
    const house = await furnishRefreshHouse({ config: { upstream: { pass_access_token: true } } });
    t.teardown(() => house.close());
    const { origin, idp, upstream } = house;
    const browser = await house.signIn();
    await browser.request('GET', `${origin}/`);
    const token = upstream.seen.at(-1)?.headers['x-forwarded-access-token'];
    t.type(token, 'string');
    idp.refreshed = { ...refreshed, amr: ['pwd'] };
    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    t.match(await house.untilRefreshed(1), [{ result: 'rejected', detail, lowered: false, aal: 'aal2' }]);
    t.equal((await browser.request('GET', `${origin}/`)).status, 200);
    t.equal(upstream.seen.at(-1)?.headers['x-forwarded-access-token'], token);
    t.match(await whoami(browser, origin), {
      authenticator_assurance_level: 'aal2',
      identity: { sub: 'alice' },
    });
    house.advance(accessTokenSeconds);
    t.equal((await browser.request('GET', `${origin}/`)).status, 200);
    t.equal(upstream.seen.at(-1)?.headers['x-forwarded-access-token'], undefined, 'it has expired');
    t.equal(house.spent().length, 1, 'and is not refreshed');
    t.equal((await house.metrics())('rejected'), 1);
  });
}

t.test('the IdP refuses: the session lives on to its own limits', async (t) => {
  const house = await furnishRefreshHouse();
  t.teardown(() => house.close());
  const { origin, op } = house;
  const browser = await house.signIn();
  op.fault = (endpoint) =>
    endpoint === 'token'
      ? { kind: 'status', status: 400, body: '{"error":"invalid_grant","error_description":"revoked"}' }
      : undefined;
  house.advance(dueAfterSeconds + 1);
  t.equal((await browser.request('GET', `${origin}/`)).status, 200);
  t.match(await house.untilRefreshed(1), [
    { result: 'refused', idp_error: 'invalid_grant', idp_error_description: 'revoked', aal: 'aal2' },
  ]);
  house.advance(7 * 3600);
  t.equal((await browser.request('GET', `${origin}/`)).status, 200);
  t.equal(op.count('token'), 2, 'the sign-in, and one refresh');
  t.equal((await house.metrics())('refused'), 1);
});

t.test('the IdP is down: the session lives on, retries back off, and it heals by itself', async (t) => {
  const house = await furnishRefreshHouse();
  t.teardown(() => house.close());
  const { origin, op } = house;
  const browser = await house.signIn();
  op.fault = (endpoint) => (endpoint === 'token' ? { kind: 'status', status: 503, body: '{}' } : undefined);
  const tried = (): number => op.count('token') - 1;
  house.advance(dueAfterSeconds + 1);
  // Ten minutes of requests, four a second.
  for (let quarter = 0; quarter < 2400; quarter += 1) {
    house.advance(0.25);
    const before = tried();
    const { status } = await browser.request('GET', `${origin}/`);
    if (status !== 200) t.fail(`answered ${status}`);
    if (quarter < 8) await until(() => tried() > 0, 'the first try');
    if (tried() > before) await until(async () => (await house.metrics())('failed') === tried());
  }
  // 1 s, doubled up to 60 s, each shortened by up to half: about 6 until it is at 60 s, then one in 30 to 60 s.
  t.ok(tried() >= 12 && tried() <= 28, `${tried()} tries`);
  t.same(house.refreshes(), [], 'nothing has been refreshed, nor given up');
  op.fault = undefined;
  house.advance(61);
  await browser.request('GET', `${origin}/`);
  t.match(await house.untilRefreshed(1), [{ result: 'refreshed', aal: 'aal2' }]);
});

t.test('whoever signs out during a refresh stays signed out', async (t) => {
  const house = await furnishRefreshHouse();
  t.teardown(() => house.close());
  const { origin, op } = house;
  const browser = await house.signIn();
  const cookies = browser
    .cookies(origin)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ');
  const gate = makeGate();
  let asked = 0;
  op.fault = (endpoint) => {
    if (endpoint !== 'token') return undefined;
    asked += 1;
    return { kind: 'hold', until: gate.opened };
  };
  house.advance(dueAfterSeconds + 1);
  await browser.request('GET', `${origin}/`);
  await until(() => asked === 1);
  const page = await browser.request('GET', `${origin}/_sallyport/signout`);
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
  const out = await browser.request('POST', `${origin}/_sallyport/signout`, {
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
    body: `csrf=${csrf}`,
  });
  t.equal(out.status, 303);
  t.match(out.location, /id_token_hint=/, 'the IdP is told who');
  gate.open();
  await until(() => house.spent().length === 1);
  const again = await browser.request('GET', `${origin}/`, {
    headers: { cookie: cookies },
    withoutCookies: true,
  });
  t.equal(again.status, 401);
  t.same(house.refreshes(), [], 'nothing came of it');
});

t.test('pass_access_token: the new token goes upstream; only what has expired is waited for', async (t) => {
  const house = await furnishRefreshHouse({ config: { upstream: { pass_access_token: true } } });
  t.teardown(() => house.close());
  const { origin, op, upstream } = house;
  const passed = (): string | undefined => upstream.seen.at(-1)?.headers['x-forwarded-access-token'];
  const browser = await house.signIn();
  const first = passed();
  t.type(first, 'string');
  house.advance(dueAfterSeconds + 1);
  await browser.request('GET', `${origin}/`);
  t.equal(passed(), first, 'valid still: nobody waits');
  await house.untilRefreshed(1);
  await browser.request('GET', `${origin}/`);
  const second = passed();
  t.type(second, 'string');
  t.not(second, first);

  house.advance(accessTokenSeconds + 1);
  const answers = await Promise.all(Array.from({ length: 10 }, () => browser.request('GET', `${origin}/`)));
  t.ok(answers.every(({ status }) => status === 200));
  const third = new Set(upstream.seen.slice(-10).map(({ headers }) => headers['x-forwarded-access-token']));
  t.equal(third.size, 1, 'all of them waited for the same');
  t.notOk(third.has(first) || third.has(second) || third.has(undefined));
  t.equal(house.spent().length, 2);

  op.fault = (endpoint) => (endpoint === 'token' ? { kind: 'reset' } : undefined);
  house.advance(accessTokenSeconds + 1);
  t.equal((await browser.request('GET', `${origin}/`)).status, 200);
  t.equal(passed(), undefined, 'the IdP is down: the request goes on without');
});

t.test('forward auth and WebSocket upgrades start it as every other request does', async (t) => {
  const house = await furnishRefreshHouse({ config: { server: { trusted_proxies: ['127.0.0.0/8'] } } });
  t.teardown(() => house.close());
  const { origin, spent } = house;
  const browser = await house.signIn();
  house.advance(dueAfterSeconds + 1);
  const answer = await browser.request('GET', `${origin}/_sallyport/auth`, {
    headers: { 'x-forwarded-uri': '/x', 'x-forwarded-method': 'GET', 'x-forwarded-proto': 'http' },
  });
  t.equal(answer.status, 202);
  await house.untilRefreshed(1);
  house.advance(dueAfterSeconds + 1);
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/x`, {
    headers: { origin, cookie: cookieOf(browser, origin) },
  });
  // The app behind has none; the question has been asked all the same.
  await new Promise((resolve) => socket.on('error', resolve));
  await house.untilRefreshed(2);
  t.equal(new Set(spent()).size, 2);
});

t.test(
  'groups follow where the ID token lists them, and who lost one is judged by that at once',
  async (t) => {
    const house = await furnishRefreshHouse({
      config: { routes: [{ name: 'ops', path: '/ops/**', groups: ['ops'] }] },
    });
    t.teardown(() => house.close());
    const { origin, op, idp, upstream } = house;
    op.nextLogin = { ...op.nextLogin, claims: { ...op.nextLogin.claims, groups: ['dev', 'ops'] } };
    const browser = await house.signIn();
    t.equal((await browser.request('GET', `${origin}/ops/`)).status, 200);
    const assertionGroups = (): unknown => {
      const jwt = upstream.seen.at(-1)?.headers['x-sallyport-assertion'] ?? '';
      return (JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as Json)['groups'];
    };
    t.same(assertionGroups(), ['dev', 'ops']);
    const rounds: readonly [Json, readonly string[]][] = [
      [{ groups: undefined }, ['dev', 'ops']],
      [{ groups: 'dev' }, ['dev', 'ops']],
      [{ groups: ['dev', 7] }, ['dev', 'ops']],
      [{ groups: ['dev\r\nX-Forged: 1'] }, ['dev', 'ops']],
      [{ groups: ['dev'], _claim_names: { groups: 'src1' } }, ['dev', 'ops']],
      [{ groups: ['dev'] }, ['dev']],
    ];
    for (const [index, [refreshed, groups]] of rounds.entries()) {
      idp.refreshed = refreshed;
      house.advance(dueAfterSeconds + 1);
      await browser.request('GET', `${origin}/`);
      t.match((await house.untilRefreshed(index + 1)).at(-1), { result: 'refreshed' });
      await browser.request('GET', `${origin}/`);
      t.same(assertionGroups(), groups, JSON.stringify(refreshed));
    }
    t.same(house.refreshes().at(-1)?.['groups'], ['dev']);
    t.equal((await browser.request('GET', `${origin}/ops/`)).status, 403);
  },
);

t.test('who is in none of allowed_groups any more has signed in for the last time', async (t) => {
  const house = await furnishRefreshHouse({ source: { allowed_groups: ['forge', 'staff'] } });
  t.teardown(() => house.close());
  const { origin, op, idp, upstream } = house;
  op.nextLogin = { ...op.nextLogin, claims: { ...op.nextLogin.claims, groups: ['forge', 'dev'] } };
  const browser = await house.signIn();
  const round = async (refreshed: Json, number: number) => {
    idp.refreshed = refreshed;
    house.advance(dueAfterSeconds + 1);
    await browser.request('GET', `${origin}/`);
    return (await house.untilRefreshed(number)).at(-1);
  };
  await round({ groups: undefined }, 1);
  t.equal((await browser.request('GET', `${origin}/`)).status, 200, 'nothing said of groups');
  await round({ groups: ['staff'] }, 2);
  t.equal((await browser.request('GET', `${origin}/`)).status, 200, 'another of them');
  t.match(await round({ groups: ['dev'] }, 3), { result: 'refreshed', groups: ['dev'] });
  const before = upstream.seen.length;
  t.equal((await browser.request('GET', `${origin}/`)).status, 401);
  house.advance(3600);
  t.equal((await browser.request('GET', `${origin}/`)).status, 401);
  t.equal(upstream.seen.length, before);
  t.equal(house.spent().length, 3, 'and refreshes nothing any more');
});

t.test(
  'a session by a sign-in without a refresh token, or without a life of its access token, is never refreshed',
  async (t) => {
    for (const drop of ['refresh_token', 'expires_in']) {
      const house = await furnishRefreshHouse();
      const { origin, op, spent } = house;
      op.tamperTokenResponse = (body) =>
        Object.fromEntries(Object.entries(body).filter(([name]) => name !== drop));
      const browser = await house.signIn();
      house.advance(accessTokenSeconds + 1);
      t.equal((await browser.request('GET', `${origin}/`)).status, 200);
      t.equal((await browser.request('GET', `${origin}/`)).status, 200);
      t.same(spent(), [], drop);
      await house.close();
    }
  },
);
