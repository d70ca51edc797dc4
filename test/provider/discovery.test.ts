import t from 'tap';
import { createDiscovery } from '../../src/provider/discovery.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { startOp } from '../support/op.ts';
import { authorizationRequest, faultOf, opClient, rig, signIn, sourceFor, until } from './setup.ts';

const quick = { limits: { firstRetryMs: 20, maxRetryMs: 40 } };

t.test('an IdP that is down at the start is retried in the background until it is up', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  await op.stop();
  const { provider, warnings, idpRequests } = rig(t, sourceFor(op.issuer), quick);
  t.equal(provider.status().available, false);
  await provider.start();
  t.match(provider.status(), { available: false, cause: /ECONNREFUSED/ });
  t.equal(await faultOf(provider.authorizationUrl(authorizationRequest())), 'idp_unavailable connection');
  await until(() => idpRequests.length >= 4);
  t.equal(warnings.length, 1, 'one warning an outage, not one a retry');
  await op.restart();
  await until(() => provider.status().available);
  t.equal(provider.status().cause, undefined);
  t.equal(await faultOf(() => signIn(provider)), 'no fault');
});

t.test('a source that is down stops no other', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const down = rig(t, sourceFor('http://127.0.0.1:1'), quick);
  const up = rig(t, sourceFor(op.issuer));
  await Promise.all([down.provider.start(), up.provider.start()]);
  t.same([down.provider.status().available, up.provider.status().available], [false, true]);
});

t.test('a sign-in does not wait for the next retry: it tries at once', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  t.ok(await provider.authorizationUrl(authorizationRequest()), 'never started');
});

t.test('a discovery document that is not this issuer’s, or unusable, is refused', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const rows: [string, Record<string, unknown>, string][] = [
    ['another issuer', { issuer: 'https://evil.example.com' }, 'issuer_mismatch'],
    ['the issuer with a slash more', { issuer: `${op.issuer}/` }, 'issuer_mismatch'],
    ['the issuer in another case', { issuer: op.issuer.replace('http', 'HTTP') }, 'issuer_mismatch'],
    ['no issuer', { issuer: undefined }, 'metadata_unusable'],
    ['no token endpoint', { token_endpoint: undefined }, 'metadata_unusable'],
    ['an authorization endpoint that is no URL', { authorization_endpoint: '/auth' }, 'metadata_unusable'],
    ['no jwks_uri', { jwks_uri: undefined }, 'metadata_unusable'],
    [
      'a token endpoint over plain http elsewhere',
      { token_endpoint: 'http://idp.example.com/token' },
      'insecure_url',
    ],
    [
      'an authorization endpoint that is script',
      { authorization_endpoint: 'javascript:alert(1)' },
      'insecure_url',
    ],
    [
      'a logout endpoint over plain http elsewhere',
      { end_session_endpoint: 'http://idp.example.com/' },
      'insecure_url',
    ],
    ['no code flow', { response_types_supported: ['id_token'] }, 'metadata_unusable'],
    ['algorithms that are no list', { id_token_signing_alg_values_supported: 'RS256' }, 'metadata_unusable'],
  ];
  for (const [title, metadata, detail] of rows) {
    op.metadataOverride = metadata;
    const { provider } = rig(t, sourceFor(op.issuer));
    t.equal(
      await faultOf(provider.authorizationUrl(authorizationRequest())),
      `idp_unavailable ${detail}`,
      title,
    );
    await provider.close();
  }
});

t.test('discovery faults of the network are refused too', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  for (const [fault, detail] of [
    [{ kind: 'huge', bytes: 4_000_000 }, 'too_large'],
    [
      { kind: 'redirect', location: 'https://evil.example.com/.well-known/openid-configuration' },
      'redirected',
    ],
    [{ kind: 'contentType', value: 'text/html' }, 'content_type'],
    [{ kind: 'invalidJson' }, 'not_json'],
    [{ kind: 'status', status: 404 }, 'metadata_unusable'],
    [{ kind: 'status', status: 502 }, 'status'],
  ] as const) {
    op.fault = () => fault;
    const { provider } = rig(t, sourceFor(op.issuer));
    t.equal(
      await faultOf(provider.authorizationUrl(authorizationRequest())),
      `idp_unavailable ${detail}`,
      fault.kind,
    );
    await provider.close();
  }
});

t.test('an issuer over plain http elsewhere is a fault of the configuration', async (t) => {
  for (const issuer of ['http://idp.example.com', 'http://127.0.0.1.example.com', 'ftp://127.0.0.1', 'idp']) {
    t.throws(() => rig(t, sourceFor(issuer)), { code: 'config_invalid' }, issuer);
  }
});

t.test('what the source asks for and the IdP does not list is said in the log', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256', par: 'off' });
  t.teardown(() => op.stop());
  op.metadataOverride = { code_challenge_methods_supported: ['plain'] };
  const { provider, warnings } = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: 'always' }));
  await provider.start();
  t.match(
    warnings.map(({ fields }) => String(fields['doubt'])),
    [/S256/, /always/],
  );
});

t.test(
  'a crowd during an outage shares attempts, and is answered at once right after a failure',
  async (t) => {
    let nowMs = 1_000_000;
    let attempts = 0;
    const { idpUnavailable } = await import('../../src/provider/idp-fault.ts');
    const discovery = createDiscovery(
      'test',
      async () => {
        attempts += 1;
        throw idpUnavailable('timeout', 'slow');
      },
      {
        clock: { nowMs: () => nowMs },
        randomness: systemRandomness,
        meter: silentMeter,
        logWarning: () => undefined,
        onChange: () => undefined,
      },
    );
    t.teardown(() => discovery.close());
    await Promise.all(Array.from({ length: 20 }, () => faultOf(discovery.metadata())));
    t.equal(attempts, 1);
    t.equal(await faultOf(discovery.metadata()), 'idp_unavailable timeout');
    t.equal(attempts, 1);
    nowMs += 1000;
    await faultOf(discovery.metadata());
    t.equal(attempts, 2);
    discovery.close();
    t.equal(await faultOf(discovery.metadata()), 'idp_unavailable closed');
  },
);

t.test('a document is fetched again after its time, and a failure then keeps the old one', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: 'never' }), {
    limits: { refreshMs: 10, firstRetryMs: 20, maxRetryMs: 40 },
  });
  await provider.start();
  await until(() => op.count('discovery') >= 3);
  op.metadataOverride = { authorization_endpoint: `${op.issuer}/moved` };
  const movedAt = op.count('discovery');
  await until(() => op.count('discovery') >= movedAt + 2);
  t.match((await provider.authorizationUrl(authorizationRequest())).href, /\/moved\?/);
  await op.stop();
  await until(() => !provider.status().available);
  t.match((await provider.authorizationUrl(authorizationRequest())).href, /\/moved\?/);
});
