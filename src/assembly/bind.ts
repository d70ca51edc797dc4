import type { FastifyInstance } from 'fastify';
import { SallyportError } from '../kernel/error.ts';
import { parseListen } from '../kernel/listen-address.ts';
import { prepareListen } from '../proxy/listen.ts';

/**
 * Has the public server accept requests.
 *
 * @param listen `server.listen`
 * @param shared other processes listen there too: a socket must not be cleared away from under them
 * @returns the address, as bound
 * @throws config_invalid when the address can't be used, or is in use
 */
export async function bindPublic(
  server: Pick<FastifyInstance, 'listen'>,
  listen: string,
  shared: boolean,
): Promise<string> {
  const address = shared ? parseListen(listen) : undefined;
  return await server.listen(address ?? (await prepareListen(listen))).catch((cause: unknown) => {
    throw unbound(listen, cause);
  });
}

/** A fault of the configuration, or of what else runs on this machine; a fault of ours is passed on as it is. */
function unbound(listen: string, cause: unknown): unknown {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException;
  if (code === undefined || (syscall !== 'listen' && syscall !== 'bind' && syscall !== 'getaddrinfo'))
    return cause;
  return new SallyportError('config_invalid', `server.listen ${listen}: cannot be bound (${code})`, {
    cause,
  });
}
