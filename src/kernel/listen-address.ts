import { isIPv4, isIPv6 } from 'node:net';

/** Where a server listens: what Node's and Fastify's `listen` take. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** `host:port`, `[::]:port` or `unix:/path`; port 0 lets the system choose; undefined when it is none of these. */
export function parseListen(text: string): ListenAddress | undefined {
  const path = /^unix:(\/[^\0]+)$/.exec(text)?.[1];
  if (path !== undefined) return { path };
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(text);
  const [, six, host, digits] = match ?? [];
  const port = Number(digits);
  if (match === null || port > 65_535) return undefined;
  if (six !== undefined) return isIPv6(six) ? { host: six, port } : undefined;
  if (host === undefined || (/^[0-9.]+$/.test(host) && !isIPv4(host))) return undefined;
  return { host, port };
}
