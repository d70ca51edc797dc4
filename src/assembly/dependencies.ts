import type { Generation } from '../generation.ts';
import type { Dependency } from '../operations/health.ts';
import type { Store } from '../session/types.ts';

/** What the health report watches: Redis, where there is one, and each source's IdP. */
export function dependencies({ config, sources }: Generation, store: Store): readonly Dependency[] {
  const idps = [...sources.values()].map(({ provider }): Dependency => ({
    name: `idp:${provider.sourceId}`,
    required: false,
    state: () => {
      const { available, sinceMs, cause } = provider.status();
      return { up: available, sinceMs, cause };
    },
  }));
  if (config.session.redis === undefined) return idps;
  const required = config.operations.readiness_requires.includes('redis');
  return [{ name: 'redis', required, state: () => store.health() }, ...idps];
}
