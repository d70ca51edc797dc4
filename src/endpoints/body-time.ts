import type { FastifyInstance } from 'fastify';

/** How long the few bytes of a form may take, in milliseconds. */
const defaultBodyTimeMs = 10_000;

/**
 * Bounds the time that a body sent to one of our own endpoints may take. The public server sets no limit of its own, since a large upload
 * to the app may take hours; here a client that sends one byte and waits would hold a connection and a request for ever, signed in or not.
 * Answered 408 (RFC 9110 section 15.5.9), and the connection is closed.
 */
export function limitBodyTime(scope: FastifyInstance, bodyTimeMs = defaultBodyTimeMs): void {
  scope.addHook('onRequest', (request, reply, done) => {
    const { raw } = request;
    const brings =
      raw.headers['transfer-encoding'] !== undefined || (raw.headers['content-length'] ?? '0') !== '0';
    if (brings) {
      const timer = setTimeout(() => {
        const { socket } = raw;
        if (reply.raw.headersSent || reply.sent) {
          socket.destroy();
          return;
        }
        // Past Fastify, which still waits for the body.
        reply.hijack();
        reply.raw.on('finish', () => socket.destroySoon());
        reply.raw.writeHead(408, {
          'content-type': 'application/json',
          'cache-control': 'no-store',
          connection: 'close',
        });
        reply.raw.end(
          JSON.stringify({ error: 'request_timeout', message: 'The request did not arrive in time.' }),
        );
      }, bodyTimeMs).unref();
      const stop = (): void => clearTimeout(timer);
      raw.once('end', stop);
      raw.once('close', stop);
    }
    done();
  });
}
