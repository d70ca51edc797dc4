import { isIP } from 'node:net';
import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import { describeFault, NoAnswer, Unfit } from './redis-fault.ts';
import type { RedisAccess, RedisAddress } from './redis-options.ts';

/** Milliseconds: a request that needs the store is answered within a second, 503 included. */
export const answerWithinMs = 800;

/**
 * A connection to one server that has proved to be fit by answering `greet`. It is never made again by itself: whoever holds it
 * throws it away whole. Given up when the signal says so, and after {@link answerWithinMs}.
 *
 * @param greet tells by a rejection that the server is none to use
 * @throws Unfit with the cause, which holds no credential
 */
export async function dialRedis(
  address: RedisAddress,
  access: RedisAccess,
  signal: AbortSignal,
  greet: (redis: Redis) => Promise<unknown> = (redis) => redis.ping(),
): Promise<Redis> {
  const redis = new Redis(clientOptions(address, access));
  let first: unknown;
  redis.on('error', (error: unknown) => (first ??= error));
  const giveUp = (): void => redis.disconnect();
  signal.addEventListener('abort', giveUp, { once: true });
  const open = async (): Promise<void> => {
    if (signal.aborted) throw new NoAnswer();
    await redis.connect();
    // The library goes on after a failed SELECT, in a database that is not ours.
    if (first !== undefined) throw first as Error;
    await greet(redis);
  };
  try {
    await within(answerWithinMs, open());
    return redis;
  } catch (error) {
    redis.disconnect();
    throw new Unfit(describeFault(first ?? error, nameOf(address)).cause);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** `host:port`, as messages name a server and maps know it. */
export function nameOf({ host, port }: RedisAddress): string {
  return `${host}:${port}`;
}

/** Where a connection leads. */
export function addressOf(redis: Redis): RedisAddress {
  return { host: redis.options.host ?? '', port: redis.options.port ?? 0 };
}

/** How the library is used: no reconnection, queue or retry of its own, and no word of a credential in its errors. */
function clientOptions(
  { host, port }: RedisAddress,
  { db, username, password, tls }: RedisAccess,
): RedisOptions & { replyMapping: 'legacy' } {
  return {
    host,
    port,
    db,
    username,
    password: password?.reveal(),
    ...(tls === undefined
      ? {}
      : {
          tls: {
            rejectUnauthorized: true,
            servername: isIP(host) === 0 ? host : undefined,
            ca: tls.ca,
            cert: tls.cert,
            key: tls.key?.reveal(),
          },
        }),
    lazyConnect: true,
    // RESP2 has all we need, and AUTH stands alone instead of inside HELLO, which old servers quote in their error.
    protocol: 2,
    replyMapping: 'legacy',
    disableClientInfo: true,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: answerWithinMs,
    // A server that does not answer does not say goodbye either.
    disconnectTimeout: 50,
  };
}

/** The outcome of `work`, or NoAnswer once `ms` have passed. */
export function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      // If this process itself was busy for so long, the answer may wait to be read: read first, then judge.
      setImmediate(() => reject(new NoAnswer()));
    }, ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
