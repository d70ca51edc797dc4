import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What an app behind the proxy got to see of a request. */
export interface SeenByUpstream {
  readonly method: string;
  readonly url: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface EchoUpstream {
  readonly url: string;
  readonly seen: SeenByUpstream[];
  close(): Promise<void>;
}

/** An app that answers every request with what it saw of it, as JSON; below `…/set-cookie` with a cookie of its own. */
export async function startEchoUpstream(): Promise<EchoUpstream> {
  const seen: SeenByUpstream[] = [];
  const server = createServer((request, response) => {
    const entry = { method: request.method ?? '', url: request.url ?? '', headers: flatten(request) };
    seen.push(entry);
    response.setHeader('content-type', 'application/json');
    if (entry.url.endsWith('/set-cookie')) response.setHeader('set-cookie', 'app=1; Path=/');
    response.end(JSON.stringify(entry));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function flatten(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = (request.rawHeaders[at] ?? '').toLowerCase();
    const value = request.rawHeaders[at + 1] ?? '';
    headers[name] = headers[name] === undefined ? value : `${headers[name]}\n${value}`;
  }
  return headers;
}
