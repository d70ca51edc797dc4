import { Redis } from 'ioredis';
import { clientOptions } from './redis-connection.ts';
import { describeFault } from './redis-fault.ts';
import type { RedisStoreOptions } from './redis-options.ts';

/** What a Redis server says of itself, as far as sessions depend on it; undefined where it does not say (an ACL may forbid INFO). */
export interface RedisInspection {
  readonly version: string | undefined;
  /** `noeviction`, `allkeys-lru`, `volatile-ttl` …: what it throws away when its memory is full. */
  readonly evictionPolicy: string | undefined;
  /** Bytes; 0: no limit of its own. */
  readonly maxMemoryBytes: number | undefined;
}

/**
 * Asks a Redis server for its version and eviction policy, over a connection of its own.
 * @returns the answer, or why there is none
 */
export async function inspectRedis(
  options: RedisStoreOptions,
): Promise<RedisInspection | { readonly cause: string }> {
  const redis = new Redis(clientOptions(options));
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    const info = await redis.info('server', 'memory');
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1];
    const maxMemory = field('maxmemory');
    return {
      version: field('valkey_version') ?? field('redis_version'),
      evictionPolicy: field('maxmemory_policy'),
      maxMemoryBytes: maxMemory === undefined ? undefined : Number(maxMemory),
    };
  } catch (error) {
    return { cause: describeFault(error, `${options.host}:${options.port}`).cause };
  } finally {
    redis.disconnect();
  }
}
