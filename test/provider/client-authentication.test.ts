import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentMeter } from '../../src/kernel/meter.ts';
import { readClientCredential } from '../../src/provider/client-authentication.ts';
import { probeClient } from '../../src/provider/client-credentials.ts';
import { createIdpClient } from '../../src/provider/idp-client.ts';
import { createIdpFetch } from '../../src/provider/idp-fetch.ts';
import { startOp } from '../support/op.ts';
import { clientSecret, faultOf, opClient, redirectUri, rig, signIn, sourceFor } from './setup.ts';

t.test('the secret goes in the form that the IdP offers', async (t) => {
  const rows = [
    [['client_secret_basic', 'client_secret_post'], 'client_secret_basic'],
    [['client_secret_post', 'client_secret_basic'], 'client_secret_basic'],
    [['client_secret_post', 'private_key_jwt'], 'client_secret_post'],
    [undefined, 'client_secret_basic'],
  ] as const;
  for (const [offered, used] of rows) {
    const op = await startOp({ clients: [{ ...opClient, token_endpoint_auth_method: used }], alg: 'ES256' });
    op.metadataOverride = { token_endpoint_auth_methods_supported: offered };
    const { provider } = rig(t, sourceFor(op.issuer));
    t.equal(
      await faultOf(() => signIn(provider)),
      'no fault',
      `${offered?.join(' ') ?? 'nothing listed'} → ${used}`,
    );
    for (const { endpoint, headers, params } of op.requests.filter(
      ({ endpoint }) => endpoint === 'token' || endpoint === 'par',
    )) {
      t.equal(headers.authorization?.startsWith('Basic ') ?? false, used === 'client_secret_basic', endpoint);
      t.equal(params['client_secret'], used === 'client_secret_post' ? clientSecret : undefined, endpoint);
    }
    await op.stop();
  }
});

t.test('a secret from a file loses one trailing newline, and no more', async (t) => {
  const dir = t.testdir({
    plain: clientSecret,
    newline: `${clientSecret}\n`,
    crlf: `${clientSecret}\r\n`,
    two: `${clientSecret}\n\n`,
  });
  const read = (file: string) => {
    const source = {
      ...sourceFor('http://127.0.0.1:1'),
      client_secret: undefined,
      client_secret_file: join(dir, file),
    };
    const credential = readClientCredential(source);
    return credential.kind === 'secret' ? credential.secret.reveal() : credential.kind;
  };
  for (const file of ['plain', 'newline', 'crlf']) t.equal(read(file), clientSecret, file);
  t.equal(read('two'), `${clientSecret}\n`);
  t.throws(() => read('missing'), { code: 'config_invalid' });
});

t.test('a private key proves the client, as PEM and as JWK', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const dir = t.testdir({
    'key.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'key.jwk': JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'from-the-file' }),
    'public.pem': publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    garbage: 'no key',
  });
  for (const [file, kid] of [
    ['key.pem', 'given'],
    ['key.jwk', undefined],
  ] as const) {
    const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: kid ?? 'from-the-file', use: 'sig' }];
    const { client_id, redirect_uris } = opClient;
    const op = await startOp({
      clients: [
        { client_id, redirect_uris, token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: keys } },
      ],
      alg: 'ES256',
    });
    const private_key_jwt = { key_file: join(dir, file), kid, alg: undefined };
    const { provider } = rig(t, { ...sourceFor(op.issuer), client_secret: undefined, private_key_jwt });
    t.equal(await faultOf(() => signIn(provider)), 'no fault', file);
    t.ok(op.requests.find(({ endpoint }) => endpoint === 'token')?.params['client_assertion']);
    await op.stop();
  }
  for (const file of ['public.pem', 'garbage', 'missing']) {
    const private_key_jwt = { key_file: join(dir, file), kid: undefined, alg: undefined };
    t.throws(
      () => readClientCredential({ ...sourceFor('http://127.0.0.1:1'), private_key_jwt }),
      { code: 'config_invalid' },
      file,
    );
  }
});

t.test('every kind of private key has its algorithm, and an unfit one is refused', async (t) => {
  const rows: [string, ReturnType<typeof generateKeyPairSync>, string | undefined][] = [
    ['rsa', generateKeyPairSync('rsa', { modulusLength: 2048 }), 'RS256'],
    ['p256', generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ES256'],
    ['p384', generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'ES384'],
    ['ed25519', generateKeyPairSync('ed25519'), 'EdDSA'],
    ['x25519', generateKeyPairSync('x25519'), undefined],
  ];
  for (const [name, { privateKey }, alg] of rows) {
    const dir = t.testdir({});
    const key_file = join(dir, name);
    writeFileSync(key_file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const read = () =>
      readClientCredential({
        ...sourceFor('http://127.0.0.1:1'),
        private_key_jwt: { key_file, kid: undefined, alg: undefined },
      });
    if (alg === undefined) t.throws(read, { code: 'config_invalid' }, name);
    else t.match(read(), { kind: 'key', alg }, name);
  }
});

t.test('a bogus code tells a wrong secret from a right one', async (t) => {
  for (const method of ['client_secret_basic', 'client_secret_post'] as const) {
    const op = await startOp({
      clients: [{ ...opClient, token_endpoint_auth_method: method }],
      alg: 'ES256',
    });
    t.teardown(() => op.stop());
    op.metadataOverride = { token_endpoint_auth_methods_supported: [method] };
    const probe = async (more: Partial<ReturnType<typeof sourceFor>>) => {
      const source = { ...sourceFor(op.issuer), ...more };
      const idpFetch = createIdpFetch(source, silentMeter);
      t.teardown(() => idpFetch.close());
      const client = createIdpClient(source, readClientCredential(source), idpFetch);
      return probeClient(client, await client.discover(), redirectUri);
    };
    const { Secret } = await import('../../src/kernel/secret.ts');
    t.same(await probe({}), { result: 'accepted' }, method);
    t.match(
      await probe({ client_secret: new Secret('wrong') }),
      { result: 'invalid_client', message: /invalid_client/ },
      method,
    );
    t.match(await probe({ client_id: 'nobody' }), { result: 'invalid_client' }, method);
    op.fault = (endpoint) => (endpoint === 'token' ? { kind: 'reset' } : undefined);
    t.match(await probe({}), { result: 'unclear' }, method);
    op.fault = (endpoint) =>
      endpoint === 'token' ? { kind: 'status', status: 400, body: '{"error":"invalid_request"}' } : undefined;
    t.match(await probe({}), { result: 'unclear', message: /invalid_request/ }, method);
    op.fault = undefined;
  }
});

t.test('a wrong secret at a sign-in is the IdP’s refusal of us, with no secret in the fault', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256', par: 'off' });
  t.teardown(() => op.stop());
  const { Secret } = await import('../../src/kernel/secret.ts');
  const { provider } = rig(t, { ...sourceFor(op.issuer), client_secret: new Secret('wrong-and-telling') });
  const error: unknown = await signIn(provider).catch((reason: unknown) => reason);
  t.match(error, { code: 'idp_unavailable', detail: 'client_refused' });
  const { inspect } = await import('node:util');
  t.notMatch(inspect(error, { depth: 10, showHidden: false }), /wrong-and-telling/);
  t.equal(provider.status().available, true, 'the IdP is up: it is the client that is wrong');
});
