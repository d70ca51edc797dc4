import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import WebSocket, { WebSocketServer } from 'ws';

/** An app whose answers have no end: WebSockets, and whatever is asked for over HTTP. */
export async function startEndlessUpstream(): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('data: hello\n\n');
  });
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.send('hello'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      server.close();
    },
  };
}

type Headers = Readonly<Record<string, string>>;

/** Something that has begun and goes on. */
export interface Endless {
  readonly isOpen: () => boolean;
  readonly gone: Promise<unknown>;
  readonly end: () => void;
}

/** A WebSocket, over which something has come already. */
export async function openSocket(origin: string, path: string, headers: Headers): Promise<Endless> {
  const socket = new WebSocket(`${origin.replace('http', 'ws')}${path}`, { headers: { origin, ...headers } });
  socket.on('error', () => undefined);
  await once(socket, 'message');
  return {
    isOpen: () => socket.readyState === WebSocket.OPEN,
    gone: once(socket, 'close'),
    end: () => socket.terminate(),
  };
}

/** What an `EventSource` says. */
const asEventSource = { accept: 'text/event-stream' };

/** An event stream, of which something has come already. */
export function openEvents(origin: string, path: string, headers: Headers): Promise<Endless> {
  return openLong(origin, path, { ...headers, ...asEventSource });
}

/** A long answer, of which something has come already. */
export async function openLong(origin: string, path: string, headers: Headers): Promise<Endless> {
  const asked = request(`${origin}${path}`, { headers, agent: false });
  asked.on('error', () => undefined);
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  await once(answer, 'data');
  let open = true;
  const gone = new Promise<void>((resolve) => {
    answer.once('close', () => {
      open = false;
      resolve();
    });
  });
  return { isOpen: () => open, gone, end: () => asked.destroy() };
}
