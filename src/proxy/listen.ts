import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { SallyportError } from '../kernel/error.ts';
import { parseListen, type ListenAddress } from '../kernel/listen-address.ts';

/**
 * Reads `server.listen` and makes way for it: a Unix socket that a killed process left behind is removed; one that somebody answers on is
 * not.
 *
 * @throws config_invalid when it is no address
 */
export async function prepareListen(listen: string): Promise<ListenAddress> {
  const address = parseListen(listen);
  if (address === undefined) {
    throw new SallyportError(
      'config_invalid',
      `server.listen ${listen}: expected host:port, [::]:port or unix:/path`,
    );
  }
  if ('path' in address && (await isDeadSocket(address.path))) await unlink(address.path);
  return address;
}

async function isDeadSocket(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() !== true) return false;
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
