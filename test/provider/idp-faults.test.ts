import t from 'tap';
import { startOp } from '../support/op.ts';
import type { Fault, OpEndpoint } from '../support/op.ts';
import {
  authorizationRequest,
  exchangeOf,
  faultOf,
  opClient,
  rig,
  signIn,
  sourceFor,
  until,
  visit,
} from './setup.ts';

const mebibyte = 1024 * 1024;

t.test('a token endpoint that answers with anything but a small JSON document is refused', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: 'never' }));
  const rows: [string, Fault, string][] = [
    ['64 MiB', { kind: 'huge', bytes: 64 * mebibyte }, 'too_large'],
    ['a gzip bomb of 64 MiB', { kind: 'gzipBomb', bytes: 64 * mebibyte }, 'too_large'],
    ['a redirect to itself', { kind: 'redirect', location: `${op.issuer}/token` }, 'redirected'],
    [
      'a redirect elsewhere that keeps the secret-bearing POST',
      { kind: 'redirect', location: 'http://127.0.0.1:9/', status: 308 },
      'redirected',
    ],
    ['HTML', { kind: 'contentType', value: 'text/html' }, 'content_type'],
    ['no content type', { kind: 'contentType', value: '' }, 'content_type'],
    ['JSON cut short', { kind: 'invalidJson' }, 'not_json'],
    ['a JSON list', { kind: 'status', status: 200, body: '[]' }, 'answer_malformed'],
    [
      'an access token that is no string',
      { kind: 'status', status: 200, body: '{"access_token":1,"token_type":"bearer"}' },
      'token_endpoint_refused',
    ],
    ['a reset', { kind: 'reset' }, 'connection'],
    ['an internal error', { kind: 'status', status: 500, body: 'oops', contentType: 'text/plain' }, 'status'],
    [
      'a refusal in HTML',
      { kind: 'status', status: 403, body: '<html>', contentType: 'text/html' },
      'token_endpoint_refused',
    ],
    [
      'another OAuth error',
      { kind: 'status', status: 400, body: '{"error":"temporarily_unavailable"}' },
      'token_endpoint_refused',
    ],
    [
      'a client that is not known',
      { kind: 'status', status: 401, body: '{"error":"invalid_client"}' },
      'client_refused',
    ],
  ];
  for (const [title, fault, detail] of rows) {
    const callback = await visit(provider);
    op.fault = (endpoint) => (endpoint === 'token' ? fault : undefined);
    t.equal(await faultOf(provider.exchange(exchangeOf(callback))), `idp_unavailable ${detail}`, title);
    op.fault = undefined;
  }
  t.equal(await faultOf(() => signIn(provider)), 'no fault', 'and the next sign-in works');
});

t.test('a redirecting token endpoint is not followed: the secret goes nowhere else', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  const elsewhere = await startOp({ clients: [opClient] });
  t.teardown(() => Promise.all([op.stop(), elsewhere.stop()]));
  const { provider } = rig(t, sourceFor(op.issuer));
  op.fault = (endpoint) =>
    endpoint === 'token' ? { kind: 'redirect', location: `${elsewhere.issuer}/token` } : undefined;
  t.equal(await faultOf(() => signIn(provider)), 'idp_unavailable redirected');
  t.same(elsewhere.requests, []);
});

t.test('each endpoint is bounded in time, and counted as a timeout', async (t) => {
  const rows: [OpEndpoint, string][] = [
    ['discovery', 'discovery'],
    ['par', 'par'],
    ['token', 'token'],
    ['jwks', 'jwks'],
    ['userinfo', 'userinfo'],
  ];
  const faults = rows.map(async ([endpoint, label]) => {
    const op = await startOp({ clients: [opClient], alg: 'ES256' });
    t.teardown(() => op.stop());
    op.fault = (at) => (at === endpoint ? { kind: 'hang' } : undefined);
    const source = sourceFor(op.issuer, { claims_source: 'userinfo' });
    const { provider, idpRequests } = rig(t, source, { limits: { timeoutMs: 2000 } });
    t.equal(await faultOf(() => signIn(provider)), 'idp_unavailable timeout', endpoint);
    t.equal(idpRequests.at(-1), `${label} timeout`);
  });
  await Promise.all(faults);
});

t.test('an answer that drips is cut off when the time is over', async (t) => {
  const { createServer } = await import('node:http');
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const { provider } = rig(t, sourceFor(`http://127.0.0.1:${port}`), { limits: { timeoutMs: 300 } });
  t.equal(await faultOf(provider.authorizationUrl(authorizationRequest())), 'idp_unavailable timeout');
});

t.test('JWKS and userinfo that are too large or of another type are refused', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  for (const endpoint of ['jwks', 'userinfo'] as const) {
    for (const [fault, detail] of [
      [{ kind: 'huge', bytes: 8 * mebibyte }, 'too_large'],
      [{ kind: 'gzipBomb', bytes: 8 * mebibyte }, 'too_large'],
      [{ kind: 'redirect', location: '/' }, 'redirected'],
      [{ kind: 'contentType', value: 'text/plain' }, 'content_type'],
      [{ kind: 'invalidJson' }, 'not_json'],
    ] as const) {
      op.fault = (at) => (at === endpoint ? fault : undefined);
      const { provider } = rig(t, sourceFor(op.issuer, { claims_source: 'userinfo' }));
      t.equal(
        await faultOf(() => signIn(provider)),
        `idp_unavailable ${detail}`,
        `${endpoint}: ${fault.kind}`,
      );
    }
  }
});

t.test('an answer just under the bound passes, compressed or not', async (t) => {
  const op = await startOp({ clients: [opClient], alg: 'ES256' });
  t.teardown(() => op.stop());
  const { provider } = rig(t, sourceFor(op.issuer));
  op.tamperTokenResponse = (body) => ({ ...body, padding: 'A'.repeat(mebibyte - 8192) });
  t.equal(await faultOf(() => signIn(provider)), 'no fault');
  const { gzipSync } = await import('node:zlib');
  op.tamperTokenResponse = undefined;
  const real = rig(t, sourceFor(op.issuer));
  const { createServer } = await import('node:http');
  const jwks = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    const { publicKey, kid } = op.signingKey();
    response.end(gzipSync(JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid }] })));
  });
  await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    jwks.closeAllConnections();
    jwks.close();
  });
  op.metadataOverride = { jwks_uri: `http://127.0.0.1:${(jwks.address() as { port: number }).port}/` };
  t.equal(await faultOf(() => signIn(real.provider)), 'no fault', 'gzip though nobody asked for it');
});

t.test(
  'an IdP that goes down after its discovery is shown as unavailable, and recovers by itself',
  async (t) => {
    const op = await startOp({ clients: [opClient], alg: 'ES256' });
    t.teardown(() => op.stop());
    const { provider, warnings } = rig(t, sourceFor(op.issuer, { pushed_authorization_requests: 'never' }), {
      limits: { firstRetryMs: 20, maxRetryMs: 50 },
    });
    await provider.start();
    t.equal(provider.status().available, true);
    const callback = await visit(provider);
    await op.stop();
    t.equal(await faultOf(provider.exchange(exchangeOf(callback))), 'idp_unavailable connection');
    t.equal(provider.status().available, false);
    t.match(provider.status().cause, /ECONNREFUSED/);
    t.match(warnings[0]?.fields, { auth_source: 'test', detail: 'connection' });
    await op.restart();
    await until(() => provider.status().available);
    t.equal(await faultOf(() => signIn(provider)), 'no fault');
  },
);
