import { createServer, request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Forge } from './forge.ts';

/** A forge as it was before Gitea's PR 27821. */
export interface OldForge {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * The real forge, made to behave as before PR 27821: where its own cookie belongs to somebody who is signed in, the proxy's identity
 * headers are not looked at any more (then, Session stood before ReverseProxy in the list of its ways of signing in).
 */
export async function startOldForge(forge: Forge): Promise<OldForge> {
  const socketPath = forge.url.replace(/^unix:/, '');
  const isSignedIn = async (cookie: string): Promise<boolean> =>
    (await forge.direct({ path: '/user/settings', headers: { cookie } })).status === 200;

  const forwardedHeaders = async ({ headers, url }: IncomingMessage) => {
    const { cookie } = headers;
    // Its API looks at no cookie.
    if (cookie === undefined || url?.startsWith('/api/') === true || !(await isSignedIn(cookie)))
      return headers;
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('x-webauth-')));
  };
  const server = createServer((incoming, response) => {
    void forwardedHeaders(incoming).then((headers) => {
      const outgoing = httpRequest(
        { socketPath, method: incoming.method, path: incoming.url, headers, agent: false },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
          answer.pipe(response);
        },
      );
      outgoing.on('error', () => response.destroy());
      incoming.pipe(outgoing);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
