import { copyFileSync } from 'node:fs';
import { once } from 'node:events';
import { METHODS } from 'node:http';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { RawClient, exchange, headerOf } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { until } from '../support/until.ts';
import { startHarness, temporaryDirectory } from './harness.ts';

const host = 'Host: forge.example.com\r\n';
const routes = [{ name: 'open', path: '/**', access: 'public' as const }];
const ok = 'HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-App: 1\r\n\r\nok';
const tls = (name: string): string => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));

t.test('a signed-in request reaches the upstream with identity and without our cookie', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({ upstream: upstream.url });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = await harness.signIn();
  const answer = await exchange(
    harness.port,
    `GET /a%2Fb//c?x=1 HTTP/1.1\r\n${host}Cookie: ${cookie}; app=1\r\n\r\n`,
  );
  t.equal(answer.statusLine, 'HTTP/1.1 200 Fine');
  t.equal(answer.body.toString(), 'ok');
  t.equal(headerOf(answer, 'x-app'), '1');
  const [seen] = upstream.seen;
  t.equal(seen?.line, 'GET /a%2Fb//c?x=1 HTTP/1.1', 'byte for byte');
  t.equal(headerOf(seen!, 'cookie'), 'app=1');
  t.equal(headerOf(seen!, 'x-forwarded-user'), 'zoe');
});

t.test("every method of Node's passes with and without a body, but CONNECT and TRACE", async (t) => {
  const upstream = await startRawUpstream(({ socket, line }) => {
    socket.write(line.startsWith('HEAD ') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n' : ok);
  });
  const harness = await startHarness({ upstream: upstream.url, routes });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  for (const method of METHODS) {
    const passes = method !== 'CONNECT' && method !== 'TRACE';
    for (const body of [
      '',
      'Content-Length: 3\r\n\r\nabc',
      'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ]) {
      if (!passes && body !== '') continue;
      const before = upstream.seen.length;
      const answer = await exchange(
        harness.port,
        `${method} /x HTTP/1.1\r\n${host}${body === '' ? '\r\n' : body}`,
        method,
      );
      t.equal(answer.status, passes ? 200 : 405, method);
      if (!passes) continue;
      await until(
        () => upstream.seen.length > before && upstream.seen.at(-1)!.body.length === (body === '' ? 0 : 3),
        method,
      );
      t.equal(upstream.seen.at(-1)?.line, `${method} /x HTTP/1.1`);
    }
  }
  // HEAD, and bodies of unusual methods, would each cost a connection if undici had its way.
  t.ok(upstream.connections <= 6, `${upstream.connections} connections`);
});

t.test('TLS: a new certificate is taken up, and open connections stay', async (t) => {
  const directory = temporaryDirectory((fn) => t.teardown(fn));
  const cert_file = join(directory, 'cert.pem');
  const key_file = join(directory, 'key.pem');
  copyFileSync(tls('app.pem'), cert_file);
  copyFileSync(tls('app.key'), key_file);
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  const harness = await startHarness({
    upstream: upstream.url,
    routes,
    server: { tls: { cert_file, key_file } },
  });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const open = async (options: object = {}): Promise<TLSSocket> => {
    const socket = connect({ port: harness.port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    socket.on('error', () => undefined);
    await new Promise<void>((resolve) => {
      socket.once('secureConnect', resolve).once('close', () => resolve());
    });
    return socket;
  };
  const ask = async (socket: TLSSocket): Promise<string> => {
    socket.write(`GET /x HTTP/1.1\r\n${host}\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString('latin1', 9, 12);
  };
  const first = await open();
  t.equal(first.getPeerCertificate().subject.CN, 'app.internal');
  t.equal(await ask(first), '200');
  t.equal(headerOf(upstream.seen.at(-1)!, 'x-forwarded-proto'), 'https');

  copyFileSync(tls('other.pem'), cert_file);
  await until(() => harness.warnings.length > 0, 'half a pair is noticed');
  copyFileSync(tls('other.key'), key_file);
  let fresh = await open();
  await until(async () => {
    fresh.destroy();
    fresh = await open();
    return fresh.getPeerCertificate().subject.CN === 'other.internal';
  }, 'the new certificate');
  t.equal(await ask(fresh), '200');
  t.equal(await ask(first), '200', 'the old connection serves on');
  const old = await open({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
  t.ok(old.destroyed, 'TLS 1.1 is refused');
  for (const socket of [first, fresh, old]) socket.destroy();
});

t.test('closing lets requests finish, ends WebSockets, and ends itself', async (t) => {
  let finish: () => void = () => undefined;
  const upstream = await startRawUpstream(
    ({ socket }) =>
      new Promise((resolve) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc');
        finish = () => {
          socket.write('def');
          resolve();
        };
      }),
  );
  const harness = await startHarness({ upstream: upstream.url, routes });
  t.teardown(() => upstream.close());
  const running = new RawClient(harness.port).send(`GET /x HTTP/1.1\r\n${host}\r\n`);
  const idle = new RawClient(harness.port);
  await running.until(() => running.buffered.includes('abc'));
  const closed = harness.close();
  await idle.until(() => idle.closed !== 'open');
  finish();
  const answer = await running.response();
  t.match(answer, { status: 200, complete: true });
  t.equal(answer.body.toString(), 'abcdef');
  await closed;
  t.pass('closed');
  running.close();
});

t.test('closing does not wait longer than the grace', async (t) => {
  const upstream = await startRawUpstream(() => new Promise(() => undefined));
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(sockets, 'listening');
  const { port } = sockets.address() as { port: number };
  const stuck = await startHarness({ upstream: upstream.url, routes, server: { shutdown_grace: '200ms' } });
  const tunnel = await startHarness({ upstream: `http://127.0.0.1:${port}`, routes });
  t.teardown(async () => {
    sockets.close();
    await upstream.close();
  });
  const waiting = new RawClient(stuck.port).send(`GET /x HTTP/1.1\r\n${host}\r\n`);
  await until(() => upstream.seen.length === 1, 'it went up');
  await stuck.close();
  t.equal((await waiting.response()).complete, false);

  const socket = new WebSocket(`ws://127.0.0.1:${tunnel.port}/`, {
    headers: { host: 'forge.example.com', origin: 'https://forge.example.com' },
  });
  socket.on('error', () => undefined);
  await once(socket, 'open');
  const gone = once(socket, 'close');
  await tunnel.close();
  await gone;
  t.pass('the WebSocket was ended');
});
