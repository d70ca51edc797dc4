import type { Redis } from 'ioredis';
import { addressOf, answerWithinMs, nameOf, within } from './redis-client.ts';
import type { RedisConnection } from './redis-connection.ts';
import { describeFault, Unfit } from './redis-fault.ts';
import type { RedisDeps } from './redis-health.ts';
import type { StoreListener } from './types.ts';

/** Listens on one channel for as long as anyone wants to hear of it. */
export interface RedisSubscription {
  listen(listener: StoreListener): () => void;
  close(): void;
}

/** How often a silent link is asked for a sign of life. Milliseconds. */
const heartbeatMs = 1000;
const leastPauseMs = 50;
const mostPauseMs = 1000;

/**
 * A connection of its own (one that listens can do nothing else), made with the first listener and again whenever it is lost. Each
 * time it stands, everybody is told that announcements may have been missed. What can't be heard is no fault of any request: it only
 * takes longer until a session that ended elsewhere is seen to have ended.
 */
export function subscribeRedis(
  connection: Pick<RedisConnection, 'where' | 'announcing' | 'dialEar' | 'isFit'>,
  channel: string,
  deps: Pick<RedisDeps, 'logWarning'>,
): RedisSubscription {
  const listeners = new Set<StoreListener>();
  const { where } = connection;
  const closing = new AbortController();
  let current: Redis | undefined;
  let started = false;
  let deaf = false;
  let warned = false;
  let pauseMs = leastPauseMs;
  let retry: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;
  const isClosed = (): boolean => closing.signal.aborted;

  function lose(redis: Redis, error: unknown): void {
    if (leave(redis)) tryLater(error);
  }

  /** @returns whether it was the one in use */
  function leave(redis: Redis): boolean {
    redis.disconnect();
    if (redis !== current) return false;
    current = undefined;
    clearInterval(heartbeat);
    goDeaf();
    return true;
  }

  function goDeaf(): void {
    if (deaf || isClosed()) return;
    deaf = true;
    for (const listener of listeners) listener.lost?.();
  }

  function tryLater(error: unknown): void {
    if (isClosed()) return;
    goDeaf();
    const { cause } = describeFault(error, where);
    if (!warned) {
      warned = true;
      deps.logWarning('the ends of sessions on other replicas can not be heard: they are seen later', {
        redis: where,
        cause,
      });
    }
    retry = setTimeout(() => void connect(), pauseMs).unref();
    pauseMs = Math.min(pauseMs * 2, mostPauseMs);
  }

  async function connect(): Promise<void> {
    let redis: Redis;
    try {
      redis = await connection.dialEar(channel, closing.signal);
    } catch (error) {
      tryLater(error);
      return;
    }
    if (isClosed()) {
      redis.disconnect();
      return;
    }
    current = redis;
    redis.on('close', () => lose(redis, new Error('closed')));
    const heard = (message: string): void => {
      for (const listener of listeners) listener.heard(message);
    };
    let stood = false;
    // What is heard elsewhere from now on is no outage, as long as it is heard there. Who never stood here comes back with a pause.
    const gone = (): void => {
      if (stood && leave(redis)) void connect();
    };
    try {
      await within(answerWithinMs, connection.announcing.hear(redis, channel, heard, gone));
    } catch (error) {
      lose(redis, error);
      return;
    }
    if (redis !== current) return;
    stood = true;
    pauseMs = leastPauseMs;
    if (warned) deps.logWarning('the ends of sessions on other replicas are heard again', { redis: where });
    warned = deaf = false;
    heartbeat = setInterval(() => void examine(redis), heartbeatMs).unref();
    for (const listener of listeners) listener.missed();
  }

  /** A link that is cut without a word looks like one on which nothing is announced, as does one to a server left behind. */
  async function examine(redis: Redis): Promise<void> {
    try {
      if (!connection.isFit(redis, channel))
        throw new Unfit(`${nameOf(addressOf(redis))} is not in use any more`);
      await within(answerWithinMs, redis.ping());
    } catch (error) {
      lose(redis, error);
    }
  }

  return {
    listen(listener) {
      listeners.add(listener);
      if (!started && !isClosed()) {
        started = true;
        void connect();
      }
      return () => listeners.delete(listener);
    },
    close() {
      closing.abort();
      clearTimeout(retry);
      clearInterval(heartbeat);
      current?.disconnect();
      current = undefined;
    },
  };
}
