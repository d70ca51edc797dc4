import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import { SallyportError } from '../kernel/error.ts';
import { parseListen } from '../kernel/listen-address.ts';
import type { HealthReport } from './health.ts';

/** The listener for probes and scrapes; it stands apart from the public one and asks nobody who they are. */
export interface OperationsListener {
  /** `host:port` as bound: tells the port that `:0` became. */
  readonly address: string;
  close(): Promise<void>;
}

/** Where the operations listener listens, and what it shows. */
export interface OperationsListenerOptions {
  /** `operations.listen`: `host:port`, `[::]:port` or `unix:/path`. */
  readonly listen: string;
  readonly health: { report(): HealthReport | Promise<HealthReport> };
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
  const address = parseListen(options.listen);
  if (address === undefined) {
    throw new SallyportError(
      'config_invalid',
      `operations.listen ${options.listen}: expected host:port, [::]:port or unix:/path`,
    );
  }
  const server = fastify({ bodyLimit: 1024, requestTimeout: 10_000, forceCloseConnections: true });

  server.addHook('onRequest', (_request, reply, done) => {
    reply.header('cache-control', 'no-store');
    done();
  });
  server.get('/livez', (_request, reply) => reply.send({ status: 'live' }));
  server.get('/readyz', async (_request, reply) => {
    const report = await health.report();
    return reply.code(report.status === 'not_ready' ? 503 : 200).send(report);
  });
  server.get('/metrics', async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );

  try {
    await server.listen(address);
  } catch (cause) {
    throw new SallyportError('config_invalid', `operations.listen ${options.listen}: cannot be bound`, {
      cause,
    });
  }
  return {
    address: describeBound(server.server.address(), options.listen),
    close: async () => {
      await server.close();
    },
  };
}

/** `host:port` with the port that `:0` became; a Unix socket as it was written. */
function describeBound(bound: AddressInfo | string | null, written: string): string {
  if (bound === null || typeof bound === 'string') return written;
  return `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
}
