import t, { type Test } from 'tap';
import { SallyportError } from '../../src/kernel/error.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn, untilCallback, whoami, type House } from './house.ts';

const house = await openHouse({
  sources: { main: { display_name: 'Example IdP' }, other: {} },
  wrapStore: (store) => ({
    ...store,
    putIfAbsent: (key, value, ttlMs) =>
      storeDown
        ? Promise.reject(new SallyportError('store_unavailable', 'down'))
        : store.putIfAbsent(key, value, ttlMs),
    put: (key, value, ttlMs) =>
      storeDown
        ? Promise.reject(new SallyportError('store_unavailable', 'down'))
        : store.put(key, value, ttlMs),
  }),
});
let storeDown = false;
t.teardown(() => house.close());
t.beforeEach(() => {
  house.audit.length = 0;
  house.clock.offsetMs = 0;
});

/** A callback that must not sign anybody in: its page, with nothing redeemed. */
async function refused(t: Test, agent: UserAgent, url: string, words: string, detail: string) {
  const tokens = house.op.count('token');
  const page = await agent.request('GET', url, { navigate: true });
  t.equal(page.status, 400);
  t.match(page.headers['content-type'], 'text/html');
  t.match(page.body, words);
  t.match(page.body, detail, 'the narrower code is among the details');
  t.equal(house.op.count('token'), tokens, 'state is compared before the code is redeemed');
  t.match(house.audit, [{ action: 'signin.failed', fields: { reason: 'state_invalid', detail } }]);
  t.equal((await whoami(house, agent)).status, 401);
}

const tampered = (url: string, change: (query: URLSearchParams) => void): string => {
  const copy = new URL(url);
  change(copy.searchParams);
  return copy.href;
};

t.test('a forged state: none, malformed, doubled, another one', async (t) => {
  const agent = new UserAgent();
  const good = await untilCallback(house, agent, '?source=main');
  for (const [change, words, detail] of [
    [(query) => query.delete('state'), 'not valid', 'state_malformed'],
    [(query) => query.set('state', '<script>alert(1)</script>'), 'not valid', 'state_malformed'],
    [(query) => query.append('state', query.get('state')!), 'not valid', 'state_malformed'],
    [(query) => query.set('state', 'A'.repeat(43)), 'not started in this browser', 'attempt_cookie_missing'],
  ] as readonly [(query: URLSearchParams) => void, string, string][]) {
    house.audit.length = 0;
    await refused(t, agent, tampered(good, change), words, detail);
  }
  t.equal((await agent.follow(good)).last.status, 200, 'the true one still counts');
});

t.test(
  'a callback without its cookie: login CSRF, where an attacker sends the victim their own callback',
  async (t) => {
    const attacker = new UserAgent();
    const url = await untilCallback(house, attacker, '?source=main');
    await refused(t, new UserAgent(), url, 'not started in this browser', 'attempt_cookie_missing');
  },
);

t.test('a cookie that was changed, or is of another attempt, opens nothing', async (t) => {
  const agent = new UserAgent();
  const one = await untilCallback(house, agent, '?source=main');
  const name = agent.cookies(house.origin)[0]!.name;
  const other = new UserAgent();
  await untilCallback(house, other, '?source=main');
  for (const value of [
    other.cookies(house.origin)[0]!.value,
    'AAAA',
    `${agent.cookies(house.origin)[0]!.value}AA`,
  ]) {
    const victim = new UserAgent();
    victim.setCookie(house.origin, `${name}=${value}; Path=/`);
    house.audit.length = 0;
    await refused(t, victim, one, 'damaged', 'attempt_unreadable');
    t.same(victim.cookies(house.origin), [], 'and is forgotten');
  }
});

t.test('a stale state: more than ten minutes at the IdP', async (t) => {
  const agent = new UserAgent();
  const url = await untilCallback(house, agent, '?source=main&return_to=/kept');
  house.clock.offsetMs = 600_500;
  await refused(t, agent, url, 'took too long', 'attempt_expired');
});

t.test('a replayed callback: by the same browser, and by one that kept the cookie', async (t) => {
  const agent = new UserAgent();
  const url = await untilCallback(house, agent, '?source=main');
  const [cookie] = agent.cookies(house.origin);
  t.equal((await agent.follow(url)).last.status, 200);
  const again = await agent.request('GET', url, { navigate: true });
  t.equal(again.status, 400);
  t.equal((await whoami(house, agent)).status, 200, 'and the session it made is untouched');
  house.audit.length = 0;
  const keeper = new UserAgent();
  keeper.setCookie(house.origin, `${cookie!.name}=${cookie!.value}; Path=/`);
  await refused(t, keeper, url, 'already been used', 'attempt_replayed');
});

t.test("mix-up: a code of one source at another source's callback", async (t) => {
  const agent = new UserAgent();
  const url = await untilCallback(house, agent, '?source=main');
  await refused(
    t,
    agent,
    url.replace('/callback/main', '/callback/other'),
    'wrong place',
    'attempt_of_another_source',
  );
});

t.test('an error of the IdP with markup in it is quoted, escaped and cut', async (t) => {
  house.op.nextError = {
    error: 'access_denied',
    error_description: `<img src=x onerror=alert(1)>\u202e${'long '.repeat(200)}`,
  };
  const agent = new UserAgent();
  const page = await signIn(house, agent, '?source=main&return_to=/kept');
  t.equal(page.status, 403);
  t.match(page.body, 'access_denied: &lt;img src=x onerror=alert(1)&gt;');
  t.notMatch(page.body, '<img');
  t.notMatch(page.body, '\u202e');
  t.ok(page.body.length < 6000, 'cut');
  t.match(page.body, 'return_to=%2Fkept', 'another try leads where the first one would have');
  t.match(house.audit, [
    { action: 'signin.failed', fields: { reason: 'idp_refused', idp_error: 'access_denied' } },
  ]);
});

t.test('an IdP that says the assurance was not reached: the MFA page, and the MFA audit line', async (t) => {
  house.op.nextError = { error: 'unmet_authentication_requirements', error_description: 'no second factor' };
  const page = await signIn(house, new UserAgent(), '?source=main');
  t.equal(page.status, 403);
  t.match(page.body, '<h1>MFA was not asserted</h1>');
  t.match(page.body, 'unmet_authentication_requirements: no second factor');
  t.notMatch(page.body, 'You signed in', 'no sign-in came of it');
  t.match(house.audit, [
    {
      action: 'tenant.auth_policy.oidc_mfa.rejected',
      fields: {
        reason: 'idp_refused',
        idp_error: 'unmet_authentication_requirements',
        log_row: 'oauth_signin_mfa_rejected',
      },
    },
  ]);
});

t.test(
  'a token that does not verify: a page that says so, and the check in the audit line alone',
  async (t) => {
    house.op.tamperIdToken = () => ({ claims: { aud: 'somebody-else' } });
    t.teardown(() => (house.op.tamperIdToken = undefined));
    const page = await signIn(house, new UserAgent(), '?source=main');
    t.equal(page.status, 403);
    t.match(page.body, 'could not be verified');
    t.match(house.audit, [{ action: 'signin.failed', fields: { reason: 'token_invalid', detail: /./ } }]);
    t.notMatch(page.body, 'somebody-else');
  },
);

t.test('an IdP that is down at sign-in: 503, naming it', async (t) => {
  const down = await openHouse({ sources: { main: { display_name: 'Example IdP' } } });
  t.teardown(() => down.close());
  const agent = new UserAgent();
  await signIn(down, agent);
  const url = await untilCallback(down, new UserAgent());
  await down.op.stop();
  const callback = await agent.request('GET', url, { navigate: true });
  t.equal(callback.status, 400, 'not its attempt');
  const page = await signInAgain(down);
  t.equal(page.status, 503);
  t.match(page.body, 'Example IdP cannot be reached right now');
  t.ok(Number(page.headers['retry-after']) > 0);
  t.equal((await whoami(down, agent)).status, 200, 'who is in stays in');
});

/** A sign-in whose code cannot be redeemed since the IdP has gone. */
async function signInAgain(down: House) {
  await down.op.restart();
  const agent = new UserAgent();
  const url = await untilCallback(down, agent);
  await down.op.stop();
  return agent.request('GET', url, { navigate: true });
}

t.test(
  'the store is down at the callback: 503, cookies kept, and the same callback counts once it is back',
  async (t) => {
    const agent = new UserAgent();
    const url = await untilCallback(house, agent, '?source=main&return_to=/kept');
    const cookies = agent.cookies(house.origin).length;
    storeDown = true;
    t.teardown(() => (storeDown = false));
    const page = await agent.request('GET', url, { navigate: true });
    t.equal(page.status, 503);
    t.ok(Number(page.headers['retry-after']) > 0);
    t.same(page.setCookies, []);
    storeDown = false;
    t.equal(agent.cookies(house.origin).length, cookies);
    t.equal((await agent.follow(url)).last.url, `${house.origin}/kept`);
  },
);

t.test('a return_to to another origin is replaced, all the way through', async (t) => {
  const agent = new UserAgent();
  for (const evil of ['https://evil.example/', '//evil.example', '/%5cevil.example', `${prefix}/signout`]) {
    const { last } = await agent.follow(
      `${house.origin}${prefix}/signin?source=main&return_to=${encodeURIComponent(evil)}`,
    );
    t.equal(last.url, `${house.origin}/`, evil);
  }
});
