import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { until } from '../support/until.ts';
import { RawClient, exchange, headerOf } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { startHarness } from './harness.ts';

const upgrade = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;
const origin = 'Origin: https://forge.example.com\r\n';
/** From Node 24.9 on a server can say which upgrades it wants, and ours wants WebSockets: any other is an ordinary request there. */
const othersAreOrdinary = 'shouldUpgradeCallback' in createServer();

async function startEcho() {
  const server = createServer();
  const sockets = new WebSocketServer({
    server,
    handleProtocols: (protocols) => [...protocols][1] ?? false,
    perMessageDeflate: { threshold: 0 },
  });
  sockets.on('connection', (socket, request) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.send(
      JSON.stringify({
        url: request.url,
        user: request.headers['x-forwarded-user'],
        cookie: request.headers.cookie,
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    close: async () => {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

t.test('messages pass both ways, with subprotocol and compression, and the session is known', async (t) => {
  const echo = await startEcho();
  const harness = await startHarness({ upstream: echo.url });
  t.teardown(async () => {
    await harness.close();
    await echo.close();
  });
  const cookie = await harness.signIn();
  const client = new WebSocket(`ws://127.0.0.1:${harness.port}/events?x=%2F`, ['a', 'b'], {
    headers: { host: harness.host, cookie: `${cookie}; app=1`, origin: 'https://forge.example.com' },
  });
  const [hello] = (await once(client, 'message')) as [Buffer];
  t.same(JSON.parse(hello.toString()), { url: '/events?x=%2F', user: 'zoe', cookie: 'app=1' });
  t.equal(client.protocol, 'b');
  t.match(client.extensions, 'permessage-deflate');
  const big = Buffer.alloc(3_000_000, 'x');
  client.send(big);
  const [back] = (await once(client, 'message')) as [Buffer];
  t.ok(back.equals(big));
  t.equal(harness.app.upgradedSockets.size, 1);
  t.match(harness.entries.at(-1), { status: 101, route: 'default' });

  const closed = once(client, 'close');
  client.close(4001, 'bye');
  t.equal(((await closed) as [number])[0], 4001, 'the closing handshake passes');
  await until(
    () => harness.app.upgradedSockets.size === 0 && echo.sockets.clients.size === 0,
    'both ends gone',
  );
});

t.test('a session that ends takes its sockets along, and only its own', async (t) => {
  const echo = await startEcho();
  const harness = await startHarness({ upstream: echo.url });
  t.teardown(async () => {
    await harness.close();
    await echo.close();
  });
  const open = async (id: string): Promise<WebSocket> => {
    const cookie = await harness.signIn({ id });
    const client = new WebSocket(`ws://127.0.0.1:${harness.port}/`, {
      headers: { host: harness.host, cookie, origin: 'https://forge.example.com' },
    });
    client.on('error', () => undefined);
    await once(client, 'message');
    return client;
  };
  const first = await open('first');
  const second = await open('second');
  const gone = once(first, 'close');
  harness.app.upgradedSockets.closeSession('first');
  await gone;
  t.equal(second.readyState, WebSocket.OPEN);
  second.terminate();
});

t.test('the gate stands before every upgrade', async (t) => {
  const upstream = await startRawUpstream(
    ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  );
  const harness = await startHarness({ upstream: upstream.url });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = `Cookie: ${await harness.signIn()}\r\n`;
  const ask = (path: string, headers: string) =>
    exchange(harness.port, `GET ${path} HTTP/1.1\r\nHost: ${harness.host}\r\n${headers}${upgrade}\r\n`);
  const nobody = await ask('/', origin);
  t.equal(nobody.status, 401, 'no session');
  t.equal(headerOf(nobody, 'connection'), 'close', 'nobody reads requests from this connection any more');
  t.equal((await ask('/', `${cookie}Origin: https://evil.example\r\n`)).status, 403, 'a foreign origin');
  t.equal((await ask('/', cookie)).status, 403, 'no origin');
  for (const foreign of [
    'null',
    'http://forge.example.com',
    'https://forge.example.com:8443',
    'https://forge.example.com.evil.example',
    'https://sub.forge.example.com',
    'https://forge.example.com/',
    'https://forge.example.com\r\nOrigin: https://evil.example',
  ]) {
    t.equal((await ask('/', `${cookie}Origin: ${foreign}\r\n`)).status, 403, foreign);
  }
  t.equal((await ask('/denied/x', cookie + origin)).status, 403);
  t.equal((await ask('/_sallyport%2fx', cookie + origin)).status, 404);
  t.equal((await ask('/a/../b', cookie + origin)).status, 400);
  t.equal((await ask('/_sallyport/whoami', '')).status, 200, 'our own endpoints answer plainly');
  t.equal(
    (await exchange(harness.port, `GET / HTTP/1.1\r\nHost: evil.example\r\n${cookie}${origin}${upgrade}\r\n`))
      .status,
    421,
  );
  t.equal(upstream.seen.length, 0);
  const answer = await exchange(
    harness.port,
    `POST /x HTTP/1.1\r\nHost: ${harness.host}\r\n${cookie}Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc`,
  );
  if (othersAreOrdinary) {
    t.equal(answer.status, 200, 'an Upgrade that nobody wants is ignored (RFC 9110 section 7.8)');
    t.equal(String(upstream.seen.at(-1)?.body), 'abc', 'and its body is one');
    t.notOk(upstream.seen.at(-1)?.headers.some(([name]) => name.toLowerCase() === 'upgrade'));
  } else {
    t.equal(answer.status, 400, 'an upgrade with a body is ambiguous');
    t.equal(upstream.seen.length, 0);
  }
});

t.test('what the upstream answers instead is relayed', async (t) => {
  const upstream = await startRawUpstream(({ socket, path }) => {
    if (path === '/reset') socket.resetAndDestroy();
    else socket.write(`HTTP/1.1 ${path.slice(1)} Whatever\r\nX-App: 1\r\nContent-Length: 2\r\n\r\nno`);
  });
  const harness = await startHarness({ upstream: upstream.url });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = `Cookie: ${await harness.signIn()}\r\n`;
  for (const status of [200, 401, 404, 502, 503]) {
    const answer = await exchange(
      harness.port,
      `GET /${status} HTTP/1.1\r\nHost: ${harness.host}\r\n${cookie}${origin}${upgrade}\r\n`,
    );
    t.equal(answer.status, status);
    t.equal(answer.body.toString(), 'no');
    t.equal(headerOf(answer, 'x-app'), '1');
  }
  const reset = await exchange(
    harness.port,
    `GET /reset HTTP/1.1\r\nHost: ${harness.host}\r\n${cookie}${origin}${upgrade}\r\n`,
  );
  t.equal(reset.status, 502);
});

t.test('a flood meets back-pressure instead of our memory', async (t) => {
  let sent = 0;
  let stalled = false;
  const upstream = await startRawUpstream(({ socket }) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
    );
    const piece = Buffer.alloc(65_536);
    const flood = (): void => {
      while (sent < 200 * 1024 * 1024) {
        sent += piece.length;
        if (!socket.write(piece)) {
          stalled = true;
          socket.once('drain', () => {
            stalled = false;
            flood();
          });
          return;
        }
      }
    };
    flood();
    return new Promise(() => undefined);
  });
  const harness = await startHarness({ upstream: upstream.url });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = `Cookie: ${await harness.signIn()}\r\n`;
  const client = new RawClient(harness.port);
  client.send(`GET / HTTP/1.1\r\nHost: ${harness.host}\r\n${cookie}${origin}${upgrade}\r\n`);
  await client.until(() => client.buffered !== '');
  client.socket.pause();
  let last = -1;
  await until(async () => {
    const still = stalled && sent === last;
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return still;
  }, 'the upstream stalled');
  t.ok(sent < 40 * 1024 * 1024, `stalled after ${sent} bytes`);
  client.close();
  await until(() => harness.app.upgradedSockets.size === 0, 'the client gone');
});

for (const protocol of ['websocket', 'h2c']) {
  t.test(
    `an upgrade (${protocol}) pipelined behind an unanswered request does not end the process`,
    async (t) => {
      // Two requests in one write: Node hands over the second while the first still owns the connection's answer.
      let answer: (() => void) | undefined;
      const upstream = await startRawUpstream(async ({ socket }) => {
        await new Promise<void>((resolve) => (answer = resolve));
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
      const harness = await startHarness({ upstream: upstream.url });
      t.teardown(async () => {
        await harness.close();
        await upstream.close();
      });
      const cookie = await harness.signIn();
      const crashes: unknown[] = [];
      const note = (error: unknown): void => void crashes.push(error);
      process.on('uncaughtException', note);
      t.teardown(() => process.off('uncaughtException', note));
      const attacker = new RawClient(harness.port);
      attacker.socket.write(
        `GET /slow HTTP/1.1\r\nHost: ${harness.host}\r\nCookie: ${cookie}\r\n\r\n` +
          `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
      );
      if (protocol !== 'websocket' && othersAreOrdinary) {
        await until(() => answer !== undefined, 'the first is under way');
        answer?.();
        t.equal((await attacker.response()).status, 200);
        t.equal((await attacker.response()).status, 421, 'the second is a request like any other');
        attacker.close();
      } else {
        await until(() => attacker.closed !== 'open' || crashes.length > 0, 'the connection is cut');
        answer?.();
      }
      t.strictSame(crashes, []);
      const after = await exchange(
        harness.port,
        `GET /_sallyport/none HTTP/1.1\r\nHost: ${harness.host}\r\n\r\n`,
      );
      t.equal(after.status, 404, 'others are served');
    },
  );
}
