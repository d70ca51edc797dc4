import { connectRedis } from './redis-servers.ts';
import type { RedisDeps } from './redis-health.ts';
import type { RedisStoreOptions } from './redis-options.ts';

/** What a Redis server says of itself, as far as sessions depend on it; undefined where it does not say. */
export interface RedisInspection {
  /** `host:port`. */
  readonly where: string;
  /** `Redis 7.0.15`, `Valkey 8.0.1`. */
  readonly version: string | undefined;
  /** The release of Redis whose commands it has, its own or the one that it follows. */
  readonly redisVersion: string | undefined;
  /** `noeviction`, `allkeys-lru`, `volatile-ttl` …: what it throws away when its memory is full. */
  readonly evictionPolicy: string | undefined;
  /** Bytes; 0: no limit of its own. */
  readonly maxMemoryBytes: number | undefined;
  /** `master` or `slave`. */
  readonly role: string | undefined;
}

/**
 * Asks every Redis server that holds a part of the keys for its version, role and eviction policy.
 *
 * @returns the answers; throws where there are none (an ACL may forbid INFO)
 * @throws store_unavailable
 */
export async function inspectRedis(
  options: RedisStoreOptions,
  deps: RedisDeps,
): Promise<readonly RedisInspection[]> {
  const connection = connectRedis(options, deps);
  try {
    const { all } = await connection.shards();
    return await Promise.all(
      all.map(async (shard) => ({
        where: shard.where,
        // Without sections: servers older than 7.0 take one at most, and are to be recognised.
        ...readInfo(await shard.run('info', false, (redis) => redis.info())),
      })),
    );
  } finally {
    connection.close();
  }
}

function readInfo(info: string): Omit<RedisInspection, 'where'> {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1];
  const maxMemory = field('maxmemory');
  const [redis, valkey] = [field('redis_version'), field('valkey_version')];
  return {
    version: valkey === undefined ? redis && `Redis ${redis}` : `Valkey ${valkey}`,
    redisVersion: redis,
    evictionPolicy: field('maxmemory_policy'),
    maxMemoryBytes: maxMemory === undefined ? undefined : Number(maxMemory),
    role: field('role'),
  };
}
