import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import type { Provider, VerifiedSignIn } from '../../src/provider/types.ts';
import { atHash, makeKey, signJws, startOp } from '../support/op.ts';
import type { OpOptions } from '../support/op.ts';
import { faultOf, opClient, rig, signIn, sourceFor } from './setup.ts';

type Json = Record<string, unknown>;

/** A sign-in that brought a refresh token, at an OP that rotates them. */
async function begin(t: Test, options: OpOptions = {}) {
  const op = await startOp({
    clients: [{ ...opClient, grant_types: ['authorization_code', 'refresh_token'] }],
    ...options,
    configuration: { issueRefreshToken: () => Promise.resolve(true), rotateRefreshToken: true },
  });
  t.teardown(() => op.stop());
  op.nextLogin = {
    sub: 'alice',
    amr: ['pwd', 'otp'],
    acr: 'x',
    authTime: Math.floor(Date.now() / 1000) - 60,
  };
  const source = sourceFor(op.issuer, { additional_audiences: ['api'] });
  const made = rig(t, source);
  const result = await signIn(made.provider);
  if (!('signIn' in result)) throw new Error('refused');
  const { refreshToken = '' } = result.signIn;
  return { op, ...made, signedIn: result.signIn, refreshToken };
}

function refresh(provider: Provider, { claims }: VerifiedSignIn, refreshToken: string) {
  if (provider.refresh === undefined) throw new Error('it does not refresh');
  return provider.refresh({ refreshToken, signIn: claims });
}

t.test('a refresh brings new tokens, verified; a token that was spent brings a refusal', async (t) => {
  const { op, provider, signedIn, refreshToken, idpRequests } = await begin(t);
  t.not(refreshToken, '');
  const result = await refresh(provider, signedIn, refreshToken);
  if (!('refreshed' in result)) throw new Error('refused');
  const { claims, idToken, accessToken, accessTokenExpiresAt, refreshToken: rotated } = result.refreshed;
  t.match(claims, { sub: 'alice', auth_time: signedIn.claims['auth_time'], amr: ['pwd', 'otp'] });
  t.ok(Object.isFrozen(claims));
  t.equal(idToken?.split('.').length, 3);
  t.not(accessToken, signedIn.accessToken);
  t.not(rotated, refreshToken);
  t.ok(Math.abs((accessTokenExpiresAt ?? 0) - Date.now() / 1000 - 3600) < 60);
  t.match(op.requests.at(-1)?.params, { grant_type: 'refresh_token', refresh_token: refreshToken });
  t.equal(idpRequests.at(-1), 'token ok');
  t.match(await refresh(provider, signedIn, refreshToken), { refused: { error: 'invalid_grant' } });
  t.equal(provider.status().available, true, 'a refusal is no outage');
});

t.test(
  'without an ID token nothing is said, and without a new refresh token the old one goes on',
  async (t) => {
    const { op, provider, signedIn, refreshToken } = await begin(t);
    op.tamperTokenResponse = (body) => ({ access_token: body['access_token'], token_type: 'Bearer' });
    t.match(await refresh(provider, signedIn, refreshToken), {
      refreshed: {
        claims: undefined,
        idToken: undefined,
        refreshToken: undefined,
        accessTokenExpiresAt: undefined,
      },
    });
  },
);

t.test('what must stay of the sign-in', async (t) => {
  const rows: readonly [string, Json, string | undefined][] = [
    ['nothing changed', {}, undefined],
    ['no auth_time', { auth_time: undefined }, undefined],
    ['no nonce', { nonce: undefined }, undefined],
    ['one more audience that is trusted', { aud: ['sallyport', 'api'], azp: undefined }, 'azp_missing'],
    ['another sub', { sub: 'mallory' }, 'sub_changed'],
    ['the same sub in another case', { sub: 'Alice' }, 'sub_changed'],
    ['a later auth_time', { auth_time: Math.floor(Date.now() / 1000) }, 'auth_time_changed'],
    ['an auth_time that is no number', { auth_time: '1' }, 'auth_time_changed'],
    ['auth_time null', { auth_time: null }, 'auth_time_changed'],
    ['another nonce', { nonce: 'nonce-2' }, 'nonce_mismatch'],
    ['an empty nonce', { nonce: '' }, 'nonce_mismatch'],
    ['azp appears', { azp: 'sallyport' }, 'azp_changed'],
    ['another azp', { azp: 'other' }, 'azp_mismatch'],
    ['another aud', { aud: 'other' }, 'aud_mismatch'],
    ['an aud that is not trusted beside ours', { aud: ['sallyport', 'other'] }, 'aud_not_trusted'],
    ['another issuer', { iss: 'https://idp.example.com' }, 'iss_mismatch'],
    ['an iat in the future', { iat: Math.floor(Date.now() / 1000) + 3600 }, 'iat_in_future'],
    ['an iat of long ago', { iat: Math.floor(Date.now() / 1000) - 3600 }, 'iat_too_old'],
    ['it has expired', { exp: Math.floor(Date.now() / 1000) - 3600 }, 'expired'],
    ['the hash of another access token', { at_hash: atHash('another') }, 'at_hash_mismatch'],
  ];
  const { op, provider, signedIn, refreshToken } = await begin(t);
  let current = refreshToken;
  op.tamperTokenResponse = (body) => {
    current = String(body['refresh_token']);
    return body;
  };
  for (const [what, said, detail] of rows) {
    op.tamperIdToken = ({ claims }) => ({
      claims: Object.fromEntries(
        Object.entries({ ...claims, ...said }).filter(([, value]) => value !== undefined),
      ),
    });
    const attempt = refresh(provider, signedIn, current);
    if (detail === undefined) t.ok('refreshed' in (await attempt), what);
    else t.equal(await faultOf(attempt), `token_invalid ${detail}`, what);
  }
});

t.test('a signature that is not the IdP’s, or another kind of token, is refused', async (t) => {
  const { op, provider, signedIn, refreshToken } = await begin(t);
  const foreign = makeKey('RS256', op.signingKey().kid);
  let current = refreshToken;
  op.tamperTokenResponse = (body) => {
    current = String(body['refresh_token']);
    return body;
  };
  op.tamperIdToken = ({ header, claims }) => signJws(header, claims, foreign.privateKey, 'RS256');
  t.equal(await faultOf(refresh(provider, signedIn, current)), 'token_invalid signature_invalid');
  op.tamperIdToken = ({ header, claims, resign }) => resign({ ...header, typ: 'logout+jwt' }, claims);
  t.equal(await faultOf(refresh(provider, signedIn, current)), 'token_invalid typ_not_id_token');
});

t.test(
  'what is said of the token is a refusal; what is said of the moment or the client is none',
  async (t) => {
    const { op, provider, signedIn, refreshToken } = await begin(t);
    const rows: readonly [number, string, 'refused' | 'idp_unavailable'][] = [
      [400, 'invalid_grant', 'refused'],
      [400, 'invalid_scope', 'refused'],
      [400, 'interaction_required', 'refused'],
      [403, 'access_denied', 'refused'],
      [401, 'invalid_client', 'idp_unavailable'],
      [400, 'temporarily_unavailable', 'idp_unavailable'],
      [429, 'slow_down', 'idp_unavailable'],
      [429, 'anything', 'idp_unavailable'],
      [500, 'server_error', 'idp_unavailable'],
      [503, 'invalid_grant', 'idp_unavailable'],
    ];
    for (const [status, error, expected] of rows) {
      const body = JSON.stringify({ error, error_description: `line one\r\nforged ${'x'.repeat(1000)}` });
      op.fault = (endpoint) => (endpoint === 'token' ? { kind: 'status', status, body } : undefined);
      const attempt = refresh(provider, signedIn, refreshToken);
      if (expected === 'refused') {
        const result = await attempt;
        if (!('refused' in result)) throw new Error(`${error}: not refused`);
        t.equal(result.refused.error, error);
        t.ok((result.refused.description?.length ?? 0) <= 300);
        t.notMatch(result.refused.description, /[\r\n]/);
      } else t.match(await faultOf(attempt), /^idp_unavailable /, `${status} ${error}`);
    }
  },
);

t.test('an IdP that repeats what it was sent puts no token into our words', async (t) => {
  const { op, provider, signedIn, refreshToken } = await begin(t);
  for (const [status, error] of [
    [400, 'invalid_grant'],
    [400, refreshToken],
    [401, 'invalid_client'],
    [500, 'server_error'],
  ] as const) {
    const body = JSON.stringify({
      error,
      error_description: `Invalid refresh token (expired): ${refreshToken}`,
    });
    op.fault = (endpoint) => (endpoint === 'token' ? { kind: 'status', status, body } : undefined);
    const said = await refresh(provider, signedIn, refreshToken).catch((fault: unknown) => fault);
    t.notMatch(inspect(said, { depth: 10 }), refreshToken, `${status} ${error}`);
    if (status !== 500) t.match(inspect(said, { depth: 10 }), 'Invalid refresh token (expired): …');
  }
  op.fault = undefined;
});

t.test('no answer, or one that is none, is an outage', async (t) => {
  const { op, provider, signedIn, refreshToken } = await begin(t);
  for (const fault of [
    { kind: 'reset' },
    { kind: 'invalidJson' },
    { kind: 'redirect', location: 'https://elsewhere.example/' },
    { kind: 'huge', bytes: 4 * 1024 * 1024 },
    { kind: 'status', status: 200, body: '[]' },
    { kind: 'status', status: 200, body: '{"token_type":"Bearer"}' },
  ] as const) {
    op.fault = (endpoint) => (endpoint === 'token' ? fault : undefined);
    t.match(await faultOf(refresh(provider, signedIn, refreshToken)), /^idp_unavailable /, fault.kind);
  }
});
