import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { importJWK } from 'jose';
import type { CryptoKey } from 'jose';
import t from 'tap';
import type { KeyLookup } from '../../src/provider/jwks.ts';
import { verifyIdToken, verifyRefreshedIdToken } from '../../src/provider/verify-id-token.ts';
import type { IdTokenExpectations } from '../../src/provider/verify-id-token.ts';
import { atHash, makeKey, publicPem, signJws } from '../support/op.ts';
import { faultOf } from './setup.ts';

type Json = Record<string, unknown>;

const now = 1_800_000_000;
const key = makeKey('ES256', 'k1');
const rsa = makeKey('RS256', 'r1');
const edwards = makeKey('EdDSA', 'e1');
const other = makeKey('ES256', 'k1');
const publicKeys = new Map<string, CryptoKey>();
for (const { alg, publicKey } of [key, rsa, edwards]) {
  publicKeys.set(alg, (await importJWK(publicKey.export({ format: 'jwk' }) as Json, alg)) as CryptoKey);
}

const keys: KeyLookup = {
  keysFor: async ({ alg }) => [publicKeys.get(alg)].filter((found) => found !== undefined),
  refetchedKeysFor: async () => undefined,
};

const expected: IdTokenExpectations = {
  keys,
  issuer: 'https://idp.example.com',
  clientId: 'sallyport',
  additionalAudiences: ['api'],
  algs: ['ES256', 'RS256', 'EdDSA'],
  nonce: 'nonce-1',
  accessToken: 'access-1',
  nowSeconds: now,
};

const good: Json = {
  iss: 'https://idp.example.com',
  sub: 'alice',
  aud: 'sallyport',
  exp: now + 300,
  iat: now,
  nonce: 'nonce-1',
};

const signed = (claims: Json, header: Json = { alg: 'ES256', kid: 'k1' }) =>
  signJws(header, claims, key.privateKey, 'ES256');

const verify = (token: string, more: Partial<IdTokenExpectations> = {}) =>
  verifyIdToken(token, { ...expected, ...more });

t.test('a good ID token yields its claims, frozen', async (t) => {
  const claims = await verify(signed({ ...good, amr: ['pwd', 'otp'], at_hash: atHash('access-1') }));
  t.same(claims['amr'], ['pwd', 'otp']);
  t.ok(Object.isFrozen(claims));
});

t.test('each asymmetric kind of signature verifies, with its own at_hash', async (t) => {
  for (const { alg, privateKey, kid } of [key, rsa, edwards]) {
    const bits = alg === 'EdDSA' ? 512 : 256;
    const token = signJws(
      { alg, kid, typ: 'JWT' },
      { ...good, at_hash: atHash('access-1', bits) },
      privateKey,
      alg,
    );
    t.equal((await verify(token))['sub'], 'alice', alg);
  }
});

t.test('accepted edges', async (t) => {
  const rows: [string, Json][] = [
    ['exp passed less than 60 s ago', { exp: now - 59 }],
    ['nbf 60 s ahead', { nbf: now + 60 }],
    ['iat 60 s ahead', { iat: now + 60 }],
    ['iat 10 minutes and the skew ago', { iat: now - 660 }],
    ['aud as a list', { aud: ['sallyport'] }],
    ['our own name as azp', { azp: 'sallyport' }],
    ['a trusted second audience, with azp', { aud: ['sallyport', 'api'], azp: 'sallyport' }],
    ['sub of 255 characters', { sub: 's'.repeat(255) }],
    ['sub that is not ASCII', { sub: 'jürgen@例え.jp' }],
    ['members that repeat one level down', { address: { sub: 'x', iss: 'y' } }],
  ];
  for (const [title, claims] of rows)
    t.equal(await faultOf(verify(signed({ ...good, ...claims }))), 'no fault', title);
  for (const typ of ['JWT', 'jwt', 'application/jwt']) {
    t.equal(await faultOf(verify(signed(good, { alg: 'ES256', typ }))), 'no fault', `typ ${typ}`);
  }
});

t.test('claims that do not fit are refused, each with its own detail', async (t) => {
  const absent = undefined;
  const rows: [string, Json, string][] = [
    ['another issuer', { iss: 'https://evil.example.com' }, 'iss_mismatch'],
    ['the issuer with a slash more', { iss: 'https://idp.example.com/' }, 'iss_mismatch'],
    ['no issuer', { iss: absent }, 'iss_mismatch'],
    ['an empty sub', { sub: '' }, 'sub_invalid'],
    ['a sub of blanks', { sub: '   ' }, 'sub_invalid'],
    ['a 300-character sub', { sub: 's'.repeat(300) }, 'sub_invalid'],
    ['a 256-character sub', { sub: 's'.repeat(256) }, 'sub_invalid'],
    ['a sub with a line break', { sub: 'a\nb' }, 'sub_invalid'],
    ['a sub with a NUL', { sub: 'a\u0000' }, 'sub_invalid'],
    ['a sub that turns text around', { sub: 'a\u202eb' }, 'sub_invalid'],
    ['a sub that is a number', { sub: 7 }, 'sub_invalid'],
    ['no sub', { sub: absent }, 'sub_invalid'],
    ['another audience', { aud: 'other' }, 'aud_mismatch'],
    ['an audience in another case', { aud: 'Sallyport' }, 'aud_mismatch'],
    ['no audience', { aud: absent }, 'aud_malformed'],
    ['an empty list of audiences', { aud: [] }, 'aud_malformed'],
    ['a number among the audiences', { aud: ['sallyport', 1] }, 'aud_malformed'],
    ['an object for an audience', { aud: { sallyport: true } }, 'aud_malformed'],
    [
      'an extra audience nobody configured',
      { aud: ['sallyport', 'spy'], azp: 'sallyport' },
      'aud_not_trusted',
    ],
    ['a foreign azp beside a single aud', { azp: 'other' }, 'azp_mismatch'],
    ['a foreign azp beside trusted audiences', { aud: ['sallyport', 'api'], azp: 'api' }, 'azp_mismatch'],
    ['an azp that is a list', { azp: ['sallyport'] }, 'azp_mismatch'],
    ['an azp that is null', { azp: null }, 'azp_mismatch'],
    ['several audiences without azp', { aud: ['sallyport', 'api'] }, 'azp_missing'],
    ['exp passed 60 s ago', { exp: now - 60 }, 'expired'],
    ['exp as text', { exp: String(now + 300) }, 'exp_invalid'],
    ['no exp', { exp: absent }, 'exp_invalid'],
    ['nbf 61 s ahead', { nbf: now + 61 }, 'not_yet_valid'],
    ['nbf as text', { nbf: 'now' }, 'nbf_invalid'],
    ['iat 61 s ahead', { iat: now + 61 }, 'iat_in_future'],
    ['iat ten years ahead', { iat: now + 315_360_000 }, 'iat_in_future'],
    ['iat ten years ago', { iat: now - 315_360_000 }, 'iat_too_old'],
    ['iat 11 minutes and a second ago', { iat: now - 661 }, 'iat_too_old'],
    ['iat as text', { iat: String(now) }, 'iat_invalid'],
    ['no iat', { iat: absent }, 'iat_invalid'],
    ['no nonce', { nonce: absent }, 'nonce_missing'],
    ['the nonce of another attempt', { nonce: 'nonce-2' }, 'nonce_mismatch'],
    ['a nonce in a list', { nonce: ['nonce-1'] }, 'nonce_mismatch'],
    ['the at_hash of another access token', { at_hash: atHash('access-2') }, 'at_hash_mismatch'],
    ['an at_hash by another hash function', { at_hash: atHash('access-1', 512) }, 'at_hash_mismatch'],
    ['an empty at_hash', { at_hash: '' }, 'at_hash_mismatch'],
    ['an at_hash that is null', { at_hash: null }, 'at_hash_mismatch'],
  ];
  for (const [title, claims, detail] of rows) {
    t.equal(await faultOf(verify(signed({ ...good, ...claims }))), `token_invalid ${detail}`, title);
  }
  const hashed = signed({ ...good, at_hash: atHash('') });
  t.equal(
    await faultOf(verify(hashed, { accessToken: undefined })),
    'token_invalid at_hash_mismatch',
    'no access token',
  );
  const nonceless = signed({ ...good, nonce: '' });
  t.equal(
    await faultOf(verify(nonceless, { nonce: '' })),
    'token_invalid nonce_mismatch',
    'an empty nonce on both sides',
  );
});

t.test('headers and signatures that prove nothing are refused, each with its own detail', async (t) => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const hmac = (secret: string, header: Json) => {
    const input = `${part(header)}.${part(good)}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const [head, body, signature] = signed(good).split('.') as [string, string, string];
  const everyAlg = [...expected.algs, 'none', 'HS256'];
  const rows: [string, string, string][] = [
    ['alg none', `${part({ alg: 'none' })}.${part(good)}.`, 'alg_not_allowed'],
    ['alg None, in another case', `${part({ alg: 'None' })}.${part(good)}.`, 'alg_not_allowed'],
    ['HS256 with the client secret', hmac('client-secret', { alg: 'HS256' }), 'alg_not_allowed'],
    [
      'HS256 with the public key as the secret',
      hmac(publicPem(key.publicKey), { alg: 'HS256', kid: 'k1' }),
      'alg_not_allowed',
    ],
    ['no alg', signed(good, { kid: 'k1' }), 'alg_not_allowed'],
    ['alg as a list', signed(good, { alg: ['ES256'] }), 'alg_not_allowed'],
    [
      'a signature by another key',
      signJws({ alg: 'ES256', kid: 'k1' }, good, other.privateKey, 'ES256'),
      'signature_invalid',
    ],
    [
      'a signature over other claims',
      `${head}.${part({ ...good, sub: 'root' })}.${signature}`,
      'signature_invalid',
    ],
    ['a signature cut short', `${head}.${body}.${signature.slice(0, 20)}`, 'signature_invalid'],
    ['no signature', `${head}.${body}.`, 'signature_invalid'],
    [
      'an RSA signature under an EC alg',
      signJws({ alg: 'ES256' }, good, rsa.privateKey, 'RS256'),
      'signature_invalid',
    ],
    ['a logout token', signed(good, { alg: 'ES256', typ: 'logout+jwt' }), 'typ_not_id_token'],
    ['an access token', signed(good, { alg: 'ES256', typ: 'at+jwt' }), 'typ_not_id_token'],
    [
      'an access token by its long name',
      signed(good, { alg: 'ES256', typ: 'application/at+jwt' }),
      'typ_not_id_token',
    ],
    ['a typ that is no string', signed(good, { alg: 'ES256', typ: ['JWT'] }), 'typ_not_id_token'],
    ['a critical extension', signed(good, { alg: 'ES256', crit: ['b64'], b64: false }), 'crit_not_supported'],
    ['an empty list of critical extensions', signed(good, { alg: 'ES256', crit: [] }), 'crit_not_supported'],
    [
      'an unencoded payload that nobody calls critical',
      signed(good, { alg: 'ES256', b64: false }),
      'crit_not_supported',
    ],
    ['a kid that is no string', signed(good, { alg: 'ES256', kid: 1 }), 'header_malformed'],
    ['a header that is no object', `${part([])}.${body}.${signature}`, 'header_malformed'],
    ['a header that is no JSON', `e30e.${body}.${signature}`, 'header_malformed'],
    ['two parts', `${head}.${body}`, 'token_malformed'],
    ['nothing', '', 'token_malformed'],
    ['padding', `${head}=.${body}.${signature}`, 'token_malformed'],
    ['a blank in front', ` ${head}.${body}.${signature}`, 'token_malformed'],
    ['an encrypted token', 'a.b.c.d.e', 'token_encrypted'],
    ['300 kB', `${head}.${'A'.repeat(300_000)}.${signature}`, 'token_too_large'],
    [
      'claims that are a list',
      signJws({ alg: 'ES256' }, [good], key.privateKey, 'ES256'),
      'claims_malformed',
    ],
    ['claims that are null', signJws({ alg: 'ES256' }, null, key.privateKey, 'ES256'), 'claims_malformed'],
  ];
  for (const [title, token, detail] of rows) {
    t.equal(await faultOf(verify(token, { algs: everyAlg })), `token_invalid ${detail}`, title);
  }
  t.equal(
    await faultOf(verify(signed(good), { algs: ['RS256'] })),
    'token_invalid alg_not_allowed',
    'another alg is pinned',
  );
});

t.test('a claim that stands twice is refused, whichever reader would have taken which', async (t) => {
  const input = [
    Buffer.from('{"alg":"ES256"}').toString('base64url'),
    Buffer.from(JSON.stringify(good).replace('{', '{"sub":"root",')).toString('base64url'),
  ].join('.');
  const { sign } = await import('node:crypto');
  const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  t.equal(
    await faultOf(verify(`${input}.${signature.toString('base64url')}`)),
    'token_invalid claims_duplicate',
  );
});

t.test('a key that was replaced under its old kid is fetched once more', async (t) => {
  const fresh = (await importJWK(other.publicKey.export({ format: 'jwk' }) as Json, 'ES256')) as CryptoKey;
  const replaced: KeyLookup = { ...keys, refetchedKeysFor: async () => [fresh] };
  const token = signJws({ alg: 'ES256', kid: 'k1' }, good, other.privateKey, 'ES256');
  t.equal((await verify(token, { keys: replaced }))['sub'], 'alice');
});

t.test('no claims of any shape make a token pass that the key did not sign', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), async (claims) => {
      const forged = signJws({ alg: 'ES256', kid: 'k1' }, { ...good, ...claims }, other.privateKey, 'ES256');
      return (await faultOf(verify(forged))) === 'token_invalid signature_invalid';
    }),
    { numRuns: 50 },
  );
  t.pass();
});

t.test(
  'a refreshed ID token leaves out no audience of the sign-in, and may name another that is trusted',
  async (t) => {
    const { nonce, ...refreshed } = good;
    t.ok(nonce);
    const rows: readonly [title: string, before: unknown, after: unknown, fault: string][] = [
      ['the same list', ['sallyport', 'api'], ['sallyport', 'api'], 'no fault'],
      ['the same list in another order', ['sallyport', 'api'], ['api', 'sallyport'], 'no fault'],
      ['one more', ['sallyport'], ['sallyport', 'api'], 'no fault'],
      ['one less', ['sallyport', 'api'], ['sallyport'], 'token_invalid aud_changed'],
      ['one less, as a string', ['sallyport', 'api'], 'sallyport', 'token_invalid aud_changed'],
      ['a list of one as a string', ['sallyport'], 'sallyport', 'no fault'],
    ];
    for (const [title, before, after, fault] of rows) {
      const signIn = { ...good, aud: before, azp: 'sallyport' };
      const token = signed({ ...refreshed, aud: after, azp: 'sallyport' });
      t.equal(await faultOf(verifyRefreshedIdToken(token, signIn, expected)), fault, title);
    }
  },
);

t.test('whatever a claim holds, verification ends in claims or in token_invalid', async (t) => {
  const names = ['iss', 'sub', 'aud', 'azp', 'exp', 'nbf', 'iat', 'nonce', 'at_hash'];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), fc.jsonValue(), async (name, value) => {
      const fault = await faultOf(verify(signed({ ...good, [name]: value })));
      return fault === 'no fault' || fault.startsWith('token_invalid ');
    }),
    { numRuns: 200 },
  );
  t.pass();
});

t.test('any text at all as a token ends in token_invalid', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => (await faultOf(verify(text))).startsWith('token_invalid ')),
    { numRuns: 200 },
  );
  t.pass();
});
