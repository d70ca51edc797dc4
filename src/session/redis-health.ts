import type { Clock } from '../kernel/clock.ts';
import type { Meter } from '../kernel/meter.ts';
import type { StoreHealth } from './types.ts';

/** What a connection to Redis needs from the house. */
export interface RedisDeps {
  readonly meter: Meter;
  readonly clock: Clock;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** Keeps what is known of the store, and tells the operator of every change once. */
export interface HealthKeeper {
  readonly health: () => StoreHealth;
  readonly setUp: () => void;
  readonly setDown: (cause: string) => void;
  /** It answers, but refuses writes: sessions that exist go on, and the operator is told. Undefined: no longer. */
  readonly setImpaired: (cause: string | undefined) => void;
  readonly close: () => void;
}

/** @param where names the store in log lines; without a credential */
export function keepHealth(where: string, { meter, clock, logWarning }: RedisDeps): HealthKeeper {
  let everFailed = false;
  let health: StoreHealth = Object.freeze({ up: false, ...since(clock), cause: 'not connected yet' });
  meter.storeUp(false);
  return {
    health: () => health,
    setUp() {
      if (health.up) return;
      // The first success is no news.
      if (everFailed) logWarning('the session store answers again', { redis: where });
      health = Object.freeze({ up: true, ...since(clock), ...(everFailed ? { again: true as const } : {}) });
      meter.storeUp(true);
    },
    setDown(cause) {
      if (!health.up && everFailed) {
        health = Object.freeze({ ...health, cause });
        return;
      }
      everFailed = true;
      health = Object.freeze({ up: false, ...since(clock), cause });
      meter.storeUp(false);
      logWarning('the session store cannot be reached', { redis: where, cause });
    },
    setImpaired(cause) {
      const { cause: before, ...rest } = health;
      if (!health.up || before === cause) return;
      if (cause !== undefined) logWarning('the session store refuses a command', { redis: where, cause });
      health = Object.freeze(cause === undefined ? rest : { ...rest, cause });
    },
    close() {
      health = Object.freeze({ up: false, ...since(clock), cause: 'closed' });
    },
  };
}

/** Now, by both clocks. */
function since(clock: Clock): Pick<StoreHealth, 'sinceMs' | 'sinceSteadyMs'> {
  const sinceSteadyMs = clock.steadyMs?.();
  return { sinceMs: clock.nowMs(), ...(sinceSteadyMs === undefined ? {} : { sinceSteadyMs }) };
}
