import { Redis } from 'ioredis';
import { clientOptions } from './redis-connection.ts';
import type { RedisDeps } from './redis-connection.ts';
import { describeFault } from './redis-fault.ts';
import type { RedisStoreOptions } from './redis-options.ts';
import type { StoreListener } from './types.ts';

/** Listens on one channel for as long as anyone wants to hear of it. */
export interface RedisSubscription {
  listen(listener: StoreListener): () => void;
  close(): void;
}

/** How often a silent link is asked for a sign of life, and how long it may take to give one. Milliseconds. */
const heartbeatMs = 1000;
const answerWithinMs = 800;
const leastPauseMs = 50;
const mostPauseMs = 1000;

/**
 * A connection of its own (one that listens can do nothing else), made with the first listener and again whenever it is lost. Each
 * time it stands, everybody is told that announcements may have been missed. What can't be heard is no fault of any request: it only
 * takes longer until a session that ended elsewhere is seen to have ended.
 */
export function subscribeRedis(
  options: RedisStoreOptions,
  channel: string,
  deps: RedisDeps,
): RedisSubscription {
  const listeners = new Set<StoreListener>();
  const where = `${options.host}:${options.port}`;
  let current: Redis | undefined;
  let started = false;
  let closed = false;
  let deaf = false;
  let pauseMs = leastPauseMs;
  let retry: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;

  function lose(redis: Redis, error: unknown): void {
    if (redis !== current) return;
    current = undefined;
    clearInterval(heartbeat);
    redis.disconnect();
    if (closed) return;
    const { cause } = describeFault(error, where);
    if (!deaf) {
      deaf = true;
      deps.logWarning('the ends of sessions on other replicas can not be heard: they are seen later', {
        redis: where,
        cause,
      });
    }
    retry = setTimeout(connect, pauseMs).unref();
    pauseMs = Math.min(pauseMs * 2, mostPauseMs);
  }

  function connect(): void {
    const redis = new Redis(clientOptions(options));
    current = redis;
    let first: unknown;
    redis.on('error', (error: unknown) => (first ??= error));
    redis.on('close', () => lose(redis, first ?? new Error('closed')));
    redis.on('message', (_channel: string, message: string) => {
      for (const listener of listeners) listener.heard(message);
    });
    const late = setTimeout(() => lose(redis, new Error('late')), answerWithinMs * 2).unref();
    redis
      .connect()
      .then(() => redis.subscribe(channel))
      .then(
        () => {
          if (redis !== current) return;
          pauseMs = leastPauseMs;
          if (deaf)
            deps.logWarning('the ends of sessions on other replicas are heard again', { redis: where });
          deaf = false;
          watch(redis);
          for (const listener of listeners) listener.missed();
        },
        (error: unknown) => lose(redis, first ?? error),
      )
      .finally(() => clearTimeout(late));
  }

  /** A link that is cut without a word looks like one on which nothing is announced. */
  function watch(redis: Redis): void {
    heartbeat = setInterval(() => {
      const late = setTimeout(() => lose(redis, new Error('silent')), answerWithinMs).unref();
      redis.ping().then(
        () => clearTimeout(late),
        () => clearTimeout(late),
      );
    }, heartbeatMs).unref();
  }

  return {
    listen(listener) {
      listeners.add(listener);
      if (!started && !closed) {
        started = true;
        connect();
      }
      return () => listeners.delete(listener);
    },
    close() {
      closed = true;
      clearTimeout(retry);
      clearInterval(heartbeat);
      current?.disconnect();
      current = undefined;
    },
  };
}
