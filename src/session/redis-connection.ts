import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import type { Clock } from '../kernel/clock.ts';
import type { Meter } from '../kernel/meter.ts';
import { describeFault, NoAnswer, storeUnavailable } from './redis-fault.ts';
import type { RedisFault } from './redis-fault.ts';
import type { RedisStoreOptions } from './redis-options.ts';
import type { StoreHealth } from './types.ts';

/** What a connection to Redis needs from the house. */
export interface RedisDeps {
  readonly meter: Meter;
  readonly clock: Clock;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** A connection that is made again whenever it is lost, and that never lets anyone wait. */
export interface RedisConnection {
  /**
   * Runs commands and answers within {@link answerWithinMs}; fails at once while Redis is known to be down.
   *
   * @throws store_unavailable
   */
  run<T>(name: string, writes: boolean, work: (redis: Redis) => Promise<T>): Promise<T>;
  health(): StoreHealth;
  close(): void;
}

/** Milliseconds: a request that needs the store is answered within a second, 503 included. */
const answerWithinMs = 800;
/** How often a silent connection is asked for a sign of life. */
const heartbeatMs = 500;
const leastPauseMs = 50;
const mostPauseMs = 1000;

/**
 * Keeps one connection. The library's own reconnection is off: a connection that fails to answer is thrown away whole,
 * and a new one is in use only after it has answered a PING. So a server that accepts and stays silent, one that is still
 * loading and one that asks for a password all count as down, and recovery is seen within about a second.
 */
export function connectRedis(options: RedisStoreOptions, deps: RedisDeps): RedisConnection {
  const { meter, clock, logWarning } = deps;
  const where = `${options.host}:${options.port}`;
  let current: Redis | undefined;
  let attempted: Redis | undefined;
  let closed = false;
  let everFailed = false;
  let pauseMs = leastPauseMs;
  let retry: NodeJS.Timeout | undefined;
  let renewing = false;
  let answeredAt = performance.now();
  let health: StoreHealth = Object.freeze({ up: false, ...since(clock), cause: 'not connected yet' });

  function setUp(): void {
    if (health.up) return;
    // The first success is no news.
    if (everFailed) logWarning('the session store answers again', { redis: where });
    health = Object.freeze({ up: true, ...since(clock) });
    meter.storeUp(true);
  }

  function setDown(cause: string): void {
    if (!health.up && everFailed) {
      health = Object.freeze({ ...health, cause });
      return;
    }
    everFailed = true;
    health = Object.freeze({ up: false, ...since(clock), cause });
    meter.storeUp(false);
    logWarning('the session store cannot be reached', { redis: where, cause });
  }

  /** It answers, but refuses writes: sessions that exist go on, and the operator is told. */
  function setImpaired(cause: string | undefined): void {
    const { cause: before, ...rest } = health;
    if (!health.up || before === cause) return;
    if (cause !== undefined) logWarning('the session store refuses a command', { redis: where, cause });
    health = Object.freeze(cause === undefined ? rest : { ...rest, cause });
  }

  /** A new connection that has answered a PING. Rejects with what went wrong first. */
  async function attempt(): Promise<Redis> {
    const redis = new Redis(clientOptions(options));
    let first: unknown;
    redis.on('error', (error: unknown) => (first ??= error));
    const greet = async (): Promise<void> => {
      await redis.connect();
      // The library goes on after a failed SELECT, in a database that is not ours.
      if (first !== undefined) throw first as Error;
      await redis.ping();
    };
    attempted = redis;
    try {
      await within(answerWithinMs, greet());
      return redis;
    } catch (error) {
      redis.disconnect();
      throw first ?? error;
    }
  }

  function adopt(redis: Redis): void {
    const former = current;
    current = redis;
    pauseMs = leastPauseMs;
    answeredAt = performance.now();
    redis.once('close', () => lose(redis, describeFault(new Error('closed'), where)));
    // What it still has to answer, it may.
    if (former !== undefined) setTimeout(() => former.disconnect(), answerWithinMs).unref();
    setUp();
  }

  async function reconnect(): Promise<void> {
    try {
      const redis = await attempt();
      if (isClosed()) redis.disconnect();
      else adopt(redis);
    } catch (error) {
      if (isClosed()) return;
      setDown(describeFault(error, where).cause);
      retry = setTimeout(() => void reconnect(), pauseMs).unref();
      pauseMs = Math.min(pauseMs * 2, mostPauseMs);
    }
  }

  function isClosed(): boolean {
    return closed;
  }

  function lose(redis: Redis, fault: RedisFault): void {
    if (redis !== current || closed) return;
    current = undefined;
    redis.disconnect();
    setDown(fault.cause);
    void reconnect();
  }

  /** After a failover the address may lead to the new primary: look there, while the old connection still answers reads. */
  async function renew(): Promise<void> {
    if (renewing) return;
    renewing = true;
    try {
      const redis = await attempt();
      if (isClosed() || current === undefined) redis.disconnect();
      else adopt(redis);
    } catch {
      // The connection in use will say so itself.
    } finally {
      setTimeout(() => (renewing = false), mostPauseMs).unref();
    }
  }

  async function usable(): Promise<Redis> {
    // Before the first attempt has ended nothing is known: its outcome is worth the wait.
    if (current === undefined && !everFailed && !closed) await firstAttempt;
    if (current === undefined) throw storeUnavailable(closed ? 'closed' : (health.cause ?? 'not connected'));
    return current;
  }

  async function run<T>(name: string, writes: boolean, work: (redis: Redis) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    const redis = current ?? (await usable());
    try {
      const result = await within(answerWithinMs - (performance.now() - startedAt), work(redis));
      answeredAt = performance.now();
      if (writes) setImpaired(undefined);
      return result;
    } catch (error) {
      const fault = describeFault(error, where);
      if (fault.connectionLost) lose(redis, fault);
      else setImpaired(fault.cause);
      if (fault.replyCode === 'READONLY') void renew();
      throw storeUnavailable(fault.cause);
    } finally {
      meter.storeCommand(name, (performance.now() - startedAt) / 1000);
    }
  }

  meter.storeUp(false);
  const firstAttempt = reconnect();
  const heartbeat = setInterval(() => {
    if (current === undefined || performance.now() - answeredAt < heartbeatMs) return;
    run('ping', false, (redis) => redis.ping()).catch(() => undefined);
  }, heartbeatMs).unref();

  return {
    run,
    health: () => health,
    close() {
      closed = true;
      clearInterval(heartbeat);
      clearTimeout(retry);
      current?.disconnect();
      attempted?.disconnect();
      current = undefined;
      health = Object.freeze({ up: false, ...since(clock), cause: 'closed' });
    },
  };
}

/** How the library is used: no reconnection, queue or retry of its own, and no word of a credential in its errors. */
export function clientOptions(options: RedisStoreOptions): RedisOptions & { replyMapping: 'legacy' } {
  return {
    host: options.host,
    port: options.port,
    db: options.db,
    username: options.username,
    password: options.password?.reveal(),
    ...(options.tls === undefined
      ? {}
      : {
          tls: {
            rejectUnauthorized: true,
            servername: options.tls.servername,
            ca: options.tls.ca,
            cert: options.tls.cert,
            key: options.tls.key?.reveal(),
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
function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      // If this process itself was busy for so long, the answer may wait to be read: read first, then judge.
      setImmediate(() => reject(new NoAnswer()));
    }, ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Now, by both clocks. */
function since(clock: Clock): Pick<StoreHealth, 'sinceMs' | 'sinceSteadyMs'> {
  const sinceSteadyMs = clock.steadyMs?.();
  return { sinceMs: clock.nowMs(), ...(sinceSteadyMs === undefined ? {} : { sinceSteadyMs }) };
}
