import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import t from 'tap';
import { createAssertionSigner } from '../../src/identity/assertion.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import type { Store } from '../../src/session/types.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { openedSession, verifiedStanding } from './session-fixture.ts';

const origin = 'https://forge.example.com';
const audience = 'unix:/run/forgejo/http.sock';
const now = 1_700_000_000;
const sealing = createSealing([randomBytes(32)], systemRandomness);
const directory = mkdtempSync(join(tmpdir(), 'sallyport-assertion-'));
t.teardown(() => rmSync(directory, { recursive: true }));

function memoryStore(t: { teardown(end: () => unknown): void }): Store {
  const store = createMemoryStore(systemClock);
  t.teardown(() => store.close());
  return store;
}

const signerOf = (store: Store, keyFile?: string) =>
  createAssertionSigner({ keyFile, store, sealing, audience, randomness: systemRandomness });

function fileOf(content: string): string {
  const path = join(directory, randomBytes(6).toString('hex'));
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

t.test('an assertion verifies against the public keys and says what SPEC lists', async (t) => {
  const signer = await signerOf(memoryStore(t));
  const { jwt, expiresAt } = await signer.sign(openedSession(), verifiedStanding(), origin, now);
  const { payload, protectedHeader } = await jwtVerify(
    jwt,
    createLocalJWKSet({ keys: [...signer.jwks().keys] }),
    {
      issuer: origin,
      audience,
      currentDate: new Date((now + 59) * 1000),
      algorithms: ['ES256'],
    },
  );
  t.equal(expiresAt, now + 60);
  t.equal(protectedHeader.kid, signer.jwks().keys[0]?.kid);
  const { jti, ...rest } = payload;
  t.match(jti, /^[\w-]{22}$/);
  t.same(rest, {
    iss: origin,
    aud: audience,
    iat: now,
    exp: now + 60,
    sub: 'sub-1',
    source: 'entra',
    username: 'alice',
    email: 'alice@example.com',
    groups: ['dev', 'ops'],
    aal: 'aal2',
    acr: 'c2',
    amr: ['pwd', 'mfa'],
    auth_time: 1_700_000_000,
    mfa: { status: 'verified', evidence: { claim: 'acr', value: 'c2' }, weak: false },
  });
  await t.rejects(
    jwtVerify(jwt, createLocalJWKSet({ keys: [...signer.jwks().keys] }), {
      currentDate: new Date((now + 61) * 1000),
    }),
    { code: 'ERR_JWT_EXPIRED' },
  );
});

t.test('nothing is asserted that nobody vouched for', async (t) => {
  const signer = await signerOf(memoryStore(t));
  const attested = verifiedStanding({ admit: true, aal: 'aal1', status: 'attested' });
  const session = openedSession({ emailVerified: false, groups: undefined }, { claims: { sub: 'sub-1' } });
  const { jwt } = await signer.sign(session, attested, origin, now);
  const payload = JSON.parse(Buffer.from(jwt.split('.')[1]!, 'base64url').toString()) as Record<
    string,
    unknown
  >;
  for (const claim of ['email', 'groups', 'acr', 'amr', 'auth_time']) t.notOk(claim in payload, claim);
  t.equal(payload['aal'], 'aal1');
  t.same(payload['mfa'], { status: 'attested', weak: false });
  const rejected = verifiedStanding({ admit: false, aal: 'aal1', status: 'rejected', reason: 'amr_not_mfa' });
  await t.rejects(
    signer.sign(session, rejected, origin, now),
    { code: 'internal' },
    'a session that opens nothing is asserted to nobody',
  );
});

t.test('the public keys hold nothing private', async (t) => {
  for (const file of [
    undefined,
    fileOf(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
  ]) {
    const signer = await signerOf(memoryStore(t), file);
    t.same(
      Object.keys(signer.jwks().keys[0]!).sort(),
      file === undefined
        ? ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']
        : ['alg', 'crv', 'kid', 'kty', 'use', 'x'],
    );
  }
});

t.test('a key made once is kept sealed and shared by all replicas', async (t) => {
  const store = memoryStore(t);
  const [one, other] = await Promise.all([signerOf(store), signerOf(store)]);
  t.same(one.jwks(), other.jwks());
  t.same((await signerOf(store)).jwks(), one.jwks());
  const stored = await store.get('durable:assertion');
  t.ok(stored);
  t.notMatch(stored!.sealed.toString('latin1'), '"d"');
});

t.test('keys from a file: EC P-256 and Ed25519, as JWK and as PEM', async (t) => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const ed = generateKeyPairSync('ed25519').privateKey;
  const good: [string, string, string][] = [
    ['JWK P-256', JSON.stringify(ec.export({ format: 'jwk' })), 'ES256'],
    ['PKCS #8 P-256', ec.export({ type: 'pkcs8', format: 'pem' }).toString(), 'ES256'],
    ['SEC 1 P-256', ec.export({ type: 'sec1', format: 'pem' }).toString(), 'ES256'],
    ['JWK Ed25519', JSON.stringify(ed.export({ format: 'jwk' })), 'EdDSA'],
    ['PKCS #8 Ed25519', `\n${ed.export({ type: 'pkcs8', format: 'pem' }).toString()}`, 'EdDSA'],
  ];
  for (const [title, content, alg] of good) {
    const signer = await signerOf(memoryStore(t), fileOf(content));
    const { jwt } = await signer.sign(openedSession(), verifiedStanding(), origin, now);
    t.equal(decodeProtectedHeader(jwt).alg, alg, title);
    await jwtVerify(jwt, createLocalJWKSet({ keys: [...signer.jwks().keys] }), {
      currentDate: new Date(now * 1000),
    });
  }
});

t.test('other keys are refused with a message that says what to do and shows nothing of them', async (t) => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  const secret = 'c2VjcmV0LXNlY3JldC1zZWNyZXQ';
  const bad: [string, string, RegExp][] = [
    ['RSA', rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), /found rsa/],
    ['P-384', p384.export({ type: 'pkcs8', format: 'pem' }).toString(), /found ec secp384r1/],
    ['public PEM', ec.publicKey.export({ type: 'spki', format: 'pem' }).toString(), /private key/],
    ['public JWK', JSON.stringify(ec.publicKey.export({ format: 'jwk' })), /private key/],
    ['symmetric JWK', JSON.stringify({ kty: 'oct', k: secret }), /private key/],
    [
      'encrypted PEM',
      ec.privateKey
        .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
        .toString(),
      /unencrypted/,
    ],
    ['no key', secret, /private key/],
    ['broken JSON', `{"k": "${secret}"`, /private key/],
    ['empty', '', /private key/],
  ];
  for (const [title, content, message] of bad) {
    const error = await signerOf(memoryStore(t), fileOf(content)).then(
      () => undefined,
      (fault: unknown) => fault,
    );
    t.match(error, { code: 'config_invalid', message }, title);
    t.notMatch((error as Error).stack, secret);
    t.equal((error as Error).cause, undefined);
  }
  await t.rejects(signerOf(memoryStore(t), join(directory, 'absent')), {
    code: 'config_invalid',
    message: /assertion_key_file .* cannot be read/,
  });
});

t.test('a store that is down at the start is asked again when something is to be signed', async (t) => {
  const store = memoryStore(t);
  let down = true;
  const flaky: Store = {
    ...store,
    get: (key) => (down ? Promise.reject(new SallyportError('store_unavailable', 'down')) : store.get(key)),
  };
  const signer = await signerOf(flaky);
  t.throws(() => signer.jwks(), { code: 'store_unavailable' });
  await t.rejects(signer.sign(openedSession(), verifiedStanding(), origin, now), {
    code: 'store_unavailable',
  });
  down = false;
  t.ok(await signer.sign(openedSession(), verifiedStanding(), origin, now));
  t.equal(signer.jwks().keys.length, 1);
});

t.test('a store that has lost the key gets it back, and every replica goes on with one', async (t) => {
  const store = memoryStore(t);
  const keysOf = (signer: { jwks(): { readonly keys: readonly object[] } }) => signer.jwks().keys;
  const one = await signerOf(store);
  const before = keysOf(one);
  t.equal(await one.restore(), false, 'nothing is lost');
  t.same(keysOf(one), before);
  await store.delete('durable:assertion');
  t.equal(await one.restore(), true);
  t.same(keysOf(await signerOf(store)), before, 'a replica that starts now');

  // Another replica was there first.
  await store.delete('durable:assertion');
  const two = await signerOf(store);
  t.notSame(keysOf(two), before);
  t.equal(await one.restore(), false);
  t.same(
    keysOf(one),
    [...keysOf(two), ...before],
    'signs as the others do; what it has signed can be verified',
  );
  const { jwt } = await one.sign(openedSession(), verifiedStanding(), origin, now);
  t.equal(
    decodeProtectedHeader(jwt).kid,
    decodeProtectedHeader((await two.sign(openedSession(), verifiedStanding(), origin, now)).jwt).kid,
  );
});

t.test('a key of a file is asked of no store', async (t) => {
  const store = memoryStore(t);
  const signer = await signerOf(
    store,
    fileOf(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string),
  );
  t.equal(await signer.restore(), false);
  t.equal(await store.get('durable:assertion'), undefined);
});
