import { randomInt } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createNetServer, type AddressInfo } from 'node:net';

/** A server of the demo: on 127.0.0.1 and nowhere else. */
export interface LoopbackServer {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string;
  /** Puts the handler in place; before, every request is answered 503. */
  serve(listener: RequestListener): void;
  /** Stops, and drops the connections that browsers keep alive. */
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1. The handler comes later, since it may need to know the origin. */
export async function openLoopbackServer(): Promise<LoopbackServer> {
  let current: RequestListener = (_request, response) => {
    response.writeHead(503).end();
  };
  const server: Server = createServer((request, response) => {
    current(request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    serve: (listener) => {
      current = listener;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * Below the range from which Linux, macOS and Windows hand out ports by themselves: between the look and the listening, no
 * outgoing connection can take one of these.
 */
const [firstQuietPort, lastQuietPort] = [20_000, 32_000];

/**
 * A port that nobody has on either loopback address: `preferred` if it is free, else any.
 *
 * Both addresses count: a browser may try `localhost` as ::1 first, and would then reach somebody else's server.
 * Undefined when `preferred` is taken and `strict` asks for that one only. 0 prefers none.
 */
export async function findFreePort(preferred: number, strict = false): Promise<number | undefined> {
  if (preferred !== 0 && (await isFree(preferred))) return preferred;
  if (preferred !== 0 && strict) return undefined;
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const port = randomInt(firstQuietPort, lastQuietPort);
    if (await isFree(port)) return port;
  }
  return undefined;
}

async function isFree(port: number): Promise<boolean> {
  return (await probe(port, '127.0.0.1')) !== undefined && (await probe(port, '::1')) !== undefined;
}

/** The port that could be listened on; undefined when it is taken. A machine without IPv6 has no one on ::1. */
function probe(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createNetServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT' ? port : undefined);
    });
    server.listen(port, host, () => {
      const found = (server.address() as AddressInfo).port;
      server.close(() => resolve(found));
    });
  });
}
