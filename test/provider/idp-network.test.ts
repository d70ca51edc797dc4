import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { authorizationRequest, faultOf, rig, sourceFor } from './setup.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/idp-tls/${name}`, import.meta.url));
type Teardown = { teardown: (close: () => unknown) => unknown };
const caFile = fixture('ca.pem');

async function listen(t: Teardown, server: Server, host = '127.0.0.1'): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.teardown(() => {
    (server as { closeAllConnections?: () => void }).closeAllConnections?.();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** An IdP over TLS, as far as its discovery document. */
async function startTlsIdp(
  t: Teardown,
  name: string,
  host = '127.0.0.1',
): Promise<{ issuer: string; port: number }> {
  const at = { issuer: '', port: 0 };
  const server = createHttpsServer(
    { key: readFileSync(fixture('key.pem')), cert: readFileSync(fixture('cert.pem')) },
    (_request, response) => {
      response.setHeader('content-type', 'application/json');
      const endpoint = (path: string) => `${at.issuer}/${path}`;
      response.end(
        JSON.stringify({
          issuer: at.issuer,
          authorization_endpoint: endpoint('auth'),
          token_endpoint: endpoint('token'),
          jwks_uri: endpoint('jwks'),
        }),
      );
    },
  );
  at.port = await listen(t, server, host);
  at.issuer = `https://${name}:${at.port}`;
  return at;
}

t.test('a private authority is trusted through ca_file, and through nothing else', async (t) => {
  const idp = await startTlsIdp(t, '127.0.0.1');
  const trusting = rig(t, sourceFor(idp.issuer, { tls: { ca_file: caFile } })).provider;
  t.equal(await faultOf(trusting.authorizationUrl(authorizationRequest())), 'no fault');
  const plain = rig(t, sourceFor(idp.issuer)).provider;
  t.equal(await faultOf(plain.authorizationUrl(authorizationRequest())), 'idp_unavailable connection');
  t.match(plain.status().cause, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED/);
  t.throws(() => rig(t, sourceFor(idp.issuer, { tls: { ca_file: `${caFile}.missing` } })), {
    code: 'config_invalid',
  });
});

t.test('a certificate for another name is refused', async (t) => {
  const idp = await startTlsIdp(t, '127.0.0.2', '127.0.0.2');
  const { provider } = rig(t, sourceFor(idp.issuer, { tls: { ca_file: caFile } }));
  t.equal(await faultOf(provider.authorizationUrl(authorizationRequest())), 'idp_unavailable connection');
  t.match(provider.status().cause, /ALTNAME/);
});

t.test('an https issuer’s endpoint over plain http is refused, on this machine too', async (t) => {
  const { createIdpFetch } = await import('../../src/provider/idp-fetch.ts');
  const { silentMeter } = await import('../../src/kernel/meter.ts');
  const idpFetch = createIdpFetch(sourceFor('https://idp.example.com'), silentMeter);
  t.teardown(() => idpFetch.close());
  for (const url of [
    'http://127.0.0.1:9/token',
    'http://idp.example.com/token',
    'file:///etc/passwd',
    'token',
    '',
  ]) {
    t.equal(await faultOf(idpFetch.fetch('token', url)), 'idp_unavailable insecure_url', url);
  }
});

t.test('an issuer on this machine may use plain http here, and nowhere else', async (t) => {
  const { createIdpFetch } = await import('../../src/provider/idp-fetch.ts');
  const { silentMeter } = await import('../../src/kernel/meter.ts');
  const idpFetch = createIdpFetch(sourceFor('http://127.0.0.1:1'), silentMeter);
  t.teardown(() => idpFetch.close());
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.1.2.3']) {
    t.equal(await faultOf(idpFetch.fetch('token', `http://${host}:1/`)), 'idp_unavailable connection', host);
  }
  for (const host of [
    'idp.example.com',
    '127.0.0.1.example.com',
    'localhost.example.com',
    '10.0.0.1',
    '0.0.0.0',
  ]) {
    t.equal(
      await faultOf(idpFetch.fetch('token', `http://${host}:1/`)),
      'idp_unavailable insecure_url',
      host,
    );
  }
});

t.test('with an outbound proxy every request goes through it, the name unresolved', async (t) => {
  const idp = await startTlsIdp(t, 'idp.example.com');
  const asked: string[] = [];
  const proxy = createHttpServer((_request, response) => response.writeHead(500).end());
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '');
    const upstream = connect(idp.port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    for (const end of [upstream, socket]) {
      end.on('error', () => {
        upstream.destroy();
        socket.destroy();
      });
    }
  });
  const proxyPort = await listen(t, proxy);
  const more = { tls: { ca_file: caFile }, proxy: `http://127.0.0.1:${proxyPort}` };
  const { provider } = rig(t, sourceFor(idp.issuer, more));
  t.equal(await faultOf(provider.authorizationUrl(authorizationRequest())), 'no fault');
  t.same(asked, [`idp.example.com:${idp.port}`]);
  const down = rig(t, sourceFor(idp.issuer, { ...more, proxy: 'http://127.0.0.1:1' })).provider;
  t.equal(
    await faultOf(down.authorizationUrl(authorizationRequest())),
    'idp_unavailable connection',
    'never past the proxy',
  );
});
