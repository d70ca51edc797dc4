import { createHash } from 'node:crypto';
import t from 'tap';
import { startOp } from '../support/op.ts';
import { UserAgent } from '../support/user-agent.ts';

const redirectUri = 'http://127.0.0.1:9/callback';
const client = {
  client_id: 'app',
  client_secret: 'app-secret-app-secret-app-secret',
  redirect_uris: [redirectUri],
  post_logout_redirect_uris: ['http://127.0.0.1:9/bye'],
};
const verifier = 'v'.repeat(64);
const challenge = createHash('sha256').update(verifier).digest('base64url');

function authorizationQuery(extra: Record<string, string> = {}): string {
  return new URLSearchParams({
    client_id: 'app',
    response_type: 'code',
    scope: 'openid email',
    redirect_uri: redirectUri,
    state: 's1',
    nonce: 'n1',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...extra,
  }).toString();
}

async function signIn(
  op: Awaited<ReturnType<typeof startOp>>,
  agent: UserAgent,
  extra: Record<string, string> = {},
): Promise<URL> {
  const { last } = await agent.follow(`${op.issuer}/auth?${authorizationQuery(extra)}`, {
    until: (url) => url.startsWith(redirectUri),
  });
  return new URL(last.location ?? `about:blank#${last.status}-${last.body}`);
}

async function redeem(
  op: Awaited<ReturnType<typeof startOp>>,
  code: string,
): Promise<Record<string, string>> {
  const answer = await new UserAgent().request('POST', `${op.issuer}/token`, {
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      authorization: `Basic ${Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64')}`,
    },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
    }).toString(),
  });
  return answer.json();
}

const claimsOf = (jwt = ''): Record<string, unknown> =>
  JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString());

t.test('the test OP signs in whoever comes next, one user after the other in one browser', async (t) => {
  const op = await startOp({ clients: [client] });
  t.teardown(() => op.stop());
  const agent = new UserAgent();
  for (const [sub, amr] of [
    ['alice', ['pwd', 'otp']],
    ['bob', 'odd'],
    ['alice', undefined],
  ] as const) {
    op.nextLogin = { sub, amr, claims: { email: `${sub}@example.com` } };
    const callback = await signIn(op, agent, { prompt: 'login', max_age: '0' });
    t.equal(callback.searchParams.get('state'), 's1');
    t.equal(callback.searchParams.get('iss'), op.issuer);
    const tokens = await redeem(op, callback.searchParams.get('code') ?? '');
    const claims = claimsOf(tokens['id_token']);
    t.equal(claims['sub'], sub);
    t.same(claims['amr'], amr);
    t.equal(claims['nonce'], 'n1');
    t.equal(claims['email'], `${sub}@example.com`);
    t.type(claims['auth_time'], 'number');
  }
  t.equal(op.count('authorization'), 3);
  t.equal(op.requests.find((request) => request.endpoint === 'authorization')?.params['nonce'], 'n1');
  op.nextError = { error: 'access_denied', error_description: 'no <b>' };
  const refused = await signIn(op, agent);
  t.equal(refused.searchParams.get('error'), 'access_denied');
  const account = await signIn(op, agent, { prompt: 'select_account' });
  t.ok(account.searchParams.get('code'));
});

t.test('the test OP keeps its state over a restart and a change of keys', async (t) => {
  const op = await startOp({ clients: [client], alg: 'ES256' });
  t.teardown(() => op.stop());
  const callback = await signIn(op, new UserAgent());
  await op.restart();
  const key = op.rotateKeys();
  const tokens = await redeem(op, callback.searchParams.get('code') ?? '');
  t.equal(JSON.parse(Buffer.from(tokens['id_token']!.split('.')[0]!, 'base64url').toString()).kid, key.kid);
  const jwks = (await new UserAgent().request('GET', `${op.issuer}/jwks`)).json();
  t.same(
    jwks.keys.map((jwk: { kid: string }) => jwk.kid),
    [key.kid],
  );
});

t.test("the user agent's jar refuses what a browser refuses and keeps loopback servers apart", async (t) => {
  const agent = new UserAgent();
  t.equal(agent.setCookie('http://127.0.0.1:1/', '__Host-a=1; Path=/; Secure'), false);
  t.equal(agent.setCookie('https://a.example/', '__Host-a=1; Path=/x; Secure'), false);
  t.equal(agent.setCookie('https://a.example/', '__Host-a=1; Path=/; Secure; Domain=a.example'), false);
  t.equal(agent.setCookie('https://a.example/', '__Host-a=1; Path=/; Secure'), true);
  t.equal(agent.setCookie('http://127.0.0.1:1/', 'b=2; Path=/p'), true);
  t.equal(agent.cookie('http://127.0.0.1:1/p/q', 'b'), '2');
  t.equal(agent.cookie('http://127.0.0.1:1/px', 'b'), undefined);
  t.equal(agent.cookie('http://127.0.0.1:2/p/q', 'b'), undefined);
  agent.setCookie('http://127.0.0.1:1/', 'b=; Path=/p; Max-Age=0');
  t.same(agent.cookies('http://127.0.0.1:1/p'), []);
});

t.test('the test OP asks before it signs out, and sends the browser back', async (t) => {
  const op = await startOp({ clients: [client], alg: 'ES256', sso: true });
  t.teardown(() => op.stop());
  const agent = new UserAgent();
  const callback = await signIn(op, agent);
  const tokens = await redeem(op, callback.searchParams.get('code') ?? '');
  const query = new URLSearchParams({
    id_token_hint: tokens['id_token'] ?? '',
    post_logout_redirect_uri: 'http://127.0.0.1:9/bye',
    state: 's2',
  }).toString();
  const page = await agent.request('GET', `${op.issuer}/session/end?${query}`, { navigate: true });
  t.equal(page.status, 200);
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
  const { last } = await agent.follow(`${op.issuer}/session/end/confirm`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ xsrf, logout: 'yes' }).toString(),
    until: (url) => url.startsWith('http://127.0.0.1:9/'),
  });
  t.equal(last.location, 'http://127.0.0.1:9/bye?state=s2');
});

t.test('with single sign-on the test OP signs the same user in silently', async (t) => {
  const op = await startOp({ clients: [client], alg: 'ES256', sso: true });
  t.teardown(() => op.stop());
  const agent = new UserAgent();
  await signIn(op, agent);
  const interactions = op.count('resume');
  op.nextLogin = { sub: 'bob' };
  const callback = await signIn(op, agent);
  t.equal(op.count('resume'), interactions);
  const tokens = await redeem(op, callback.searchParams.get('code') ?? '');
  t.equal(claimsOf(tokens['id_token'])['sub'], 'alice');
});

t.test('an essential acr that the login lacks is refused, where the test OP is told to insist', async (t) => {
  const op = await startOp({ clients: [client], alg: 'ES256', essentialAcr: 'refuse' });
  t.teardown(() => op.stop());
  const claims = JSON.stringify({ id_token: { acr: { essential: true, values: ['gold'] } } });
  op.nextLogin = { sub: 'alice', acr: 'silver' };
  t.equal(
    (await signIn(op, new UserAgent(), { claims })).searchParams.get('error'),
    'unmet_authentication_requirements',
  );
  op.nextLogin = { sub: 'alice', acr: 'gold' };
  t.ok((await signIn(op, new UserAgent(), { claims })).searchParams.get('code'));
});

t.test('the user agent tells the server what a browser tells it about a navigation', async (t) => {
  const op = await startOp({ clients: [client], alg: 'ES256' });
  t.teardown(() => op.stop());
  const agent = new UserAgent();
  const rows = [
    [{ navigate: true }, 'none'],
    [{ navigate: true, from: `${op.issuer}/x` }, 'same-origin'],
    [{ navigate: true, from: 'http://127.0.0.1:9/' }, 'cross-site'],
    [{}, undefined],
  ] as const;
  for (const [options, site] of rows) {
    await agent.request('GET', `${op.issuer}/jwks`, options);
    const { headers } = op.requests.at(-1)!;
    t.equal(headers['sec-fetch-site'], site);
    t.equal(headers['sec-fetch-mode'], site === undefined ? undefined : 'navigate');
  }
});
