import t, { type Test } from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createCanaryTickets } from '../../src/signin/canary-ticket.ts';
import type { Store } from '../../src/session/types.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn, whoami, type House, type HouseOptions } from './house.ts';

const devs = [{ groups: ['dev'] }];

async function open(t: Test, options: HouseOptions = {}): Promise<House> {
  const house = await openHouse(options);
  t.teardown(() => house.close());
  return house;
}

const canary = async (house: House, agent: UserAgent, query = '') =>
  (await agent.follow(`${house.origin}${prefix}/canary/main${query}`)).last;

t.test('an operator sees what the IdP sent, and no session is started, changed or ended', async (t) => {
  const house = await open(t, { config: { operators: devs } });
  const agent = new UserAgent();
  await signIn(house, agent);
  const before = (await whoami(house, agent)).json() as { id: string };
  house.audit.length = 0;
  house.counted.length = 0;
  house.op.nextLogin = {
    sub: 'bob',
    amr: ['pwd', '<b>'],
    acr: 'silver',
    claims: { email: 'bob@example.com', preferred_username: 'bob', secret_thing: 'hush' },
  };
  const page = await canary(house, agent);
  t.equal(page.status, 200);
  t.match(page.body, /AAL1: multi-factor authentication was not proven/);
  t.match(page.body, /\[&quot;pwd&quot;,&quot;&lt;b&gt;&quot;\]/, 'as received, and escaped');
  t.match(page.body, /&quot;silver&quot;/);
  t.match(page.body, /auth_time/);
  t.match(page.body, /preferred_username/, 'other claims by name');
  t.notMatch(page.body, /bob@example\.com|hush/, 'and not by value');
  t.notMatch(page.body, /eyJ/, 'no token');
  t.match(page.body, /refused: no session \(mode enforce\)/);
  t.match(page.body, /Nothing in this ID token proves MFA/);
  t.match(page.headers['content-security-policy'], /default-src 'none'/);
  t.equal(page.headers['cache-control'], 'no-store');
  const asked = house.op.requests.filter(({ endpoint }) => endpoint === 'authorization').at(-1)!;
  t.match(asked.params, { prompt: 'login', max_age: '0' });
  t.equal(((await whoami(house, agent)).json() as { id: string }).id, before.id, 'the session stands');
  t.same(
    agent.cookies(house.origin).map(({ name }) => name),
    ['sallyport'],
    'nothing else is left behind',
  );
  t.same(house.actions(), ['canary.completed']);
  t.match(house.audit[0], {
    user: { id: 'bob' },
    fields: { via: 'operator', started_by: 'alice', aal: 'aal1', outcome: 'rejected', reason: 'amr_not_mfa' },
  });
  t.notOk(
    house.counted.some((line) => /^(signIn|mfaVerdict|sessionCreated|sessionEnded)/.test(line)),
    'a canary is no sign-in in the metrics',
  );
});

t.test('whoever is no operator is told, or asked to sign in, or to prove MFA', async (t) => {
  const house = await open(t, {
    sources: { main: { mfa: { mode: 'report_only' } } },
    config: { operators: [{ emails: ['alice@example.com'] }] },
  });
  const nobody = new UserAgent();
  const sent = await nobody.request('GET', `${house.origin}${prefix}/canary/main`, { navigate: true });
  t.equal(sent.status, 302);
  t.equal(new URL(sent.location!).searchParams.get('return_to'), `${prefix}/canary/main`);
  t.equal((await nobody.request('GET', `${house.origin}${prefix}/canary/main`)).status, 401);
  t.match(
    (await canary(house, nobody)).body,
    /AAL2: the identity provider proved/,
    'after the sign-in it goes on',
  );

  const stranger = new UserAgent();
  house.op.nextLogin = {
    sub: 'eve',
    amr: ['mfa'],
    claims: { email: 'eve@example.com', email_verified: true },
  };
  await signIn(house, stranger);
  const refused = await stranger.request('GET', `${house.origin}${prefix}/canary/main`);
  t.equal(refused.status, 403);
  t.match(refused.json(), { error: 'operators_only' });

  const unverified = new UserAgent();
  house.op.nextLogin = {
    sub: 'al',
    amr: ['mfa'],
    claims: { email: 'alice@example.com', email_verified: false, preferred_username: 'al' },
  };
  await signIn(house, unverified);
  t.equal(
    (await unverified.request('GET', `${house.origin}${prefix}/canary/main`)).status,
    403,
    'anyone can claim an address',
  );

  const weak = new UserAgent();
  house.op.nextLogin = {
    sub: 'alice',
    amr: ['pwd'],
    claims: { email: 'alice@example.com', email_verified: true },
  };
  await signIn(house, weak);
  const stepUp = await weak.request('GET', `${house.origin}${prefix}/canary/main`, { navigate: true });
  t.match(stepUp.location, /step_up=1/, 'AAL1 is sent for more once');
  const { last } = await weak.follow(stepUp.location!);
  t.equal(last.status, 403, 'and then told');
  t.match(last.body, /MFA was not asserted/);
});

t.test('attested is not enough, and none configured is nobody', async (t) => {
  const house = await open(t, {
    sources: { main: { mfa: { mode: 'trust_idp' } } },
    config: { operators: devs },
  });
  const agent = new UserAgent();
  house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd'] };
  await signIn(house, agent, '?step_up=1');
  const answer = await agent.request('GET', `${house.origin}${prefix}/canary/main`);
  t.equal(answer.status, 403);
  t.match(answer.json(), { error: 'attested_not_accepted' });

  const closed = await open(t);
  const alice = new UserAgent();
  await signIn(closed, alice);
  t.match((await alice.request('GET', `${closed.origin}${prefix}/canary/main`)).json(), {
    error: 'operators_only',
  });
  t.match((await alice.request('GET', `${closed.origin}${prefix}/status`)).json(), {
    error: 'operators_only',
  });
});

t.test('groups of another source make nobody an operator', async (t) => {
  const house = await open(t, {
    sources: { main: {}, other: {} },
    config: { operators: [{ source: 'main', groups: ['dev'] }] },
  });
  const agent = new UserAgent();
  await signIn(house, agent, '?source=other');
  t.equal((await agent.request('GET', `${house.origin}${prefix}/status`)).status, 403);
  await signIn(house, agent, '?source=main');
  t.equal((await agent.request('GET', `${house.origin}${prefix}/status`)).status, 200);
});

t.test('canary: anyone and off', async (t) => {
  const everyone = await open(t, { config: { canary: 'anyone' } });
  t.match((await canary(everyone, new UserAgent())).body, /AAL2/);
  t.match(everyone.audit[0], { action: 'canary.completed', fields: { via: 'anyone' } });
  const off = await open(t, { config: { canary: 'off', operators: devs } });
  const alice = new UserAgent();
  await signIn(off, alice);
  t.equal((await canary(off, alice)).status, 404);
  t.equal((await canary(off, alice, '?ticket=' + 'A'.repeat(43))).status, 404);
  t.notMatch(
    (await alice.request('GET', `${off.origin}${prefix}/status`, { navigate: true })).body,
    /Run the canary/,
  );
});

t.test('a one-time link needs no session, delivers once, and not to another source', async (t) => {
  let inner: Store | undefined;
  const house = await open(t, {
    sources: { main: {}, other: {} },
    wrapStore: (store) => (inner = store),
  });
  const tickets = createCanaryTickets({
    store: inner!,
    sealing: createSealing([Buffer.alloc(32, 7)], systemRandomness),
    randomness: systemRandomness,
  });
  const ticket = await tickets.offer('main', 60_000);
  t.equal((await tickets.find(ticket))?.report, undefined);
  const wrong = await new UserAgent().follow(`${house.origin}${prefix}/canary/other?ticket=${ticket}`);
  t.equal(wrong.last.status, 403);
  house.op.fault = (endpoint) => (endpoint === 'token' ? { kind: 'reset' } : undefined);
  t.match((await canary(house, new UserAgent(), `?ticket=${ticket}`)).body, /The link is still good/);
  house.op.fault = undefined;
  house.audit.length = 0;
  const [one, two] = [new UserAgent(), new UserAgent()];
  const half = async (agent: UserAgent) =>
    (
      await agent.follow(`${house.origin}${prefix}/canary/main?ticket=${ticket}`, {
        until: (url) => url.startsWith(`${house.origin}${prefix}/callback/`),
      })
    ).last.location!;
  const [first, second] = [await half(one), await half(two)];
  const page = await one.request('GET', first, { navigate: true });
  t.equal(page.status, 200);
  t.match(page.body, /sees this result at their terminal/);
  t.match((await tickets.find(ticket))?.report, {
    source: 'main',
    result: 'decided',
    decision: { aal: 'aal2' },
  });
  const late = await two.request('GET', second, { navigate: true });
  t.match(late.body, /had been used before/);
  t.equal(
    (await canary(house, new UserAgent(), `?ticket=${ticket}`)).status,
    403,
    'and is then no link any more',
  );
  for (const bad of ['', 'x', 'A'.repeat(43)])
    t.equal((await canary(house, new UserAgent(), `?ticket=${bad}`)).status, 403, `ticket ${bad}`);
  t.same(house.actions(), ['canary.completed', 'canary.completed']);
});

t.test('what the IdP refuses, and a token that does not hold, are results too', async (t) => {
  const house = await open(t, { config: { canary: 'anyone' } });
  house.op.nextError = { error: 'access_denied', error_description: 'no <i>assignment</i>' };
  const refused = await canary(house, new UserAgent());
  t.equal(refused.status, 200);
  t.match(refused.body, /The identity provider refused the sign-in/);
  t.match(refused.body, /access_denied: no &lt;i&gt;assignment/);
  house.op.tamperIdToken = ({ claims }) => ({ claims: { ...claims, nonce: 'another' } });
  const invalid = await canary(house, new UserAgent());
  t.match(invalid.body, /could not be verified/);
  t.match(invalid.body, /nonce/);
  t.equal(house.faults.length, 1, 'logged');
  t.same(house.actions(), ['canary.completed', 'canary.completed']);
  t.match(house.audit[1], { fields: { result: 'token_invalid' } });
});

t.test('an account that could not come in is told so beside MFA', async (t) => {
  const house = await open(t, {
    sources: { main: { email_domains: ['elsewhere.example'] } },
    config: { canary: 'anyone' },
  });
  const page = await canary(house, new UserAgent());
  t.match(page.body, /AAL2/);
  t.match(page.body, /email_domain_not_allowed/);
});

t.test('works where enforce has refused the sign-in, and in every mode', async (t) => {
  const expected = {
    enforce: /refused: no session/,
    report_only: /marked would_reject/,
    carry_over: /nothing more is required/,
    trust_idp: /attested/,
  };
  for (const mode of ['enforce', 'report_only', 'carry_over', 'trust_idp'] as const) {
    const house = await open(t, { sources: { main: { mfa: { mode } } }, config: { canary: 'anyone' } });
    house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd'] };
    const page = await canary(house, new UserAgent());
    t.equal(page.status, 200, mode);
    t.match(page.body, expected[mode], mode);
  }
});

t.test('is rate limited, answers no HEAD, and knows its sources', async (t) => {
  const house = await open(t, { config: { canary: 'anyone' }, signInRate: '2/1m' });
  const agent = new UserAgent();
  const ask = (path: string, method = 'GET') =>
    agent.request(method, `${house.origin}${prefix}/canary/${path}`);
  t.equal((await ask('main', 'HEAD')).status, 405);
  t.equal((await ask('nobody')).status, 404);
  t.equal((await ask('main')).status, 302);
  t.equal((await ask('main')).status, 302);
  t.equal((await ask('main')).status, 429);
  t.ok(house.counted.includes('rateLimited canary'));
});
