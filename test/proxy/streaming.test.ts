import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { RawClient, exchange, headerOf } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import type { RawAnswer } from '../support/upstream.ts';
import { until } from '../support/until.ts';
import { startHarness } from './harness.ts';
import type { HarnessOptions } from './harness.ts';

interface Teardown {
  teardown(fn: () => Promise<void>): void;
}

const host = 'Host: forge.example.com\r\n';
const routes = [{ name: 'open', path: '/**', access: 'public' as const }];

async function start(t: Teardown, answer: RawAnswer, options: Partial<HarnessOptions> = {}) {
  const upstream = await startRawUpstream(answer);
  const harness = await startHarness({ upstream: upstream.url, routes, ...options });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  return { upstream, harness };
}

t.test('server-sent events arrive as they are sent', async (t) => {
  let emit: (text: string) => void = () => undefined;
  const { harness } = await start(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    emit = (text) => void socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
    return new Promise(() => undefined);
  });
  const client = new RawClient(harness.port);
  client.send(`GET /events HTTP/1.1\r\n${host}Accept: text/event-stream\r\n\r\n`);
  await client.until(() => client.buffered.includes('\r\n\r\n'));
  t.match(client.buffered, 'text/event-stream', 'the head does not wait for the first event');
  for (const event of ['data: one\n\n', 'data: two\n\n']) {
    emit(event);
    await client.until(() => client.buffered.includes(event));
    t.pass(event);
  }
  client.close();
});

t.test('a client that leaves takes its request along', async (t) => {
  let closed = false;
  const { harness, upstream } = await start(t, ({ socket, path }) => {
    socket.on('close', () => (closed = true));
    if (path === '/begun') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
    return new Promise(() => undefined);
  });
  for (const path of ['/begun', '/waiting']) {
    closed = false;
    const before = upstream.seen.length;
    const client = new RawClient(harness.port).send(`GET ${path} HTTP/1.1\r\n${host}\r\n`);
    await until(() => upstream.seen.length > before, 'it went up');
    if (path === '/begun') await client.until(() => client.buffered.includes('abc'));
    client.close();
    await until(() => closed, 'the upstream connection closed');
    await until(() => harness.entries.at(-1)?.status === 499, 'it is logged');
    t.pass(path);
  }
});

t.test('the body of a refused request is never asked for', async (t) => {
  const { harness, upstream } = await start(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
    { routes: [] },
  );
  const head = `PUT /x HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n`;
  const refused = await exchange(harness.port, `${head}\r\n`, 'PUT');
  t.equal(refused.status, 401);
  t.strictSame(refused.interim, []);
  t.equal(headerOf(refused, 'connection'), 'close', 'what follows could be taken for the body');
  t.equal(upstream.seen.length, 0);

  const client = new RawClient(harness.port).send(`${head}Cookie: ${await harness.signIn()}\r\n\r\n`);
  await client.until(() => client.buffered.startsWith('HTTP/1.1 100 '));
  const answer = await client.send('hello').response('PUT');
  t.equal(answer.status, 200);
  t.equal(upstream.seen[0]?.body.toString(), 'hello');
  t.equal(headerOf(upstream.seen[0]!, 'expect'), undefined);
  client.close();
});

t.test('early hints are relayed', async (t) => {
  const { harness } = await start(t, ({ socket }) => {
    socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: a=1\r\n\r\n');
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  });
  const answer = await exchange(harness.port, `GET / HTTP/1.1\r\n${host}\r\n`);
  t.match(answer, { status: 200, interim: [{ status: 103 }] });
  t.equal(headerOf(answer.interim[0]!, 'link'), '</a.css>; rel=preload');
  t.equal(headerOf(answer.interim[0]!, 'set-cookie'), undefined);
  t.equal(
    (await exchange(harness.port, `GET / HTTP/1.0\r\n${host}\r\n`)).interim.length,
    0,
    'not to HTTP/1.0',
  );
});

t.test('an early answer to an upload arrives, also where the connection ends with it', async (t) => {
  const { harness } = await start(t, ({ socket, path }) => {
    socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
    if (path === '/close') socket.end();
    return path === '/next' ? undefined : new Promise(() => undefined);
  });
  for (const connection of ['keep-alive', 'close']) {
    for (const path of ['/close', '/stay']) {
      const client = new RawClient(harness.port);
      client.send(
        `POST ${path} HTTP/1.1\r\n${host}Connection: ${connection}\r\nContent-Length: 3000000\r\n\r\n`,
      );
      client.send(Buffer.alloc(1_000_000));
      await client.until(() => client.buffered.includes('no'));
      client.send(Buffer.alloc(2_000_000));
      const answer = await client.response('POST');
      t.match(answer, { status: 413, complete: true }, `${connection} ${path}`);
      if (connection === 'keep-alive') {
        const next = await client.send(`GET /next HTTP/1.1\r\n${host}\r\n`).response();
        t.equal(next.status, 413, 'and the connection goes on');
      }
      client.close();
    }
  }
});

t.test('a reused connection that was closed is tried once more where that is safe', async (t) => {
  let answers = 0;
  const { harness, upstream } = await start(t, ({ socket, path }) => {
    if (path === '/never') socket.resetAndDestroy();
    else if (answers++ % 2 === 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    else socket.destroy();
  });
  const ask = (line: string, more = '') =>
    exchange(harness.port, `${line} HTTP/1.1\r\n${host}${more}`, line.split(' ')[0]);
  t.equal((await ask('GET /', '\r\n')).status, 200);
  t.equal((await ask('GET /', '\r\n')).status, 200, 'GET again over a new connection');
  t.equal(upstream.seen.length, 3);
  t.equal(
    (await ask('POST /', 'Content-Length: 1\r\n\r\na')).status,
    502,
    'a POST might have had its effect',
  );
  t.equal(upstream.seen.length, 4);
  t.equal((await ask('GET /never', '\r\n')).status, 502);
});

t.test('a slow upstream is given up on, a stalled body cut', async (t) => {
  const { upstream } = await start(
    t,
    ({ socket, path }) => {
      if (path === '/begun') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
      return new Promise(() => undefined);
    },
    {},
  );
  const impatient = await startHarness({
    upstream: { url: upstream.url, response_timeout: '200ms', idle_timeout: '200ms' },
    routes,
  });
  t.teardown(() => impatient.close());
  t.equal((await exchange(impatient.port, `GET /waiting HTTP/1.1\r\n${host}\r\n`)).status, 504);
  const cut = await exchange(impatient.port, `GET /begun HTTP/1.1\r\n${host}\r\n`);
  t.match(cut, { status: 200, complete: false });
  const stalled = await exchange(
    impatient.port,
    `POST /x HTTP/1.1\r\n${host}Content-Length: 9\r\n\r\nabc`,
    'POST',
  );
  t.equal(stalled.status, 408, 'a client that stops within its body');
});

t.test('1 GiB down and up with flat memory', { timeout: 100_000 }, async (t) => {
  const total = 1024 ** 3;
  let received = 0;
  const piece = Buffer.alloc(256 * 1024, 'x');
  const server = createServer((request, response) => {
    if (request.method === 'PUT') {
      request.on('data', (chunk: Buffer) => (received += chunk.length));
      request.on('end', () => response.end('thanks'));
      return;
    }
    response.writeHead(200, { 'Content-Length': total });
    let left = total;
    const pour = (): void => {
      while (left > 0) {
        left -= piece.length;
        if (!response.write(piece)) {
          response.once('drain', pour);
          return;
        }
      }
      response.end();
    };
    pour();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const child = fork(fileURLToPath(new URL('./large-child.ts', import.meta.url)), [
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  ]);
  t.teardown(() => {
    child.disconnect();
    server.closeAllConnections();
    server.close();
  });
  const tell = async (): Promise<{ peak: number; now: number }> => {
    child.send({});
    return ((await once(child, 'message')) as [{ peak: number; now: number }])[0];
  };
  const [{ port, cookie }] = (await once(child, 'message')) as [{ port: number; cookie: string }];
  const before = (await tell()).now;
  const limit = before + 150 * 1024 ** 2;

  let came = 0;
  const down = connect(port, '127.0.0.1');
  down.write(`GET /big HTTP/1.1\r\n${host}Cookie: ${cookie}\r\nConnection: close\r\n\r\n`);
  down.on('data', (chunk: Buffer) => (came += chunk.length));
  await once(down, 'close');
  t.ok(came >= total && came < total + 2_000, 'all of it came down');
  const afterDown = await tell();
  t.ok(
    afterDown.peak < limit,
    `down: ${Math.round(afterDown.peak / 1024 ** 2)} MiB, before ${Math.round(before / 1024 ** 2)}`,
  );

  const up = connect(port, '127.0.0.1');
  up.write(
    `PUT /big HTTP/1.1\r\n${host}Cookie: ${cookie}\r\nConnection: close\r\nContent-Length: ${total}\r\n\r\n`,
  );
  let answer = '';
  up.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  for (let sent = 0; sent < total; sent += piece.length) {
    if (!up.write(piece)) await once(up, 'drain');
  }
  await once(up, 'close');
  t.match(answer, 'thanks');
  t.equal(received, total, 'all of it went up');
  const afterUp = await tell();
  t.ok(afterUp.peak < limit, `up: ${Math.round(afterUp.peak / 1024 ** 2)} MiB`);
});
