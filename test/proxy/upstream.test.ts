import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { kindOfError, isSafeToRetry } from '../../src/proxy/upstream.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { freePort } from '../support/ports.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { startHarness, temporaryDirectory } from './harness.ts';

const routes = [{ name: 'open', path: '/**', access: 'public' as const }];
const get = 'GET /x HTTP/1.1\r\nHost: forge.example.com\r\n\r\n';
const tls = (name: string): string => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));

t.test('an upstream on a Unix socket', async (t) => {
  const path = join(
    temporaryDirectory((fn) => t.teardown(fn)),
    'app.sock',
  );
  const upstream = await startRawUpstream(
    ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    { path },
  );
  const harness = await startHarness({ upstream: `unix:${path}`, routes });
  const unnamed = await startHarness({ upstream: { url: `unix:${path}`, pass_host: false }, routes });
  t.teardown(async () => {
    await harness.close();
    await unnamed.close();
    await upstream.close();
  });
  t.equal((await exchange(harness.port, get)).body.toString(), 'ok');
  t.equal(headerOf(upstream.seen.at(-1)!, 'host'), 'forge.example.com');
  t.equal((await exchange(unnamed.port, get)).status, 200);
  t.equal(headerOf(upstream.seen.at(-1)!, 'host'), 'localhost');
});

t.test("an upstream's certificate is verified, against its own name", async (t) => {
  let presented: string | undefined;
  const start = async (name: string): Promise<string> => {
    const server = createServer(
      {
        cert: readFileSync(tls(`${name}.pem`)),
        key: readFileSync(tls(`${name}.key`)),
        ca: readFileSync(tls('ca.pem')),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        // Without a certificate the object is empty, whatever its type says.
        const shown: { subject?: { CN?: string | string[] } } =
          request.socket instanceof TLSSocket ? request.socket.getPeerCertificate() : {};
        presented = shown.subject?.CN?.toString();
        response.end(request.headers.host);
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const good = await start('app');
  const other = await start('other');
  const kinds: string[] = [];
  const ask = async (upstream: { url: string; tls?: Record<string, string> }): Promise<[number, string]> => {
    const harness = await startHarness({
      upstream,
      routes,
      meter: { upstreamError: (kind) => kinds.push(kind) },
    });
    const answer = await exchange(harness.port, get);
    await harness.close();
    return [answer.status, answer.body.toString()];
  };
  const ca_file = tls('ca.pem');
  t.strictSame(
    await ask({ url: good, tls: { ca_file } }),
    [200, 'forge.example.com'],
    'by address, and the Host is ours to pass',
  );
  t.strictSame(await ask({ url: good, tls: { ca_file, server_name: 'app.internal' } }), [
    200,
    'forge.example.com',
  ]);
  t.equal(presented, undefined);
  t.strictSame(
    await ask({
      url: good,
      tls: { ca_file, client_cert_file: tls('other.pem'), client_key_file: tls('other.key') },
    }),
    [200, 'forge.example.com'],
  );
  t.equal(presented, 'other.internal', 'a client certificate is shown');
  const refused = [502, JSON.stringify({ error: 'upstream_untrusted' })];
  t.strictSame(await ask({ url: good }), refused, 'an unknown CA');
  t.strictSame(await ask({ url: other, tls: { ca_file } }), refused, 'a certificate of another name');
  t.strictSame(
    await ask({ url: good, tls: { ca_file, server_name: 'forge.example.com' } }),
    refused,
    'not of the name asked for',
  );
  t.strictSame(kinds, ['tls', 'tls', 'tls']);
});

t.test('an upstream that is not there: 502, no address shown', async (t) => {
  const directory = temporaryDirectory((fn) => t.teardown(fn));
  for (const url of [`http://127.0.0.1:${await freePort()}`, `unix:${directory}/none.sock`]) {
    const kinds: string[] = [];
    const harness = await startHarness({
      upstream: url,
      routes,
      meter: { upstreamError: (kind) => kinds.push(kind) },
    });
    for (const request of [
      get,
      'POST /x HTTP/1.1\r\nHost: forge.example.com\r\nContent-Length: 3\r\n\r\nabc',
    ]) {
      const answer = await exchange(harness.port, request);
      t.equal(answer.status, 502);
      t.notMatch(JSON.stringify([answer.headers, answer.body.toString()]), /127\.0\.0\.1|sock|ECONN|ENOENT/);
    }
    t.strictSame(kinds, ['refused', 'refused']);
    t.equal(harness.entries.length, 2);
    await harness.close();
  }
});

t.test('what an upstream says that is no HTTP is a 502', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.end('SSH-2.0-OpenSSH_9.2\r\n\r\n'));
  const harness = await startHarness({ upstream: upstream.url, routes });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  t.equal((await exchange(harness.port, get)).status, 502);
});

t.test('what may be tried again', async (t) => {
  const coded = (code: string, more: object = {}): Error => Object.assign(new Error(code), { code, ...more });
  const reused = coded('UND_ERR_SOCKET', { socket: { bytesRead: 10 } });
  const fresh = coded('UND_ERR_SOCKET', { socket: { bytesRead: 0 } });
  const rows: [string, boolean, Error, boolean, boolean, boolean][] = [
    ['GET', false, reused, true, false, true],
    ['GET', false, fresh, true, false, false],
    ['GET', false, reused, true, true, false],
    ['GET', true, reused, true, false, false],
    ['POST', false, reused, true, false, false],
    ['LOCK', false, reused, true, false, false],
    ['DELETE', false, reused, true, false, true],
    ['GET', false, coded('ECONNREFUSED'), false, false, true],
    ['POST', false, coded('ECONNREFUSED'), false, false, false],
    ['GET', false, coded('UND_ERR_HEADERS_TIMEOUT'), true, false, false],
    ['GET', false, coded('UND_ERR_CONNECT_TIMEOUT'), false, false, false],
  ];
  for (const [method, body, error, sent, begun, expected] of rows) {
    t.equal(isSafeToRetry(method, body, error, sent, begun), expected, `${method} ${error.message}`);
  }
  t.equal(kindOfError(coded('DEPTH_ZERO_SELF_SIGNED_CERT')), 'tls');
  t.equal(kindOfError(coded('ERR_TLS_CERT_ALTNAME_INVALID')), 'tls');
  t.equal(kindOfError(coded('HPE_INVALID_CONSTANT')), 'other');
  t.equal(kindOfError('no error'), 'other');
});
