import { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import type { Edge } from './edge.ts';
import type { UpgradedSockets } from './websocket.ts';

/**
 * `close()` must end: WebSockets never finish by themselves, a stream may outlast everyone's patience, and Node waits for
 * connections over which nothing was ever asked (browsers open some in advance).
 */
export function closeInTime(
  app: FastifyInstance,
  upgraded: UpgradedSockets,
  edge: Edge,
  graceMs: () => number,
): void {
  let timer: NodeJS.Timeout | undefined;
  let sweep: NodeJS.Timeout | undefined;
  const sockets = new Set<Socket>();
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  // Over TLS both are told of, the connection and what speaks TLS on it: the former may still be at its handshake.
  const secure = app.server instanceof HttpsServer;
  app.server.on('connection', track);
  if (secure) app.server.on('secureConnection', track);
  app.addHook('preClose', (done) => {
    upgraded.closeAll();
    for (const socket of sockets) {
      if (socket instanceof TLSSocket === secure && !edge.hasAsked(socket)) socket.destroy();
    }
    timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, graceMs());
    timer.unref();
    // Node closes the connections that are idle now, and forgets those that become so later.
    sweep = setInterval(() => app.server.closeIdleConnections(), 50);
    sweep.unref();
    done();
  });
  app.addHook('onClose', (_app, done) => {
    clearTimeout(timer);
    clearInterval(sweep);
    done();
  });
}
