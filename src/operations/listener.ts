import fastify from 'fastify';
import { SallyportError } from '../kernel/error.ts';
import type { Health } from './health.ts';

/** The listener for probes and scrapes; it stands apart from the public one and asks nobody who they are. */
export interface OperationsListener {
  /** `host:port` as bound: tells the port that `:0` became. */
  readonly address: string;
  close(): Promise<void>;
}

export interface OperationsListenerOptions {
  /** `operations.listen`: `host:port` or `[::]:port`. */
  readonly listen: string;
  readonly health: Health;
  /** The metrics page and its content type. */
  readonly registry: { readonly contentType: string; metrics(): Promise<string> };
}

/**
 * Listens for `/livez`, `/readyz` and `/metrics`.
 * @throws config_invalid when the address is malformed or cannot be bound
 */
export async function startOperationsListener(
  options: OperationsListenerOptions,
): Promise<OperationsListener> {
  const { health, registry } = options;
  const { host, port } = parseListen(options.listen);
  const server = fastify({ bodyLimit: 1024, requestTimeout: 10_000, forceCloseConnections: true });

  server.addHook('onRequest', (_request, reply, done) => {
    reply.header('cache-control', 'no-store');
    done();
  });
  server.get('/livez', (_request, reply) => reply.send({ status: 'live' }));
  server.get('/readyz', (_request, reply) => {
    const report = health.report();
    return reply.code(report.status === 'not_ready' ? 503 : 200).send(report);
  });
  server.get('/metrics', async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );

  try {
    await server.listen({ host, port });
  } catch (cause) {
    throw new SallyportError('config_invalid', `operations.listen ${options.listen}: cannot be bound`, {
      cause,
    });
  }
  const bound = server.server.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  return {
    address: `${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    close: async () => {
      await server.close();
    },
  };
}

const listenPattern = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/i;

/** `host:port` or `[IPv6]:port`. @throws config_invalid */
export function parseListen(listen: string): { readonly host: string; readonly port: number } {
  const match = listenPattern.exec(listen);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65_535)) {
    throw new SallyportError(
      'config_invalid',
      `operations.listen ${listen}: expected host:port or [::]:port`,
    );
  }
  return { host, port };
}
