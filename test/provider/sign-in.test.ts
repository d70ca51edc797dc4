import { createHmac } from 'node:crypto';
import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { atHash, makeKey, publicPem, signJws, startOp } from '../support/op.ts';
import type { TamperInput, TestOp } from '../support/op.ts';
import {
  clientSecret,
  exchangeOf,
  faultOf,
  opClient,
  redirectUri,
  rig,
  signIn,
  sourceFor,
  visit,
} from './setup.ts';

t.test('a sign-in brings the verified claims, and the tokens', async (t) => {
  const op = await startOp({ clients: [opClient] });
  t.teardown(() => op.stop());
  op.nextLogin = {
    sub: 'alice',
    amr: ['pwd', 'otp'],
    acr: 'x',
    claims: { email: 'alice@example.com', name: 'Alice' },
  };
  const { provider, idpRequests } = rig(t, sourceFor(op.issuer));
  const result = await signIn(provider);
  if (!('signIn' in result)) throw new Error('refused');
  const { claims, profile, accessToken, accessTokenExpiresAt, idToken, refreshToken } = result.signIn;
  t.match(claims, {
    iss: op.issuer,
    sub: 'alice',
    aud: 'sallyport',
    amr: ['pwd', 'otp'],
    acr: 'x',
    nonce: 'nonce-1',
  });
  t.equal(profile['email'], 'alice@example.com');
  t.type(accessToken, 'string');
  t.ok(Math.abs((accessTokenExpiresAt ?? 0) - Date.now() / 1000 - 3600) < 60);
  t.equal(idToken.split('.').length, 3);
  t.equal(refreshToken, undefined);
  t.same(idpRequests, ['discovery ok', 'par ok', 'token ok', 'jwks ok']);
});

t.test('the code flow refuses what an attacker or a broken IdP puts into the ID token', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  // Advertised or not: none and HS* are never allowed.
  op.metadataOverride = { id_token_signing_alg_values_supported: ['none', 'HS256', 'ES256'] };
  const { provider } = rig(t, sourceFor(op.issuer));
  const stranger = makeKey('ES256', op.signingKey().kid);
  const now = () => Math.floor(Date.now() / 1000);
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const hmac = (secret: string, claims: unknown) => {
    const input = `${part({ alg: 'HS256', kid: op.signingKey().kid })}.${part(claims)}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const with_ =
    (more: Record<string, unknown>) =>
    ({ claims }: TamperInput) => ({ claims: { ...claims, ...more } });
  const rows: [string, NonNullable<TestOp['tamperIdToken']>, string][] = [
    [
      'a bad signature',
      ({ header, claims }) => signJws(header, claims, stranger.privateKey, 'ES256'),
      'signature_invalid',
    ],
    ['alg none', ({ claims }) => `${part({ alg: 'none' })}.${part(claims)}.`, 'alg_not_allowed'],
    ['HS256 with the client secret', ({ claims }) => hmac(clientSecret, claims), 'alg_not_allowed'],
    [
      'HS256 with the public key',
      ({ claims, signingKey }) => hmac(publicPem(signingKey.publicKey), claims),
      'alg_not_allowed',
    ],
    ['the at_hash of another access token', with_({ at_hash: atHash('another') }), 'at_hash_mismatch'],
    ['iat ten years ago', with_({ iat: now() - 315_360_000 }), 'iat_too_old'],
    ['iat in ten years', with_({ iat: now() + 315_360_000 }), 'iat_in_future'],
    ['a foreign azp beside a single aud', with_({ azp: 'other-client' }), 'azp_mismatch'],
    ['an empty sub', with_({ sub: '' }), 'sub_invalid'],
    ['a 300-character sub', with_({ sub: 's'.repeat(300) }), 'sub_invalid'],
    ['a logout token', ({ header }) => ({ header: { ...header, typ: 'logout+jwt' } }), 'typ_not_id_token'],
    ['an access token', ({ header }) => ({ header: { ...header, typ: 'at+jwt' } }), 'typ_not_id_token'],
    ['no nonce', with_({ nonce: undefined }), 'nonce_missing'],
    ['the nonce of another sign-in', with_({ nonce: 'nonce-2' }), 'nonce_mismatch'],
    ['an ID token for another client', with_({ aud: 'other-client' }), 'aud_mismatch'],
    ['an ID token of another issuer', with_({ iss: 'https://evil.example.com' }), 'iss_mismatch'],
    ['an extra audience', with_({ aud: ['sallyport', 'spy'], azp: 'sallyport' }), 'aud_not_trusted'],
    ['an expired ID token', with_({ exp: now() - 61 }), 'expired'],
    ['an ID token not yet valid', with_({ nbf: now() + 120 }), 'not_yet_valid'],
    ['no ID token at all', () => undefined as unknown as string, 'id_token_missing'],
  ];
  for (const [title, tamper, detail] of rows) {
    op.tamperIdToken = title === 'no ID token at all' ? undefined : tamper;
    op.tamperTokenResponse =
      title === 'no ID token at all' ? (body) => ({ ...body, id_token: undefined }) : undefined;
    t.equal(await faultOf(() => signIn(provider)), `token_invalid ${detail}`, title);
  }
  op.tamperTokenResponse = op.tamperIdToken = undefined;
  t.equal(await faultOf(() => signIn(provider)), 'no fault', 'and the honest answer passes');
});

t.test('a key rotated less than a minute after the last fetch is accepted', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  for (let round = 0; round < 3; round += 1) {
    t.equal(await faultOf(() => signIn(provider)), 'no fault');
    op.rotateKeys();
  }
  t.equal(await faultOf(() => signIn(provider)), 'no fault');
});

t.test('a key rotated between the code and its redemption is accepted', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  await signIn(provider);
  const callback = await visit(provider);
  op.rotateKeys();
  t.equal(await faultOf(provider.exchange(exchangeOf(callback))), 'no fault');
});

t.test('a pinned algorithm alone is taken', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider, warnings } = rig(t, sourceFor(op.issuer, { id_token_signed_response_alg: 'RS256' }));
  t.equal(await faultOf(() => signIn(provider)), 'token_invalid alg_not_allowed');
  t.match(warnings[0]?.fields, { auth_source: 'test', doubt: /RS256/ });
  const hs = rig(t, sourceFor(op.issuer, { id_token_signed_response_alg: 'HS256' }));
  op.tamperIdToken = ({ claims }) => signJws({ alg: 'HS256' }, claims, op.signingKey().privateKey, 'ES256');
  t.equal(
    await faultOf(() => signIn(hs.provider)),
    'token_invalid alg_not_allowed',
    'a pinned HS256 opens nothing',
  );
});

t.test('time is the port’s: an ID token is judged by the given clock', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const clock: Clock = { nowMs: () => Date.now() + 700_000 };
  const { provider } = rig(t, sourceFor(op.issuer), { clock });
  t.equal(await faultOf(() => signIn(provider)), 'token_invalid iat_too_old');
});

t.test('an answer of another IdP at our callback is refused before anything is redeemed', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  const rows: [string, (url: URL) => void, string][] = [
    [
      'another issuer',
      (url) => url.searchParams.set('iss', 'https://evil.example.com'),
      'response_iss_mismatch',
    ],
    ['an empty issuer', (url) => url.searchParams.set('iss', ''), 'response_iss_mismatch'],
    ['no issuer where one is promised', (url) => url.searchParams.delete('iss'), 'response_iss_missing'],
    ['two issuers', (url) => url.searchParams.append('iss', op.issuer), 'response_malformed'],
    ['two codes', (url) => url.searchParams.append('code', 'x'), 'response_malformed'],
    [
      'the state of another attempt',
      (url) => url.searchParams.set('state', 'state-2'),
      'response_state_mismatch',
    ],
    ['no state', (url) => url.searchParams.delete('state'), 'response_state_mismatch'],
    ['an implicit ID token', (url) => url.searchParams.set('id_token', 'x'), 'response_malformed'],
    ['an implicit access token', (url) => url.searchParams.set('access_token', 'x'), 'response_malformed'],
    ['an implicit token', (url) => url.searchParams.set('token', 'x'), 'response_malformed'],
    ['a JARM response', (url) => url.searchParams.set('response', 'x.y.z'), 'response_malformed'],
    ['two errors', (url) => (url.search += '&error=a&error=b'), 'response_malformed'],
    ['no code', (url) => url.searchParams.delete('code'), 'response_malformed'],
    ['an empty code', (url) => url.searchParams.set('code', ''), 'response_malformed'],
    [
      'a code as long as a book',
      (url) => url.searchParams.set('code', 'c'.repeat(8193)),
      'response_malformed',
    ],
    [
      'an error of another issuer',
      (url) => (url.search = '?error=access_denied&state=state-1&iss=https://evil.example.com'),
      'response_iss_mismatch',
    ],
  ];
  for (const [title, change, detail] of rows) {
    const callback = await visit(provider);
    change(callback);
    t.equal(await faultOf(provider.exchange(exchangeOf(callback))), `token_invalid ${detail}`, title);
  }
  t.equal(op.count('token'), 0);
  op.metadataOverride = { authorization_response_iss_parameter_supported: false };
  const plain = rig(t, sourceFor(op.issuer)).provider;
  const callback = await visit(plain);
  callback.searchParams.set('iss', 'https://evil.example.com');
  t.equal(
    await faultOf(plain.exchange(exchangeOf(callback))),
    'token_invalid response_iss_mismatch',
    'present, though not promised',
  );
  callback.searchParams.delete('iss');
  t.equal(await faultOf(plain.exchange(exchangeOf(callback))), 'no fault', 'neither promised nor present');
});

t.test('a code of another attempt, or used before, is refused and is no outage', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  const callback = await visit(provider);
  const codeVerifier = 'another-verifier-'.repeat(4);
  t.equal(
    await faultOf(provider.exchange(exchangeOf(callback, { codeVerifier }))),
    'token_invalid code_refused',
    'PKCE',
  );
  const again = await visit(provider);
  t.equal(await faultOf(provider.exchange(exchangeOf(again))), 'no fault');
  t.equal(await faultOf(provider.exchange(exchangeOf(again))), 'token_invalid code_refused', 'replay');
  t.equal(provider.status().available, true);
});

t.test('the IdP’s own error comes back as data, bounded and without control characters', async (t) => {
  const op = await startOp({ clients: [opClient] });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  op.nextError = { error: 'unmet_authentication_requirements', error_description: 'no <b>MFA</b>' };
  t.same(await signIn(provider), {
    refused: { error: 'unmet_authentication_requirements', description: 'no <b>MFA</b>' },
  });
  const callbackUrl = new URL(redirectUri);
  callbackUrl.search = new URLSearchParams({
    iss: op.issuer,
    state: 'state-1',
    error: 'e'.repeat(5000),
    error_description: 'd\n\u0000'.repeat(5000),
  }).toString();
  const answer = await provider.exchange(exchangeOf(callbackUrl));
  if (!('refused' in answer)) throw new Error('not refused');
  t.equal(answer.refused.error.length, 100);
  t.equal(answer.refused.description?.length, 500);
  t.notMatch(answer.refused.description, /\p{Cc}/u);
});

t.test('userinfo fills in the profile beneath the ID token, and only then', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256', profileIn: 'userinfo' });
  t.teardown(() => op.stop());
  op.nextLogin = {
    sub: 'alice',
    amr: ['pwd'],
    idTokenClaims: { name: 'Signed' },
    claims: { email: 'a@example.com', name: 'Unsigned' },
  };
  op.tamperUserinfo = (body) => ({ ...body, amr: ['mfa'], iss: 'https://evil.example.com' });
  const plain = rig(t, sourceFor(op.issuer)).provider;
  const without = await signIn(plain);
  if (!('signIn' in without)) throw new Error('refused');
  t.equal(without.signIn.profile['email'], undefined);
  t.equal(op.count('userinfo'), 0);

  const { provider } = rig(t, sourceFor(op.issuer, { claims_source: 'userinfo' }));
  const result = await signIn(provider);
  if (!('signIn' in result)) throw new Error('refused');
  t.match(result.signIn.profile, { email: 'a@example.com', name: 'Signed', amr: ['pwd'], iss: op.issuer });
  t.same(result.signIn.claims['amr'], ['pwd'], 'evidence is the ID token’s');
  t.equal(result.signIn.claims['email'], undefined);

  for (const [title, sub] of [
    ['of another subject', 'mallory'],
    ['of nobody', undefined],
    ['of a list', ['alice']],
  ] as const) {
    op.tamperUserinfo = (body) => ({ ...body, sub });
    t.match(
      await faultOf(() => signIn(provider)),
      /^(token_invalid userinfo_sub_mismatch|idp_unavailable answer_malformed)$/,
      title,
    );
  }
  op.tamperUserinfo = () => signJws({ alg: 'none' }, { sub: 'alice' }, op.signingKey().privateKey, 'ES256');
  op.fault = (endpoint) =>
    endpoint === 'userinfo' ? { kind: 'contentType', value: 'application/jwt' } : undefined;
  t.equal(
    await faultOf(() => signIn(provider)),
    'idp_unavailable content_type',
    'a JWT is not taken unverified',
  );
});

t.test('nothing is asked of userinfo while the ID token is not verified', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer, { claims_source: 'userinfo' }));
  op.tamperIdToken = ({ claims }) => ({ claims: { ...claims, nonce: 'other' } });
  t.equal(await faultOf(() => signIn(provider)), 'token_invalid nonce_mismatch');
  t.equal(op.count('userinfo'), 0);
});
