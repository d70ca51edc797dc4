import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp, type TestOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;

/** The machine's clock, moved. The test OP's tokens move along. */
class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

const admin = '/admin/users?page=2&q=%2Fa';

async function furnish() {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const clock = new MovableClock();
  const op = await startOp({ clients: [clientOf(origin, 'idp')], acrValues: ['gold'] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [
      {
        id: 'idp',
        issuer: op.issuer,
        mfa: { mode: 'report_only', acr_values: ['gold'], aal2_acr_values: ['gold'], accept: 'any' },
      },
    ],
    config: {
      session: { idle_timeout: '48h', absolute_timeout: '72h' },
      routes: [
        { name: 'admin', path: '/admin/**', require_aal: 'aal2', max_auth_age: '15m' },
        { name: 'strong', path: '/strong/**', require_aal: 'aal2' },
      ],
    },
    app: { clock },
  });
  /** What the IdP's tokens say, on top of the moved clock; `authTime` in seconds from now. */
  const idp: { authTime: number | undefined; more: Json } = { authTime: 0, more: {} };
  op.tamperIdToken = ({ claims }) => {
    const offset = Math.round(clock.offsetMs / 1000);
    const said: Json = {
      ...claims,
      iat: Number(claims['iat']) + offset,
      exp: Number(claims['exp']) + offset,
      auth_time: Math.floor(clock.nowMs() / 1000) + (idp.authTime ?? 0),
      ...idp.more,
    };
    if (idp.authTime === undefined) delete said['auth_time'];
    return { claims: said };
  };
  return {
    origin,
    upstream,
    clock,
    op,
    sallyport,
    idp,
    async close() {
      await sallyport.close();
      await op.stop();
      await upstream.close();
    },
  };
}

/** What the last authorization request asked for, pushed or not. */
function askedOf(op: TestOp): Readonly<Record<string, string>> {
  return (
    op.requests.filter(({ endpoint }) => endpoint === 'par' || endpoint === 'authorization').at(-1)?.params ??
    {}
  );
}

const trips = (op: TestOp): number => op.count('token');
const whoami = async (browser: UserAgent, origin: string): Promise<Json> =>
  (await browser.request('GET', `${origin}/_sallyport/whoami`)).json() as Json;

t.test('too old: a browser is sent once, and comes back to the very page under a new session', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, clock, op, sallyport } = house;
  const browser = new UserAgent();
  t.equal((await browser.follow(`${origin}${admin}`)).last.status, 200, 'fresh from the sign-in');
  const before = await whoami(browser, origin);
  clock.offsetMs += 962_000;
  const { last, chain } = await browser.follow(`${origin}${admin}`);
  t.equal(last.status, 200);
  t.equal(last.url, `${origin}${admin}`);
  t.equal(chain.filter(({ url }) => url.includes('step_up=1')).length, 1);
  t.match(askedOf(op), { prompt: 'login', max_age: '900', acr_values: 'gold' });
  const after = await whoami(browser, origin);
  t.not(after['id'], before['id']);
  const steppedUp = sallyport.audit.lines().find(({ action }) => action === 'session.stepped_up');
  t.match(steppedUp, {
    previous_session_id: before['id'],
    session_id: after['id'],
    aal: 'aal2',
    satisfied: true,
  });
  t.ok(Number(steppedUp?.['auth_time']) - Number(steppedUp?.['previous_auth_time']) >= 960);
  t.match(
    sallyport.audit.lines().find(({ action }) => action === 'session.ended'),
    { why: 'replaced', session_id: before['id'] },
  );
});

for (const [title, authTime, code] of [
  ['an IdP that ignores max_age', -5000, 'auth_too_old'],
  ['an IdP that sends no auth_time', undefined, 'auth_time_missing'],
  ['an IdP whose clock is ahead', 3600, 'auth_time_in_future'],
] as const) {
  t.test(`${title} is found out: explained, and not asked again`, async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const { origin, op, idp, sallyport, clock } = house;
    idp.authTime = authTime;
    const browser = new UserAgent();
    const { last } = await browser.follow(`${origin}${admin}`);
    t.equal(last.status, 403);
    t.match(last.body, code);
    t.equal(trips(op), 2, 'a sign-in and one step-up');
    for (let n = 0; n < 3; n += 1) t.equal((await browser.follow(`${origin}${admin}`)).last.status, 403);
    t.equal(trips(op), 2);
    const steppedUp = sallyport.audit.lines().filter(({ action }) => action === 'session.stepped_up');
    t.match(steppedUp, [{ satisfied: false, reason: code }]);
    t.equal(
      (await browser.follow(`${origin}/elsewhere`)).last.status,
      200,
      'the session is good for the rest',
    );
    idp.authTime = 0;
    clock.offsetMs += 3_600_000;
    t.equal(
      (await browser.follow(`${origin}${admin}`)).last.status,
      200,
      'asked again once it may have changed',
    );
  });
}

t.test('skew: a minute both ways is no matter', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, op, idp } = house;
  for (const authTime of [55, -955]) {
    idp.authTime = authTime;
    const before = trips(op);
    t.equal((await new UserAgent().follow(`${origin}${admin}`)).last.status, 200);
    t.equal(trips(op), before + 1);
  }
});

t.test('another subject comes back: the old session ends, and the new one stands for itself', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, op, clock, sallyport } = house;
  const browser = new UserAgent();
  await browser.follow(`${origin}${admin}`);
  clock.offsetMs += 962_000;
  const alice = op.nextLogin;
  op.nextLogin = {
    ...alice,
    sub: 'bob',
    claims: { ...alice.claims, preferred_username: 'bob', email: 'bob@example.com' },
  };
  t.equal((await browser.follow(`${origin}${admin}`)).last.status, 200);
  t.match(await whoami(browser, origin), { identity: { sub: 'bob' } });
  const audit = sallyport.audit.lines();
  t.match(
    audit.find(({ action }) => action === 'session.ended'),
    { why: 'subject_changed', user: { id: 'alice' } },
  );
  t.notOk(
    audit.find(({ action }) => action === 'session.stepped_up'),
    'nobody was stepped up',
  );
});

t.test('two tabs: each comes back to its own page', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, clock } = house;
  const browser = new UserAgent();
  await browser.follow(`${origin}${admin}`);
  clock.offsetMs += 962_000;
  const toIdp = (path: string) =>
    browser.follow(`${origin}${path}`, { until: (url) => !url.startsWith(origin) });
  const one = await toIdp('/admin/one');
  const two = await toIdp('/admin/two');
  const second = await browser.follow(two.last.location!);
  const first = await browser.follow(one.last.location!);
  t.same([second.last.url, second.last.status], [`${origin}/admin/two`, 200]);
  t.same([first.last.url, first.last.status], [`${origin}/admin/one`, 200]);
});

t.test('a form that was sent loses nothing, and is not sent again by itself', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, clock, upstream } = house;
  const browser = new UserAgent();
  await browser.follow(`${origin}${admin}`);
  clock.offsetMs += 962_000;
  const before = upstream.seen.length;
  const post = () =>
    browser.request('POST', `${origin}/admin/users`, {
      navigate: true,
      from: `${origin}/admin`,
      body: 'typed=words',
    });
  const refused = await post();
  t.equal(refused.status, 401);
  t.match(refused.headers['content-type'], /text\/html/);
  t.match(refused.headers['www-authenticate'], /insufficient_user_authentication.*max_age=900/);
  t.notMatch(refused.body, 'words', 'never echoed');
  t.equal(upstream.seen.length, before);
  const link = /<a[^>]*href="([^"]*step_up=1[^"]*)"[^>]*>/.exec(refused.body);
  t.match(link?.[0], /target="_blank"/, 'in a new tab: this one holds what was typed');
  t.equal((await browser.follow(origin + (link?.[1] ?? '').replaceAll('&amp;', '&'))).last.status, 200);
  t.match(
    [link?.[1], askedOf(house.op)],
    [/fresh=1/, { prompt: 'login', max_age: /^0$/ }],
    'fresh, whatever the page that it leads to asks for: it is not the one that refused',
  );
  t.notOk(upstream.seen.some(({ method }) => method === 'POST'));
  t.equal((await post()).status, 200, 'and now the person sends it');
});

t.test('RFC 9470: a client that is no browser reads what would do, and succeeds', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, op, clock } = house;
  const strong = op.nextLogin;
  const browser = new UserAgent();
  op.nextLogin = { ...strong, amr: ['pwd'] };
  await browser.follow(`${origin}/hello`);
  for (const [path, acr, age] of [
    ['/strong/x', 'gold', undefined],
    ['/admin/x', 'gold', '900'],
  ] as const) {
    const answer = await browser.request('GET', `${origin}${path}`);
    t.equal(answer.status, 401);
    const challenge = String(answer.headers['www-authenticate']);
    t.match(challenge, /^Bearer error="insufficient_user_authentication"/);
    t.equal(/acr_values="([^"]+)"/.exec(challenge)?.[1], acr);
    t.equal(/max_age=(\d+)/.exec(challenge)?.[1], age);
    t.match(answer.json(), { error: 'insufficient_user_authentication', acr_values: acr });
  }
  // The client takes its user to the IdP by our own sign-in, for what the challenge named.
  op.nextLogin = strong;
  await browser.follow(`${origin}/_sallyport/signin?step_up=1&return_to=/admin/x`);
  t.match(askedOf(op), { acr_values: 'gold', max_age: '900' });
  t.equal((await browser.request('GET', `${origin}/admin/x`)).status, 200);
  await browser.follow(`${origin}/_sallyport/signin?step_up=1&fresh=1&return_to=/admin/x`);
  t.match(
    askedOf(op),
    { prompt: 'login', max_age: /^0$/ },
    'fresh=1 is as good as its word in a step-up too',
  );
  clock.offsetMs += 962_000;
  t.equal((await browser.request('DELETE', `${origin}/admin/x`)).status, 401);
});
