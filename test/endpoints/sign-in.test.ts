import t from 'tap';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn, untilCallback, whoami } from './house.ts';

t.test('a sign-in with MFA makes a session, and whoami shows the evidence', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  const last = await signIn(house, agent, '?return_to=/org/repo');
  t.equal(last.url, `${house.origin}/org/repo`);

  const answer = await whoami(house, agent);
  t.equal(answer.status, 200);
  t.equal(answer.headers['cache-control'], 'no-store');
  const body = answer.json();
  t.match(body, {
    active: true,
    authenticator_assurance_level: 'aal2',
    authentication_methods: [
      { method: 'oidc', aal: 'aal2', provider: 'main', upstream_amr: ['pwd', 'otp', 'mfa'] },
    ],
    mfa: { status: 'verified', evidence: { claim: 'amr' }, weak: false },
    identity: {
      sub: 'alice',
      email: 'alice@example.com',
      username: 'alice',
      name: 'Alice Example',
      groups: ['dev'],
    },
  });
  t.match(body.issued_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/);
  t.equal(Date.parse(body.expires_at) - Date.parse(body.issued_at), 86_400_000);
  t.same(house.actions(), ['signin.succeeded']);
  t.match(house.audit[0], {
    user: { id: 'alice', email: 'alice@example.com', name: 'alice' },
    authSource: 'main',
    clientIp: '127.0.0.1',
    fields: { aal: 'aal2', mfa: 'verified', session_id: body.id },
  });
  t.ok(house.counted.includes('signIn main succeeded'));
  t.ok(house.counted.some((line) => line.startsWith('mfaVerdict') && line.includes('"outcome":"verified"')));
  t.same(
    agent.cookies(house.origin).map(({ name, httpOnly, sameSite }) => [name, httpOnly, sameSite]),
    [['sallyport', true, 'lax']],
    'the session cookie and nothing else is left',
  );
});

t.test('a password alone gets the MFA page, the audit line, and no session', async (t) => {
  const house = await openHouse({
    sources: {
      main: { display_name: 'Example <IdP>', mfa_setup_url: 'https://idp.example.com/mfa', tenant: 'acme' },
    },
  });
  t.teardown(() => house.close());
  const agent = new UserAgent();
  house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd', '<script>'] };
  const page = await signIn(house, agent, '?return_to=/org/repo');
  t.equal(page.status, 403);
  t.match(page.headers['content-type'], 'text/html');
  t.match(page.headers['content-security-policy'], /default-src 'none'; style-src 'self'/);

  const order = [
    '<h1>MFA was not asserted</h1>',
    'Example &lt;IdP&gt;',
    'href="https://idp.example.com/mfa"',
    `href="${prefix}/signin?source=main&amp;fresh=1&amp;return_to=%2Forg%2Frepo"`,
    `href="${prefix}/signin?source=main&amp;account=select&amp;return_to=%2Forg%2Frepo"`,
    '<details>',
    'Time',
    'Request ID',
    '<dd>main</dd>',
    '[&quot;pwd&quot;,&quot;&lt;script&gt;&quot;]',
    'not sent',
    'amr_not_mfa',
  ].map((text) => page.body.indexOf(text));
  t.notOk(order.includes(-1), `all of it is there: ${order.join(' ')}`);
  t.same(
    order,
    [...order].sort((a, b) => a - b),
    'in this order',
  );
  t.notMatch(page.body, '<script');

  t.same(house.actions(), ['tenant.auth_policy.oidc_mfa.rejected']);
  t.match(house.audit[0], {
    authSource: 'main',
    tenant: 'acme',
    user: { email: 'alice@example.com' },
    fields: {
      observed: { amr: ['pwd', '<script>'] },
      reason: 'amr_not_mfa',
      log_row: 'oauth_signin_mfa_rejected',
      hint: /second factor/,
      required: {},
    },
  });
  t.ok(page.body.includes(house.audit[0]!.requestId!), 'the page and the audit line share the request id');
  t.ok(house.counted.includes('signIn main rejected'));
  t.equal((await whoami(house, agent)).status, 401);
  t.same(agent.cookies(house.origin), [], 'no cookie at all');
});

t.test('under report_only the same user is let in at AAL1, marked and audited', async (t) => {
  const house = await openHouse({ sources: { main: { mfa: { mode: 'report_only' } } } });
  t.teardown(() => house.close());
  const agent = new UserAgent();
  house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd'] };
  t.equal((await signIn(house, agent)).status, 200);
  t.match((await whoami(house, agent)).json(), {
    authenticator_assurance_level: 'aal1',
    mfa: { status: 'would_reject', evidence: null, weak: false },
    authentication_methods: [{ upstream_amr: ['pwd'] }],
  });
  t.same(house.actions(), ['tenant.auth_policy.oidc_mfa.would_reject', 'signin.succeeded']);
});

t.test('a refused sign-in leaves the valid session of that browser as it is', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  await signIn(house, agent);
  const { id } = (await whoami(house, agent)).json();
  house.op.nextLogin = { sub: 'mallory', amr: ['pwd'], claims: { preferred_username: 'mallory' } };
  t.equal((await signIn(house, agent)).status, 403);
  t.equal((await whoami(house, agent)).json().id, id);
});

t.test('a new sign-in makes a new session and ends the old one', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  await signIn(house, agent);
  const old = agent.cookie(house.origin, 'sallyport')!;
  const before = (await whoami(house, agent)).json();
  await signIn(house, agent);
  t.not((await whoami(house, agent)).json().id, before.id);
  const thief = new UserAgent();
  thief.setCookie(house.origin, `sallyport=${old}; Path=/`);
  t.equal((await whoami(house, thief)).status, 401, 'the old cookie opens nothing');
  t.match(house.audit.at(-2), {
    action: 'session.ended',
    fields: { why: 'replaced', session_id: before.id },
  });
  t.ok(house.counted.includes('sessionEnded replaced'));
});

t.test(
  'what is asked of the IdP: state, nonce, PKCE; fresh, another account and step-up on request',
  async (t) => {
    const house = await openHouse({ sources: { main: { mfa: { preset: 'okta_phr', max_auth_age: '1h' } } } });
    t.teardown(() => house.close());
    const asked = async (query: string) => {
      await untilCallback(house, new UserAgent(), query);
      return house.op.requests.filter(({ endpoint }) => endpoint === 'authorization').at(-1)!.params;
    };
    const plain = await asked('');
    t.match(plain, {
      response_type: 'code',
      redirect_uri: `${house.origin}${prefix}/callback/main`,
      code_challenge_method: 'S256',
      code_challenge: /^[\w-]{43}$/,
      state: /^[\w-]{43}$/,
      nonce: /^[\w-]{43}$/,
      acr_values: 'phr',
      max_age: '3600',
    });
    t.equal(plain['prompt'], undefined);
    t.match(await asked('?fresh=1'), { prompt: 'login', max_age: '0' });
    t.match(await asked('?step_up=1&source=main'), { prompt: 'login', max_age: '0', acr_values: 'phr' });
    t.match(await asked('?account=select'), { prompt: 'select_account' });
    t.match(await asked('?login_hint=alice@example.com'), { login_hint: 'alice@example.com' });
    const again = await asked('');
    t.not(again['state'], plain['state']);
    t.not(again['nonce'], plain['nonce']);
  },
);

t.test('attempts in parallel tabs each succeed; a sixth pushes the oldest out', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  const tabs: string[] = [];
  for (let tab = 0; tab < 6; tab += 1) {
    tabs.push(await untilCallback(house, agent, `?return_to=/tab/${tab}`));
    house.clock.offsetMs += 1000;
  }
  t.equal(agent.cookies(house.origin).filter(({ name }) => name.startsWith('sallyport-a-')).length, 5);
  for (const tab of [3, 1, 5, 2, 4]) {
    const { last } = await agent.follow(tabs[tab]!);
    t.equal(last.url, `${house.origin}/tab/${tab}`);
  }
  const oldest = await agent.request('GET', tabs[0]!, { navigate: true });
  t.equal(oldest.status, 400);
  t.match(oldest.body, 'was not started in this browser');
});

t.test('attempts that expired do not count against new ones, and their cookies go', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  await untilCallback(house, agent);
  agent.setCookie(house.origin, `sallyport-a-${'A'.repeat(16)}=garbage; Path=/`);
  house.clock.offsetMs = 601_000;
  await untilCallback(house, agent);
  t.equal(agent.cookies(house.origin).length, 1);
});

t.test('when the policy has changed since it was asked for, the sign-in starts over, once', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  const callback = await untilCallback(house, agent, '?return_to=/kept');
  const tokens = house.op.count('token');
  await house.reload({ main: { mfa: { acr_values: 'gold', aal2_acr_values: ['gold'], accept: 'any' } } });

  const restarted = await agent.request('GET', callback, { navigate: true });
  t.equal(restarted.status, 302);
  t.ok(restarted.location!.startsWith(house.op.issuer), 'back to the IdP');
  t.equal(house.op.count('token'), tokens, 'the code was not redeemed');

  await house.reload({ main: {} });
  const asked = house.op.count('authorization');
  const { last } = await agent.follow(restarted.location!);
  t.equal(
    last.url,
    `${house.origin}/kept`,
    'a second change is judged by the policy in force, not asked again',
  );
  t.equal(house.op.count('authorization'), asked + 1);
});

t.test('a sign-in that starts over asks again for what was asked for: a fresh authentication', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  for (const [query, prompt] of [
    ['?fresh=1', 'login'],
    ['', undefined],
  ] as const) {
    await house.reload({ main: {} });
    const agent = new UserAgent();
    const callback = await untilCallback(house, agent, query);
    await house.reload({ main: { mfa: { acr_values: 'gold', aal2_acr_values: ['gold'], accept: 'any' } } });
    const restarted = await agent.request('GET', callback, { navigate: true });
    t.ok(restarted.location!.startsWith(house.op.issuer), query);
    const asked = house.op.requests.findLast(({ endpoint }) => endpoint === 'par');
    t.equal(asked?.params['prompt'], prompt, query);
  }
});

t.test('a step-up that comes back as somebody else ends the old session, and decides anew', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  await signIn(house, agent);
  house.op.nextLogin = { sub: 'mallory', amr: ['pwd'], claims: { preferred_username: 'mallory' } };
  t.equal((await signIn(house, agent, '?step_up=1&source=main')).status, 403);
  t.equal((await whoami(house, agent)).status, 401);
  t.same(agent.cookies(house.origin), []);
  t.match(
    house.audit.find(({ action }) => action === 'session.ended'),
    { fields: { why: 'subject_changed' }, user: { id: 'alice' } },
  );
  t.ok(house.counted.includes('stepUp main insufficient'));
});

t.test('a step-up that is refused leaves the session of the same user', async (t) => {
  const house = await openHouse();
  t.teardown(() => house.close());
  const agent = new UserAgent();
  await signIn(house, agent);
  house.op.nextLogin = { ...house.op.nextLogin, amr: ['pwd'] };
  t.equal((await signIn(house, agent, '?step_up=1&source=main')).status, 403);
  t.equal((await whoami(house, agent)).status, 200);
});

t.test('identity refusals have their own page and are audited as failed sign-ins', async (t) => {
  const house = await openHouse({ sources: { main: { email_domains: ['partner.example'] } } });
  t.teardown(() => house.close());
  const page = await signIn(house, new UserAgent());
  t.equal(page.status, 403);
  t.match(page.body, 'may not sign in here');
  t.match(house.audit[0], {
    action: 'signin.failed',
    fields: { reason: 'email_domain_not_allowed' },
    user: { id: 'alice' },
  });
  t.ok(house.counted.includes('signIn main failed'));
});

t.test(
  'a route that needs more is asked for once, fresh; then 403 with the page, never a loop',
  async (t) => {
    const house = await openHouse({
      sources: { main: { mfa: { mode: 'report_only' } } },
      config: { routes: [{ name: 'admin', path: '/-/admin/**', require_aal: 'aal2' }] },
    });
    t.teardown(() => house.close());
    const agent = new UserAgent();
    const strong = house.op.nextLogin;
    house.op.nextLogin = { ...strong, amr: ['pwd'] };
    await signIn(house, agent);
    const admin = `${house.origin}/-/admin/users`;
    const { last, chain } = await agent.follow(admin);
    t.equal(last.status, 403);
    t.match(last.body, '<h1>MFA was not asserted</h1>');
    t.match(last.body, 'aal2_required');
    t.equal(chain.filter(({ url }) => url.includes(`${prefix}/signin?step_up=1`)).length, 1);
    t.ok(house.counted.includes('stepUp main insufficient'));
    t.equal(
      (await agent.request('GET', admin, { navigate: true })).status,
      403,
      'and 403 at once from now on',
    );

    house.op.nextLogin = strong;
    const again = /href="([^"]*fresh=1[^"]*)"/.exec(last.body)?.[1]?.replaceAll('&amp;', '&') ?? '';
    const { last: there } = await agent.follow(house.origin + again);
    t.equal(there.url, admin, 'trying again with a second factor leads there');
    t.equal(there.status, 200);
  },
);

t.test('every mode and verdict is counted and audited as what it was', async (t) => {
  for (const [mode, amr, status, outcome, actions] of [
    ['enforce', ['mfa'], 200, 'verified', ['signin.succeeded']],
    ['enforce', ['pwd'], 403, 'rejected', ['tenant.auth_policy.oidc_mfa.rejected']],
    ['carry_over', ['pwd'], 200, 'none', ['signin.succeeded']],
    ['trust_idp', ['pwd'], 200, 'attested', ['signin.succeeded']],
  ] as const) {
    const house = await openHouse({ sources: { main: { mfa: { mode } } } });
    t.teardown(() => house.close());
    house.op.nextLogin = { ...house.op.nextLogin, amr: [...amr] };
    t.equal((await signIn(house, new UserAgent())).status, status);
    t.same(house.actions(), actions);
    t.ok(
      house.counted.some((line) => line.startsWith('mfaVerdict') && line.includes(`"outcome":"${outcome}"`)),
    );
  }
});
