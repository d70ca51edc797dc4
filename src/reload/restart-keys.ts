import { digestOf } from '../config/comparison.ts';
import type { Config } from '../config/schema.ts';

/** A file's change as far as a running process can follow it. */
export interface Applicable {
  /** The new configuration, with the running values where only a restart brings others. */
  readonly config: Config;
  /** Keys that the new file changes and that stay as they are until a restart. */
  readonly restartRequired: readonly string[];
}

/**
 * Tells what can be applied now from what needs a restart: sockets that are bound, the limits that they were bound with, the
 * prefix that the endpoints stand under, the connection to Redis, and the name of the cookie that everyone's session hangs on.
 * Everything else follows the file. Pure.
 */
export function keepRunning(running: Config, next: Config): Applicable {
  const restartRequired: string[] = [];
  const keep = <T>(key: string, before: T, after: T): T => {
    if (digestOf({ value: before }) === digestOf({ value: after })) return after;
    restartRequired.push(key);
    return before;
  };

  const { server, operations, session } = running;
  const listen = keep('server.listen', server.listen, next.server.listen);
  const prefix = keep('server.path_prefix', server.path_prefix, next.server.path_prefix);
  const headerSize = keep('server.max_header_size', server.max_header_size, next.server.max_header_size);
  const workers = keep('server.workers', server.workers, next.server.workers);
  const hasTls = keep('server.tls', server.tls !== undefined, next.server.tls !== undefined);
  const { tls: nextTls, ...nextServer } = next.server;
  // Other files, and other certificates in them, are taken up; from plain HTTP to TLS and back only a new socket leads.
  const tls = hasTls ? (nextTls ?? server.tls) : undefined;
  const operationsListen = keep('operations.listen', operations.listen, next.operations.listen);
  const { control_socket: nextSocket, ...nextOperations } = next.operations;
  const socket = keep('operations.control_socket', operations.control_socket, nextSocket);
  const { redis: nextRedis, ...nextSession } = next.session;
  const redis = keep('session.redis', session.redis, nextRedis);
  const cookieName = keep('session.cookie_name', session.cookie_name, next.session.cookie_name);

  const config: Config = {
    ...next,
    server: {
      ...nextServer,
      listen,
      path_prefix: prefix,
      max_header_size: headerSize,
      workers,
      ...(tls !== undefined && { tls }),
    },
    operations: {
      ...nextOperations,
      listen: operationsListen,
      ...(socket !== undefined && { control_socket: socket }),
    },
    session: { ...nextSession, cookie_name: cookieName, ...(redis !== undefined && { redis }) },
  };
  return { config: Object.freeze(config), restartRequired };
}
