import type { Server, ServerResponse } from 'node:http';

/** How patient a draining server is. */
export interface DrainPatience {
  /** After so long without a new connection or request, nobody seems to send any more. Milliseconds. */
  readonly quietMs: number;
  /** Never longer than this. Milliseconds. */
  readonly mostMs: number;
}

/**
 * Serves on while those that send requests here learn that they should not: by `/readyz`, which fails already, and by
 * `Connection: close` on every answer. Resolves once it is quiet, or patience ends; then the listener may be closed.
 *
 * Closing at once would lose requests: those whose connection the kernel has accepted and nobody has read yet, and those that
 * cross the closing of a connection that was idle a moment ago.
 * @see RFC 9112 section 9.6
 */
export function drainConnections(server: Server, { quietMs, mostMs }: DrainPatience): Promise<void> {
  return new Promise((resolve) => {
    const quiet = setTimeout(finish, quietMs);
    const most = setTimeout(finish, mostMs);
    const onConnection = (): void => void quiet.refresh();
    const onRequest = (_request: unknown, response: ServerResponse): void => {
      response.shouldKeepAlive = false;
      quiet.refresh();
    };
    server.prependListener('connection', onConnection);
    for (const event of requestEvents) server.prependListener(event, onRequest);

    function finish(): void {
      clearTimeout(quiet);
      clearTimeout(most);
      server.off('connection', onConnection);
      // Those of the requests stay: whatever else is answered is the last on its connection.
      resolve();
    }
  });
}

const requestEvents = ['request', 'checkContinue', 'checkExpectation'] as const;
