import { createMemoryStore } from './memory-store.ts';
import type { RedisDeps } from './redis-health.ts';
import { readRedisOptions } from './redis-options.ts';
import type { RedisSettings } from './redis-options.ts';
import { createRedisStore } from './redis-store.ts';
import type { Store } from './types.ts';

/**
 * The store that the configuration names: Redis, or, without `session.redis`, this process's memory (of which the
 * configuration's checks warn).
 *
 * @throws config_invalid
 */
export function createStore(
  settings: { readonly redis?: RedisSettings | undefined },
  deps: RedisDeps,
): Store {
  if (settings.redis !== undefined) return createRedisStore(readRedisOptions(settings.redis), deps);
  deps.meter.storeUp(true);
  return createMemoryStore(deps.clock);
}
