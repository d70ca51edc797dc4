import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { makeKey, signJws, startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport, testClient } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;

const audience = 'https://app.example.com/api';

class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

async function furnish(trusted: readonly string[] = [], mfa: Json = {}) {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const clock = new MovableClock();
  const op = await startOp({ clients: [clientOf(origin, 'idp', 'lenient')] });
  const other = await startOp({ clients: [clientOf(origin, 'lenient')] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [
      {
        id: 'idp',
        issuer: op.issuer,
        mfa: { aal2_acr_values: ['gold'], accept: 'any', acr_values: ['gold'], ...mfa },
      },
      { id: 'lenient', issuer: other.issuer, mfa: { mode: 'report_only' } },
    ],
    config: {
      routes: [
        { name: 'api', path: '/api/**', access: 'bearer' },
        { name: 'strong', path: '/strong/**', access: 'bearer', require_aal: 'aal2', max_auth_age: '15m' },
        { name: 'own', path: '/own/**', access: 'bearer', source: 'idp', groups: ['dev'] },
      ],
      bearer: { audiences: [audience] },
      server: { listen: new URL(origin).host, trusted_proxies: trusted },
    },
    app: { clock },
  });
  const now = (): number => Math.floor(clock.nowMs() / 1000);
  const claims = (more: Json = {}): Json => ({
    iss: op.issuer,
    sub: 'alice',
    aud: audience,
    client_id: 'a-tool',
    iat: now(),
    exp: now() + 3600,
    auth_time: now(),
    amr: ['pwd', 'mfa'],
    email: 'alice@example.com',
    email_verified: true,
    preferred_username: 'alice',
    groups: ['dev'],
    ...more,
  });
  const mint = (more: Json = {}, header: Json = {}, key = op.signingKey()): string =>
    signJws({ alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header }, claims(more), key.privateKey, key.alg);
  const call = (
    path: string,
    token: string,
    headers: Readonly<Record<string, string>> = {},
    method = 'GET',
  ) =>
    new UserAgent().request(method, `${origin}${path}`, {
      headers: { authorization: `Bearer ${token}`, ...headers },
    });
  return {
    origin,
    upstream,
    clock,
    op,
    other,
    sallyport,
    mint,
    claims,
    call,
    async close() {
      await sallyport.close();
      await op.stop();
      await other.stop();
      await upstream.close();
    },
  };
}

t.test('an access token opens bearer routes, under the name that a sign-in would have', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { upstream, mint, call, op } = house;
  const token = mint();
  for (const path of ['/api/x', '/strong/x', '/own/x']) t.equal((await call(path, token)).status, 200, path);
  const answer = await call('/api/x', token, { cookie: 'app=1', 'sec-fetch-site': 'cross-site' }, 'POST');
  t.equal(answer.status, 200, 'a token is no cookie: nobody sends it in somebody else’s name');
  const { headers } = upstream.seen.at(-1)!;
  t.match(headers, { 'x-forwarded-user': 'alice', 'x-forwarded-email': 'alice@example.com' });
  t.notOk(headers['authorization'], 'not passed on');
  t.notOk(headers['cookie']);
  t.equal(op.count('jwks'), 1, 'verified once, remembered');
  t.equal((await call('/elsewhere', token)).status, 401, 'a session route takes no token');
  t.equal((await call('/api/x', token, { 'x-forwarded-user': 'root' })).status, 200);
  t.equal(upstream.seen.at(-1)!.headers['x-forwarded-user'], 'alice');
});

t.test('what is no access token for this app is refused, and its sender is told why', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, upstream, other } = house;
  const soon = Math.floor(Date.now() / 1000);
  const stranger = makeKey('RS256', 'stranger');
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['an opaque token', 'abcdefgh', /RFC 9068|no source/],
    ['an ID token', mint({ aud: testClient.client_id, nonce: 'n' }, { typ: 'JWT' }), /no access token/],
    [
      'an ID token without a type',
      mint({ aud: testClient.client_id, nonce: 'n' }, { typ: undefined }),
      /no access token/,
    ],
    ['a logout token', mint({ events: {} }, { typ: 'logout+jwt' }), /no access token/],
    ['an access token with a nonce', mint({ nonce: 'n' }), /no access token/],
    ['a client id as audience', mint({ aud: [audience, testClient.client_id] }), /client/],
    ['another audience', mint({ aud: 'https://other.example' }), /bearer\.audiences/],
    ['no audience', mint({ aud: undefined }), /aud_malformed/],
    ['expired', mint({ exp: soon - 61 }), /expired/],
    ['no expiry', mint({ exp: undefined }), /exp_invalid/],
    ['not yet', mint({ nbf: soon + 120 }), /not_yet_valid/],
    ['no iat', mint({ iat: undefined }), /iat_invalid/],
    ['from tomorrow', mint({ iat: soon + 86_400 }), /iat_in_future/],
    ['no subject', mint({ sub: undefined }), /sub_invalid/],
    ['an unknown issuer', mint({ iss: 'https://evil.example' }), /no source/],
    ['the issuer of one source, the key of another', mint({ iss: other.issuer }), /no key|signature/],
    ['unsigned', `${mint().split('.').slice(0, 2).join('.')}.`, /signature/],
    ['alg none', mint({}, { alg: 'none' }), /alg_not_allowed/],
    ['alg HS256', mint({}, { alg: 'HS256' }), /alg_not_allowed/],
    ['a made-up key', mint({}, {}, stranger), /no key/],
    ['a made-up key under a known kid', mint({}, { kid: house.op.signingKey().kid }, stranger), /signature/],
  ];
  for (const [title, token, hint] of table) {
    const answer = await call('/api/x', token);
    t.equal(answer.status, 401, title);
    t.match(
      answer.headers['www-authenticate'],
      /^Bearer realm="[^"]+", error="invalid_token", error_description="/,
      title,
    );
    t.match(answer.json().hint, hint, title);
    t.match(answer.json().message, /another access token/, title);
    t.notMatch(answer.body, token.slice(-20), title);
  }
  const twice = await new UserAgent().request('GET', `${house.origin}/api/x`, {
    headers: { authorization: [`Bearer ${mint()}`, `Bearer ${mint()}`] },
  });
  t.equal(twice.status, 401);
  t.equal((await call('/api/x', '', {})).status, 401);
  const bare = await new UserAgent().request('GET', `${house.origin}/api/x`);
  t.equal(bare.status, 401);
  t.match(
    bare.headers['www-authenticate'],
    /^Bearer realm="[^"]+"$/,
    'RFC 6750: no error where nothing was tried',
  );
  t.equal(upstream.seen.length, 0);
});

t.test(
  'of two sources with one issuer, the client of the token tells which; or the sender is told why not',
  async (t) => {
    const origin = await loopbackOrigin();
    const upstream = await startEchoUpstream();
    const op = await startOp({ clients: [clientOf(origin, 'staff')] });
    const sallyport = await startSallyport({
      origin,
      upstream: upstream.url,
      sources: [
        { id: 'staff', issuer: op.issuer },
        { id: 'guests', issuer: op.issuer, client_id: 'guests', mfa: { mode: 'report_only' } },
      ],
      config: {
        routes: [{ name: 'api', path: '/api/**', access: 'bearer' }],
        bearer: { audiences: [audience] },
      },
    });
    t.teardown(async () => {
      await sallyport.close();
      await op.stop();
      await upstream.close();
    });
    const now = Math.floor(Date.now() / 1000);
    const call = (client: Json) => {
      const key = op.signingKey();
      const base = { iss: op.issuer, sub: 'alice', aud: audience, iat: now, exp: now + 60, amr: ['pwd'] };
      const claims = { ...base, preferred_username: 'alice', ...client };
      const token = signJws({ alg: key.alg, typ: 'at+jwt', kid: key.kid }, claims, key.privateKey, key.alg);
      return new UserAgent().request('GET', `${origin}/api/x`, {
        headers: { authorization: `Bearer ${token}` },
      });
    };
    t.equal((await call({ client_id: 'guests' })).status, 200);
    t.match((await call({ azp: testClient.client_id })).json(), {
      error: 'insufficient_user_authentication',
    });
    for (const client of [{ client_id: 'a-tool' }, {}]) {
      const answer = await call(client);
      t.equal(answer.status, 401);
      t.match(
        answer.json().hint,
        /several sources have the issuer of the token, .* not the client_id of exactly one/,
      );
    }
  },
);

t.test('a person still signs in on a bearer route', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const browser = new UserAgent();
  const { last } = await browser.follow(`${house.origin}/api/x`, { until: (url) => url.includes('/auth') });
  t.match(last.url, /_sallyport\/signin/);
});

t.test(
  'the rules of the source hold for its tokens; a client reads the challenge and succeeds',
  async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const { mint, call, claims, other, clock } = house;
    const soon = Math.floor(clock.nowMs() / 1000);

    /** A client of RFC 9470: asks, reads what would do, gets such a token, asks again. */
    async function insist(path: string, first: Json) {
      const refused = await call(path, mint(first), { accept: 'text/html' });
      const challenge = String(refused.headers['www-authenticate']);
      const acr = /acr_values="([^"]*)"/.exec(challenge)?.[1];
      const maxAge = /max_age=(\d+)/.exec(challenge)?.[1];
      const better = mint({
        ...first,
        ...(acr === undefined ? {} : { acr: acr.split(' ')[0] }),
        ...(maxAge === undefined ? {} : { auth_time: soon }),
      });
      return { refused, challenge, answer: await call(path, better) };
    }

    const weak = await insist('/api/x', { amr: ['pwd'] });
    t.equal(weak.refused.status, 401);
    t.match(weak.challenge, /error="insufficient_user_authentication", acr_values="gold"/);
    t.equal(weak.answer.status, 200);
    const old = await insist('/strong/x', { auth_time: soon - 1000 });
    t.equal(old.refused.status, 401, 'never sent to sign in, whatever it accepts');
    t.match(old.challenge, /max_age=900/);
    t.equal(old.answer.status, 200);

    const lenient = (more: Json) => {
      const key = other.signingKey();
      const base = claims({
        iss: other.issuer,
        sub: 'bob',
        preferred_username: 'bob',
        email: 'bob@example.com',
        ...more,
      });
      return signJws(
        { alg: key.alg, typ: 'application/AT+JWT', kid: key.kid },
        base,
        key.privateKey,
        key.alg,
      );
    };
    t.equal((await call('/api/x', lenient({ amr: ['pwd'] }))).status, 200, 'report_only');
    t.equal((await call('/strong/x', lenient({ amr: ['pwd'] }))).status, 401);
    t.equal((await call('/own/x', lenient({}))).status, 403, "another source's group of the same name");
    t.equal((await call('/own/x', mint({ groups: ['sales'] }))).status, 403);
  },
);

t.test("the challenge names the source's own max_auth_age too: whoever meets it is let in", async (t) => {
  for (const [age, path, named] of [
    ['10m', '/api/x', 600],
    ['10m', '/strong/x', 600],
    ['30m', '/strong/x', 900],
  ] as const) {
    const house = await furnish([], { max_auth_age: age });
    try {
      const now = Math.floor(house.clock.nowMs() / 1000);
      const refused = await house.call(path, house.mint({ auth_time: now - 2000 }));
      t.equal(refused.status, 401);
      t.match(refused.headers['www-authenticate'], new RegExp(`acr_values="gold", max_age=${named}$`), path);
      t.match(refused.json(), { max_age: named });
      const better = house.mint({ acr: 'gold', auth_time: now - named });
      t.equal((await house.call(path, better)).status, 200, path);
    } finally {
      await house.close();
    }
  }
});

t.test('a user name belongs to one subject, for tokens too', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, sallyport } = house;
  t.equal((await call('/api/x', mint())).status, 200);
  const thief = await call('/api/x', mint({ sub: 'mallory' }));
  t.equal(thief.status, 403);
  t.equal(thief.json().error, 'username_conflict');
  t.match(sallyport.audit.lines().at(-1), {
    action: 'identity.username_conflict',
    reason: 'username_conflict',
  });
  const nameless = mint({ sub: 'x', preferred_username: undefined, email: undefined });
  t.equal((await call('/api/x', nameless)).status, 403);
});

t.test('keys: a rotated one is taken at once, and made-up ones cost the IdP little', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, op } = house;
  t.equal((await call('/api/x', mint())).status, 200);
  op.rotateKeys();
  t.equal((await call('/api/x', mint())).status, 200);
  const before = op.count('jwks');
  await Promise.all(Array.from({ length: 60 }, (_, n) => call('/api/x', mint({}, { kid: `made-up-${n}` }))));
  t.ok(op.count('jwks') - before <= 2, `${op.count('jwks') - before} fetches`);
  op.rotateKeys();
  const browser = new UserAgent();
  const { last } = await browser.follow(`${house.origin}/_sallyport/signin?source=idp&return_to=/api/x`);
  t.equal(last.status, 200, 'sign-ins keep their own share of fetches');
});

t.test('a token that was taken is taken no longer than it lives', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, clock } = house;
  const token = mint({ exp: Math.floor(clock.nowMs() / 1000) + 120 });
  t.equal((await call('/api/x', token)).status, 200);
  clock.offsetMs = 190_000;
  t.equal((await call('/api/x', token)).status, 401);
});

t.test('a clock that is set back has no token remembered for longer', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, clock } = house;
  // Too early for it as well, so that it shows whether it is looked at anew.
  const token = mint();
  t.equal((await call('/api/x', token)).status, 200);
  clock.offsetMs = -600_000;
  t.equal((await call('/api/x', token)).status, 401);
});

t.test('the IdP is down: 503, not 401, and what is remembered goes on', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, other } = house;
  const token = mint();
  t.equal((await call('/api/x', token)).status, 200);
  await other.stop();
  const unknown = await call('/api/x', mint({ iss: other.issuer }));
  t.equal(unknown.status, 503);
  t.ok(unknown.headers['retry-after']);
  t.equal((await call('/api/x', token)).status, 200);
  await other.restart();
});

/** The samples of a metric whose line holds `part`, added up. */
async function counted(operations: string, metric: string, part: string): Promise<number> {
  const text = await (await fetch(`http://${operations}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${metric}{`) && line.includes(part));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

t.test('each token is one verdict, however often it is used', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, clock, sallyport } = house;
  const verdicts = (outcome: string) =>
    counted(
      sallyport.operations,
      'sallyport_mfa_verdicts_total',
      `auth_source="idp",aal="aal${outcome === 'verified' ? 2 : 1}",outcome="${outcome}"`,
    );
  const strong = mint();
  await Promise.all(Array.from({ length: 20 }, () => call('/api/x', strong)));
  clock.offsetMs += 400_000;
  t.equal((await call('/api/x', strong)).status, 200, 'looked at once more');
  t.equal(await verdicts('verified'), 1);
  const weak = mint({ amr: ['pwd'], jti: 'weak' });
  for (let n = 0; n < 5; n += 1) t.equal((await call('/api/x', weak)).status, 401);
  t.equal(await verdicts('rejected'), 1);
  await call('/api/x', mint({ jti: 'another' }));
  t.equal(await verdicts('verified'), 2);
});

t.test('a refused token is told at info, once, by its fault and never by itself', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, sallyport } = house;
  const before = sallyport.audit.lines().length;
  const told = () => sallyport.log.lines().filter(({ message }) => message === 'an access token was refused');
  const tokens = [
    [mint({ exp: 1 }), 'expired'],
    [mint({ aud: 'x' }), 'aud_mismatch'],
    ['opaque-0123456789abcdef', 'token_malformed'],
    [mint({ amr: ['pwd'] }), 'amr_not_mfa'],
    [mint({ sub: 'nobody', preferred_username: undefined, email: undefined }), 'username_invalid'],
  ] as const;
  for (const [token, reason] of tokens) {
    const lines = told().length;
    for (let n = 0; n < 3; n += 1) await call('/api/x', token);
    t.match(told().slice(lines), [{ reason, auth_source: /idp|undefined/, 'log.level': 'info' }], reason);
    t.equal(told().length, lines + 1, reason);
  }
  const all = sallyport.log.text + sallyport.audit.text;
  for (const [token] of tokens) for (const part of token.split('.')) t.notMatch(all, part.slice(0, 40));
  t.equal(sallyport.audit.lines().length, before, 'the trail has no action for it');
});

t.test('made-up tokens are held to a bound for each address, and good ones go on', async (t) => {
  const house = await furnish(['127.0.0.1/32']);
  t.teardown(() => house.close());
  const { mint, call, op, sallyport, clock } = house;
  const good = mint();
  t.equal((await call('/api/x', good)).status, 200);
  const stranger = makeKey('RS256', op.signingKey().kid);
  const madeUp = (n: number) => mint({ jti: `made-up-${n}` }, { kid: op.signingKey().kid }, stranger);
  const same = madeUp(-1);
  const jwks = op.count('jwks');
  for (let n = 0; n < 300; n += 1)
    if ((await call('/api/x', same)).status !== 401) t.fail('the same one again costs nothing');
  const answers: number[] = [];
  for (let n = 0; n < 140; n += 1) answers.push((await call('/api/x', madeUp(n))).status);
  t.same([...new Set(answers)], [401, 429]);
  t.ok(answers.indexOf(429) >= 100 && answers.indexOf(429) <= 125, `${answers.indexOf(429)}`);
  const held = await call('/api/x', mint({ jti: 'new' }));
  t.equal(held.status, 429);
  t.ok(Number(held.headers['retry-after']) > 0);
  t.equal(held.json().error, 'rate_limited');
  t.equal((await call('/api/x', good)).status, 200, 'what is known is not held up');
  t.equal(
    (await call('/api/x', mint({ jti: 'new' }), { 'x-forwarded-for': '203.0.113.9' })).status,
    200,
    'nor is anybody else',
  );
  t.ok((await counted(sallyport.operations, 'sallyport_rate_limited_total', 'endpoint="bearer"')) >= 15);
  t.ok(op.count('jwks') - jwks <= 3, 'the IdP is left in peace');
  const lines = sallyport.log.lines().filter(({ message }) => message === 'an access token was refused');
  t.ok(lines.length <= 125, `${lines.length} lines`);
  clock.offsetMs += 61_000;
  t.equal((await call('/api/x', mint({ jti: 'new' }))).status, 200, 'for a minute');
});

t.test(
  'a token that expires in use is a bad one once, and takes nothing from others behind its address',
  async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const { mint, call, sallyport, clock } = house;
    const token = mint({ exp: Math.floor(clock.nowMs() / 1000) + 120 });
    t.equal((await call('/api/x', token)).status, 200);
    clock.offsetMs = 190_000;
    const before = sallyport.log.lines().length;
    for (let n = 0; n < 130; n += 1) t.equal((await call('/api/x', token)).status, 401);
    t.equal(
      sallyport.log
        .lines()
        .slice(before)
        .filter(({ message }) => message === 'an access token was refused').length,
      1,
    );
    t.equal(
      (await call('/api/x', mint({ jti: 'new', exp: Math.floor(clock.nowMs() / 1000) + 120 }))).status,
      200,
    );
  },
);

t.test('a token that has been good is looked at again, whoever else floods from its address', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { mint, call, clock } = house;
  const good = mint();
  const short = mint({ exp: Math.floor(clock.nowMs() / 1000) + 310 });
  for (const token of [good, short]) t.equal((await call('/api/x', token)).status, 200);
  clock.offsetMs = 301_000;
  for (let n = 0; n < 120; n += 1) await call('/api/x', `made-up-${n}`);
  t.equal((await call('/api/x', 'made-up')).status, 429);
  t.equal((await call('/api/x', good)).status, 200, 'after the five minutes that it is remembered');
  clock.offsetMs = 380_000;
  for (let n = 0; n < 120; n += 1) await call('/api/x', `made-up-again-${n}`);
  t.same(
    [(await call('/api/x', short)).status, (await call('/api/x', short)).status],
    [401, 401],
    'one that has expired is looked at once more, and is a bad one then',
  );
  clock.offsetMs += 6_000;
  t.equal((await call('/api/x', short)).status, 429);
});

t.test('a token that names nobody is known by the sign-in of its subject', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, mint, call, upstream, clock } = house;
  const nameless = (more: Json = {}) => mint({ preferred_username: undefined, email: undefined, ...more });
  const unknown = await call('/api/x', nameless());
  t.equal(unknown.status, 403);
  t.equal(unknown.json().error, 'username_invalid');
  t.match(unknown.json().hint, /preferred_username.*sign in here once/);
  const browser = new UserAgent();
  t.equal((await browser.follow(`${origin}/_sallyport/signin?source=idp&return_to=/x`)).last.status, 200);
  clock.offsetMs += 31_000;
  t.equal((await call('/api/x', nameless({ jti: '2' }))).status, 200);
  t.equal(upstream.seen.at(-1)!.headers['x-forwarded-user'], 'alice');
  t.notOk(upstream.seen.at(-1)!.headers['x-forwarded-email'], 'what the token does not say is not made up');
  t.equal((await call('/api/x', nameless({ sub: 'mallory' }))).status, 403, 'by its subject alone');
  const odd = await call('/api/x', nameless({ preferred_username: 'a'.repeat(300), jti: '4' }));
  t.equal(odd.status, 403, 'a token that names somebody is never told who that is');
  t.equal((await call('/api/x', nameless({ sallyport_username: 'root', sub: 'x' }))).status, 403);
  t.equal(
    (await call('/api/x', nameless({ sallyport_username: 'root', jti: '3' }))).status,
    200,
    'no claim of a token stands in for it',
  );
  t.equal(upstream.seen.at(-1)!.headers['x-forwarded-user'], 'alice');
});
