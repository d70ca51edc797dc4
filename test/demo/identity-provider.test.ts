import { createHash, randomBytes } from 'node:crypto';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createIdentityProvider } from '../../src/demo/identity-provider.ts';
import { openLoopbackServer } from '../../src/demo/loopback-server.ts';
import { type DemoUser, demoUsers } from '../../src/demo/users.ts';
import { UserAgent } from '../support/user-agent.ts';

const client = {
  clientId: 'sallyport-demo',
  clientSecret: 'a secret of this test only',
  redirectUri: 'http://localhost:4180/_sallyport/callback/demo',
  postLogoutRedirectUri: 'http://localhost:4180/_sallyport/signed-out',
};
const server = await openLoopbackServer();
const issuer = server.origin;
server.serve(await createIdentityProvider(issuer, client, systemRandomness));
t.teardown(() => server.close());

const isCallback = (url: string): boolean => url.startsWith(client.redirectUri);

/** Goes to the chooser, presses a user's button, and returns the callback's parameters. */
async function choose(agent: UserAgent, user: string, more: Readonly<Record<string, string>> = {}) {
  const verifier = randomBytes(32).toString('base64url');
  const url = new URL('/auth', issuer);
  url.search = new URLSearchParams({
    client_id: client.clientId,
    redirect_uri: client.redirectUri,
    response_type: 'code',
    scope: 'openid profile email',
    state: 'state',
    nonce: 'nonce',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...more,
  }).toString();
  const { last: chooser } = await agent.follow(url.href, { until: isCallback });
  const { last } = await agent.follow(chooser.url, {
    method: 'POST',
    body: new URLSearchParams({ user }).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    from: chooser.url,
    until: isCallback,
  });
  return { chooser, parameters: new URL(last.location ?? issuer).searchParams, verifier };
}

async function redeem(agent: UserAgent, code: string, verifier: string) {
  const answer = await agent.request('POST', `${issuer}/token`, {
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      authorization: `Basic ${Buffer.from(`${client.clientId}:${encodeURIComponent(client.clientSecret)}`).toString('base64')}`,
    },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: client.redirectUri,
      code_verifier: verifier,
    }).toString(),
  });
  if (answer.status !== 200) throw new Error(`the token endpoint refused: ${answer.body}`);
  const { payload } = await jwtVerify(answer.json().id_token, createRemoteJWKSet(new URL('/jwks', issuer)), {
    issuer,
    audience: client.clientId,
  });
  return payload;
}

for (const user of demoUsers) {
  t.test(`the ID token says of ${user.name} what the page promises`, async (t) => {
    const agent = new UserAgent();
    const { chooser, parameters, verifier } = await choose(agent, user.id);
    t.equal(chooser.status, 200);
    for (const each of demoUsers) t.match(chooser.body, `value="${each.id}"`);
    t.equal(parameters.get('iss'), issuer);
    const claims = await redeem(agent, parameters.get('code') ?? '', verifier);
    t.equal(claims.sub, user.id);
    t.same(pickClaims(claims), expectedClaims(user));
    t.type(claims['auth_time'], 'number');
    t.equal(claims['nonce'], 'nonce');
  });
}

t.test('whoever signed in before is asked again who to be', async (t) => {
  const agent = new UserAgent();
  await choose(agent, 'bob');
  for (const more of [{}, { prompt: 'login', max_age: '0' }, { prompt: 'select_account' }]) {
    const { chooser, parameters, verifier } = await choose(agent, 'alice', more);
    t.match(chooser.body, 'Who do you want to be?', JSON.stringify(more));
    const claims = await redeem(agent, parameters.get('code') ?? '', verifier);
    t.equal(claims.sub, 'alice', JSON.stringify(more));
  }
});

t.test('Cancel, or a user who does not exist, goes back with access_denied', async (t) => {
  for (const user of ['', 'mallory']) {
    const { parameters } = await choose(new UserAgent(), user);
    t.equal(parameters.get('error'), 'access_denied');
    t.equal(parameters.get('code'), null);
  }
});

t.test('its pages allow no script and nothing from elsewhere, and say that they are a demo', async (t) => {
  const agent = new UserAgent();
  const { chooser } = await choose(agent, 'alice');
  const lost = await agent.request('GET', `${issuer}/interaction/unknown`);
  const unregistered = await agent.request('GET', `${issuer}/auth?client_id=nobody`);
  const logout = await agent.request('GET', `${issuer}/session/end?client_id=${client.clientId}`);
  t.equal(lost.status, 400);
  t.equal(unregistered.status, 400);
  for (const page of [chooser, lost, unregistered, logout]) {
    t.match(page.headers['content-security-policy'], "default-src 'none'");
    t.match(page.headers['cache-control'], 'no-store');
    t.match(page.body, 'demo: nothing here is real');
    t.notMatch(page.body, '<script');
  }
  const style = await agent.request('GET', `${issuer}/demo.css`);
  t.match(style.body, 'prefers-color-scheme: dark');
});

function pickClaims(claims: Readonly<Record<string, unknown>>) {
  const { amr, acr, email, email_verified, name, preferred_username, groups } = claims;
  return { amr, acr, email, email_verified, name, preferred_username, groups };
}

function expectedClaims(user: DemoUser) {
  return {
    amr: user.amr,
    acr: user.acr,
    email: user.email,
    email_verified: true,
    name: user.name,
    preferred_username: user.username,
    groups: user.groups,
  };
}
