import { connectCluster } from './redis-cluster.ts';
import { connectMaster, connectSingle } from './redis-connection.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisDeps } from './redis-health.ts';
import type { RedisStoreOptions } from './redis-options.ts';

/** Begins to connect, at once, to whatever kind of set-up the configuration names. */
export function connectRedis({ servers, access }: RedisStoreOptions, deps: RedisDeps): RedisConnection {
  switch (servers.kind) {
    case 'single':
      return connectSingle(servers.address, access, deps);
    case 'sentinel':
      return connectMaster(servers, access, deps);
    case 'cluster':
      return connectCluster(servers.seeds, access, deps);
  }
}
