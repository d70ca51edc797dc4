import type { SessionConfig } from '../config/schema.ts';
import { systemClock } from '../kernel/clock.ts';
import { isFault } from '../kernel/error.ts';
import { silentMeter } from '../kernel/meter.ts';
import { systemRandomness } from '../kernel/randomness.ts';
import { readRedisOptions } from '../session/redis-options.ts';
import { createRedisStore } from '../session/redis-store.ts';
import { createSealing, type Sealing } from '../session/sealing.ts';
import type { Store } from '../session/types.ts';
import type { CommandIo } from './command.ts';

/** The store that a running `serve` shares with this command, and what opens its records. */
export interface SealedStore {
  readonly store: Store;
  readonly sealing: Sealing;
}

/**
 * Connects to the Redis of the configuration; undefined where sessions are kept in memory: those are `serve`'s alone.
 * The caller closes the store.
 */
export function openSealedStore({ redis, secrets }: SessionConfig): SealedStore | undefined {
  if (redis === undefined) return undefined;
  const sealing = createSealing(
    (secrets ?? []).map((secret) => Buffer.from(secret.reveal(), 'utf8')),
    systemRandomness,
  );
  const store = createRedisStore(readRedisOptions(redis), {
    meter: silentMeter,
    clock: systemClock,
    logWarning: () => undefined,
  });
  return { store, sealing };
}

/**
 * Does a command's work with a store that answers, and closes it.
 * @returns the exit status: the work's own, or 1 where Redis cannot be reached, which has been said
 */
export async function whileReached(
  store: Store,
  command: string,
  io: CommandIo,
  work: () => Promise<number>,
): Promise<number> {
  try {
    await store.ping();
    return await work();
  } catch (error) {
    if (!isFault(error, 'store_unavailable')) throw error;
    io.stderr.write(`sallyport ${command}: Redis cannot be reached: ${error.detail ?? error.message}\n`);
    return 1;
  } finally {
    await store.close();
  }
}
