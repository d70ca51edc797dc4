import type { Redis } from 'ioredis';
import { addressOf, answerWithinMs, nameOf, within } from './redis-client.ts';
import { describeFault, redirectionOf, storeUnavailable } from './redis-fault.ts';
import type { RedisFault } from './redis-fault.ts';

/** Which server a link leads to, and how it proves that it is the right one. */
export interface LinkEnd {
  /** A new connection to a server that is fit for use. @throws Unfit */
  dial(signal: AbortSignal): Promise<Redis>;
  /** A sign of life, and of being fit still; rejects when it is not. */
  prove(redis: Redis): Promise<unknown>;
  /** Whether it has to be proved over and over, or only when nobody else had an answer. */
  readonly mayChange: boolean;
  /** Whether commands may be answered by another server's address: such answers are handed on as {@link Redirection}. */
  readonly redirects: boolean;
}

/** What a link tells of itself as it happens. */
export interface LinkListener {
  up(): void;
  down(cause: string): void;
  impaired(cause: string | undefined): void;
}

/** A connection that is made again whenever it is lost, and that never lets anyone wait. */
export interface RedisLink {
  /**
   * Runs commands and answers within `leftMs`; fails at once while the server is known to be down.
   *
   * @throws store_unavailable, and Redirection where the end redirects
   */
  run<T>(writes: boolean, work: (redis: Redis) => Promise<T>, leftMs: number): Promise<T>;
  /** Looks whether another server is the right one by now, while the old connection still answers. @returns whether it is */
  renew(): Promise<boolean>;
  /** Throws the connection away and begins anew. */
  drop(cause: string): void;
  /** The connection in use. */
  current(): Redis | undefined;
  /** Why there is none; undefined before the first attempt has ended. */
  cause(): string | undefined;
  /** Settles when the first attempt has succeeded or failed. */
  readonly firstAttempt: Promise<void>;
  close(): void;
}

/** How often a silent connection is asked for a sign of life. */
const heartbeatMs = 500;
const leastPauseMs = 50;
const mostPauseMs = 1000;

/**
 * Keeps one connection. The library's own reconnection is off: a connection that fails to answer is thrown away whole,
 * and a new one is in use only after it has answered. So a server that accepts and stays silent, one that is still
 * loading and one that asks for a password all count as down, and recovery is seen within about a second.
 */
export function keepLink(end: LinkEnd, listener: LinkListener): RedisLink {
  let current: Redis | undefined;
  let cause: string | undefined;
  let attempted = false;
  let pauseMs = leastPauseMs;
  let retry: NodeJS.Timeout | undefined;
  let renewing = false;
  let answeredAt = performance.now();
  const closing = new AbortController();
  const isClosed = (): boolean => closing.signal.aborted;

  /** Within the time that an answer may take, however many servers have to be asked. */
  async function attempt(): Promise<Redis> {
    const late = new AbortController();
    const dialing = end.dial(AbortSignal.any([late.signal, closing.signal]));
    try {
      return await within(answerWithinMs, dialing);
    } catch (error) {
      late.abort();
      dialing.then(
        (redis) => redis.disconnect(),
        () => undefined,
      );
      throw error;
    }
  }

  function adopt(redis: Redis): void {
    const former = current;
    current = redis;
    cause = undefined;
    pauseMs = leastPauseMs;
    answeredAt = performance.now();
    redis.once('close', () => lose(redis, describeFault(new Error('closed'), nameOf(addressOf(redis)))));
    // What it still has to answer, it may.
    if (former !== undefined) setTimeout(() => former.disconnect(), answerWithinMs).unref();
    listener.up();
  }

  async function reconnect(): Promise<void> {
    try {
      const redis = await attempt();
      if (isClosed()) redis.disconnect();
      else adopt(redis);
    } catch (error) {
      if (isClosed()) return;
      cause = describeFault(error, 'the server').cause;
      listener.down(cause);
      retry = setTimeout(() => void reconnect(), pauseMs).unref();
      pauseMs = Math.min(pauseMs * 2, mostPauseMs);
    } finally {
      attempted = true;
    }
  }

  function lose(redis: Redis, fault: Pick<RedisFault, 'cause'>): void {
    if (redis !== current || isClosed()) return;
    current = undefined;
    cause = fault.cause;
    redis.disconnect();
    listener.down(cause);
    void reconnect();
  }

  async function renew(): Promise<boolean> {
    if (renewing) return false;
    renewing = true;
    try {
      const redis = await attempt();
      if (isClosed() || current === undefined) {
        redis.disconnect();
        return false;
      }
      adopt(redis);
      return true;
    } catch {
      // The connection in use will say so itself.
      return false;
    } finally {
      setTimeout(() => (renewing = false), mostPauseMs).unref();
    }
  }

  async function usable(): Promise<Redis> {
    // Before the first attempt has ended nothing is known: its outcome is worth the wait.
    if (current === undefined && !attempted && !isClosed()) await firstAttempt;
    if (current === undefined) throw storeUnavailable(isClosed() ? 'closed' : (cause ?? 'not connected'));
    return current;
  }

  async function run<T>(writes: boolean, work: (redis: Redis) => Promise<T>, leftMs: number): Promise<T> {
    const startedAt = performance.now();
    const redis = current ?? (await usable());
    try {
      const result = await within(leftMs - (performance.now() - startedAt), work(redis));
      answeredAt = performance.now();
      if (writes) listener.impaired(undefined);
      return result;
    } catch (error) {
      const redirection = end.redirects ? redirectionOf(error) : undefined;
      if (redirection !== undefined) {
        answeredAt = performance.now();
        throw redirection;
      }
      const fault = describeFault(error, nameOf(addressOf(redis)));
      if (fault.connectionLost) lose(redis, fault);
      else listener.impaired(fault.cause);
      // After a failover the address may lead to the new primary.
      if (fault.replyCode === 'READONLY') void renew();
      throw storeUnavailable(fault.cause);
    }
  }

  const firstAttempt = reconnect();
  const heartbeat = setInterval(() => {
    if (current === undefined) return;
    if (!end.mayChange && performance.now() - answeredAt < heartbeatMs) return;
    run(false, (redis) => end.prove(redis), answerWithinMs).catch(() => undefined);
  }, heartbeatMs).unref();

  return {
    run,
    renew,
    drop(why) {
      if (current !== undefined) lose(current, { cause: why });
    },
    current: () => current,
    cause: () => (isClosed() ? 'closed' : cause),
    firstAttempt,
    close() {
      closing.abort();
      clearInterval(heartbeat);
      clearTimeout(retry);
      current?.disconnect();
      current = undefined;
    },
  };
}
