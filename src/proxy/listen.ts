/** Where to listen, as Node and Fastify take it. */
export type ListenOptions = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Reads `server.listen` and `operations.listen`: `host:port`, `[v6]:port` or `unix:/path`.
 *
 * @throws RangeError when it is none of these
 */
export function listenOptions(listen: string): ListenOptions {
  if (listen.startsWith('unix:')) {
    const path = listen.slice('unix:'.length);
    if (!path.startsWith('/')) throw new RangeError(`not an absolute path: ${listen}`);
    return { path };
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535)
    throw new RangeError(`not host:port, [v6]:port or unix:/path: ${listen}`);
  return { host, port };
}
