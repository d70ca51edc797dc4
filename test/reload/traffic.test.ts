import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { Agent, createServer, get, type IncomingMessage } from 'node:http';
import { get as getSecurely, Agent as SecureAgent } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { startOp } from '../support/op.ts';
import { clientOf, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';
import { applied, openDesk, soundConfig, startReplica } from './stage.ts';

/** An app that answers, streams, and echoes over WebSockets. */
async function startApp() {
  const server = createServer((request, response) => {
    if (request.url === '/open/stream') {
      let count = 0;
      const timer = setInterval(() => response.write(`${(count += 1)}\n`), 5);
      response.on('close', () => clearInterval(timer));
      stop.push(() => {
        clearInterval(timer);
        response.end('end\n');
      });
      return;
    }
    // Some take a moment, so that a reload falls into them.
    setTimeout(() => response.end('ok'), request.url?.includes('slow') === true ? 20 : 0);
  });
  const stop: (() => void)[] = [];
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('message', (data: Buffer) => socket.send(data.toString())));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    endStreams: () => stop.forEach((each) => each()),
    async close() {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

t.test('fifty reloads under load: no request, stream, WebSocket or session is lost', async (t) => {
  const apps = [await startApp(), await startApp()];
  const desk = openDesk();
  const { origin, config } = await soundConfig(apps[0]!.url);
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sources = [{ id: 'idp', issuer: op.issuer, ...testClient }];
  const version = (count: number): Record<string, unknown> => ({
    ...config,
    sources: sources.map((source) => ({ ...source, display_name: `version ${count}` })),
    // Another upstream each time, so that connections come and go as well.
    upstream: { url: apps[count % 2]!.url },
    routes: [{ name: 'open', path: '/open/**', access: 'public' }],
  });
  desk.write(version(0));
  const replica = await startReplica(desk.path);
  const agent = new Agent({ keepAlive: true });
  t.teardown(async () => {
    agent.destroy();
    await replica.close();
    await op.stop();
    for (const app of apps) await app.close();
    desk.clear();
  });
  const browser = new UserAgent();
  t.equal((await browser.follow(`${origin}/page`)).last.status, 200);
  const cookie = `sallyport=${browser.cookie(origin, 'sallyport') ?? ''}`;

  const ask = (path: string, headers: Record<string, string> = {}): Promise<number> =>
    new Promise((resolve, reject) => {
      get(`${origin}${path}`, { agent, headers }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
        response.on('error', reject);
      }).on('error', reject);
    });

  const stream = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${origin}/open/stream`, resolve).on('error', reject);
  });
  let streamed = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => (streamed += chunk));
  const streamEnd = once(stream, 'end');

  const socket = new WebSocket(`${origin.replace('http', 'ws')}/live`, { headers: { cookie, origin } });
  const heard: string[] = [];
  socket.on('message', (data: Buffer) => heard.push(data.toString()));
  await once(socket, 'open');

  let busy = true;
  const outcomes = new Map<string, number>();
  const load = ['/open/a', '/open/slow', '/page', '/slow-page', '/_sallyport/whoami'].map(async (path) => {
    while (busy) {
      const outcome = await ask(path, { cookie }).then(
        (status) => String(status),
        (error: unknown) => String(error),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  });
  for (let count = 1; count <= 50; count += 1) {
    desk.write(version(count));
    await replica.supervisor.reload({ trigger: 'command' });
    socket.send(String(count));
  }
  busy = false;
  await Promise.all(load);
  t.ok((outcomes.get('200') ?? 0) > 100, 'there was load');
  t.strictSame([...outcomes.keys()], ['200'], JSON.stringify([...outcomes]));
  await until(() => heard.length === 50, 'the WebSocket');
  t.equal(heard.at(-1), '50');
  t.equal(socket.readyState, WebSocket.OPEN);
  for (const app of apps) app.endStreams();
  await streamEnd;
  const lines = streamed.trim().split('\n');
  t.equal(lines.at(-1), 'end', 'the stream came to its own end');
  t.strictSame(
    lines.slice(0, -1),
    lines.slice(0, -1).map((_line, index) => String(index + 1)),
    'and lost nothing',
  );
  t.equal((await browser.request('GET', `${origin}/_sallyport/whoami`)).status, 200, 'still signed in');
  t.ok(replica.told(applied).length >= 50);
  t.equal(op.requests.filter(({ endpoint }) => endpoint === 'discovery').length, 1, 'one discovery for all');
  socket.close();
  await once(socket, 'close');
});

t.test('certificates swapped in place under load: no request is lost, and both were shown', async (t) => {
  const app = await startApp();
  const desk = openDesk();
  const { config } = await soundConfig(app.url);
  const server = config['server'] as Record<string, unknown>;
  const origin = `https://${String(server['listen'])}`;
  const fixture = (name: string): string =>
    fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
  const files = { cert_file: join(desk.directory, 'tls.crt'), key_file: join(desk.directory, 'tls.key') };
  const install = (name: string): void => {
    copyFileSync(fixture(`${name}.pem`), files.cert_file);
    copyFileSync(fixture(`${name}.key`), files.key_file);
  };
  install('app');
  desk.write({
    ...config,
    server: { ...server, public_url: origin, tls: files },
    routes: [{ name: 'open', path: '/open/**', access: 'public' }],
  });
  const replica = await startReplica(desk.path);
  const agent = new SecureAgent({ keepAlive: true });
  t.teardown(async () => {
    agent.destroy();
    await replica.close();
    await app.close();
    desk.clear();
  });
  const shown = new Set<string>();
  const ask = (path: string, way: SecureAgent | false): Promise<string> =>
    new Promise((resolve) => {
      const options = {
        agent: way,
        ca: readFileSync(fixture('ca.pem')),
        checkServerIdentity: () => undefined,
      };
      getSecurely(`${origin}${path}`, options, (response) => {
        // The socket is the response's only until its end.
        const { socket } = response;
        if (way === false && socket instanceof TLSSocket)
          shown.add(String(socket.getPeerCertificate().subject.CN));
        response.resume();
        response.on('end', () => resolve(String(response.statusCode)));
        response.on('error', (error) => resolve(String(error)));
      }).on('error', (error) => resolve(String(error)));
    });
  let busy = true;
  const outcomes = new Map<string, number>();
  const load = (
    [
      ['/open/a', agent],
      ['/open/slow', agent],
      ['/open/b', false],
      ['/open/slow', false],
    ] as const
  ).map(async ([path, way]) => {
    while (busy) {
      const outcome = await ask(path, way);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  });
  for (const name of ['other', 'app', 'other', 'app']) {
    shown.clear();
    install(name);
    await until(() => shown.has(`${name}.internal`), `${name} is shown`);
  }
  busy = false;
  await Promise.all(load);
  t.ok((outcomes.get('200') ?? 0) > 50, 'there was load');
  t.strictSame([...outcomes.keys()], ['200'], JSON.stringify([...outcomes]));
});
