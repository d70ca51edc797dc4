import t from 'tap';
import { startOp } from '../support/op.ts';
import {
  authorizationRequest,
  faultOf,
  opClient,
  redirectUri,
  rig,
  signIn,
  sourceFor,
  visit,
} from './setup.ts';

const full = {
  acrValues: ['phr', 'phrh'],
  requestedClaims: { id_token: { acrs: { essential: true, value: 'c2' } } },
  maxAgeSeconds: 0,
  prompt: 'login',
  loginHint: 'alice@example.com',
} as const;

const expectedParams = {
  client_id: 'sallyport',
  response_type: 'code',
  redirect_uri: redirectUri,
  scope: 'openid profile email',
  state: 'state-1',
  nonce: 'nonce-1',
  code_challenge_method: 'S256',
  acr_values: 'phr phrh',
  claims: '{"id_token":{"acrs":{"essential":true,"value":"c2"}}}',
  max_age: '0',
  prompt: 'login',
  login_hint: 'alice@example.com',
};

t.test('without PAR the URL carries everything, and nothing that was not asked for', async (t) => {
  const op = await startOp({ clients: [opClient], par: 'off', alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  const url = await provider.authorizationUrl(authorizationRequest(full));
  t.equal(`${url.origin}${url.pathname}`, `${op.issuer}/auth`);
  const { code_challenge: challenge, ...rest } = Object.fromEntries(url.searchParams);
  t.same(rest, expectedParams);
  t.match(challenge, /^[\w-]{43}$/);
  const plain = await provider.authorizationUrl(authorizationRequest());
  t.same([...plain.searchParams.keys()].sort(), [
    'client_id',
    'code_challenge',
    'code_challenge_method',
    'nonce',
    'redirect_uri',
    'response_type',
    'scope',
    'state',
  ]);
});

t.test('where PAR is offered the parameters are pushed and the URL shows none of them', async (t) => {
  const op = await startOp({ clients: [opClient], acrValues: ['phr', 'phrh'], alg: 'ES256' });
  t.teardown(() => op.stop());
  for (const mode of ['auto', 'always'] as const) {
    const { provider } = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: mode }));
    const url = await provider.authorizationUrl(authorizationRequest(full));
    t.same([...url.searchParams.keys()].sort(), ['client_id', 'request_uri']);
    t.notMatch(url.href, /nonce-1|alice|phr/);
    await visit(provider, full);
    t.match(op.requests.findLast(({ endpoint }) => endpoint === 'authorization')?.params, expectedParams);
  }
  t.equal(op.count('par'), 4);
});

t.test('never means never, and always without an endpoint is a fault', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: 'never' }));
  t.ok((await provider.authorizationUrl(authorizationRequest())).searchParams.get('nonce'));
  t.equal(op.count('par'), 0);
  op.metadataOverride = { pushed_authorization_request_endpoint: undefined };
  const always = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: 'always' }));
  t.equal(
    await faultOf(always.provider.authorizationUrl(authorizationRequest())),
    'idp_unavailable par_refused',
  );
});

t.test('a pushed request that fails is not repeated in the open', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  op.fault = (endpoint) =>
    endpoint === 'par' ? { kind: 'status', status: 400, body: '{"error":"invalid_request"}' } : undefined;
  t.equal(await faultOf(provider.authorizationUrl(authorizationRequest())), 'idp_unavailable par_refused');
  op.fault = (endpoint) => (endpoint === 'par' ? { kind: 'status', status: 503 } : undefined);
  t.equal(await faultOf(provider.authorizationUrl(authorizationRequest())), 'idp_unavailable status');
});

t.test('the operator’s own parameters go along, and replace none of ours', async (t) => {
  const op = await startOp({ clients: [opClient], par: 'off', alg: 'ES256' });
  t.teardown(() => op.stop());
  const source = sourceFor(op.issuer, { scopes: ['openid', 'groups'] });
  const authorization_params = {
    domain_hint: 'example.com',
    prompt: 'consent',
    nonce: 'mine',
    redirect_uri: 'https://evil.example.com',
  };
  const { provider } = rig(t, { ...source, authorization_params });
  const url = await provider.authorizationUrl(authorizationRequest());
  t.match(Object.fromEntries(url.searchParams), {
    domain_hint: 'example.com',
    prompt: 'consent',
    nonce: 'nonce-1',
    redirect_uri: redirectUri,
    scope: 'openid groups',
  });
  const forced = await provider.authorizationUrl(authorizationRequest({ prompt: 'select_account' }));
  t.equal(forced.searchParams.get('prompt'), 'select_account');
});

t.test('the end-session URL brings the ID token back, where the IdP offers sign-out', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  const returnTo = 'http://127.0.0.1:9/_sallyport/signed-out';
  t.equal(provider.endSessionUrl({ idToken: 'x', returnTo, state: 's' }), undefined, 'before discovery');
  const result = await signIn(provider);
  const idToken = 'signIn' in result ? result.signIn.idToken : undefined;
  const url = provider.endSessionUrl({ idToken, returnTo, state: 's' });
  t.equal(`${url?.origin}${url?.pathname}`, `${op.issuer}/session/end`);
  t.same(Object.fromEntries(url?.searchParams ?? []), {
    client_id: 'sallyport',
    id_token_hint: idToken,
    post_logout_redirect_uri: returnTo,
    state: 's',
  });
  op.metadataOverride = { end_session_endpoint: undefined };
  const without = rig(t, sourceFor(op.issuer)).provider;
  await without.start();
  t.equal(without.endSessionUrl({ idToken, returnTo, state: 's' }), undefined);
});
