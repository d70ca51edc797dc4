import type { Randomness } from '../kernel/randomness.ts';
import type { Store } from './types.ts';

/** Something that one of all replicas has for itself, for as long as it lives and says so. */
export interface Lease {
  /** Lets others have it at once; never throws: without the store it ends by itself. */
  release(): Promise<void>;
}

/** Takes leases. */
export interface Leases {
  /** The lease on `key`, or undefined while somebody else has it. @throws store_unavailable */
  take(key: string): Promise<Lease | undefined>;
}

/** A replica that dies holds a lease no longer than this. Milliseconds. */
const leaseMs = 5000;
const renewEveryMs = 1500;

/**
 * Leases over a store. Each is a key whose value nobody else knows, so that only its holder renews it or gives it back: one that was
 * stopped for longer than its lease takes nothing from whoever has it now.
 */
export function createLeases({
  store,
  randomness,
}: {
  readonly store: Pick<Store, 'putIfAbsent' | 'touchIf' | 'deleteIf'>;
  readonly randomness: Randomness;
}): Leases {
  return {
    async take(key) {
      const holder = randomness.bytes(16);
      if (!(await store.putIfAbsent(key, holder, leaseMs))) return undefined;
      const timer = setInterval(() => {
        store.touchIf(key, holder, leaseMs).then(
          (held) => {
            if (!held) clearInterval(timer);
          },
          () => undefined,
        );
      }, renewEveryMs).unref();
      return {
        async release() {
          clearInterval(timer);
          await store.deleteIf(key, holder).catch(() => undefined);
        },
      };
    },
  };
}
