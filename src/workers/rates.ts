import { LRUCache } from 'lru-cache';
import type { Clock } from '../kernel/clock.ts';
import type { RateCount, RateCounter } from '../kernel/rate.ts';

/** How many keys are counted at a time; the least recently counted go first. */
const mostKeys = 20_000;
/** A worker waits so long for the count of all, then takes its own. Milliseconds. */
const patienceMs = 250;

/** Questions that may wait for an answer: a primary that hangs must not fill the memory of who asks it for each sign-in. */
const mostWaiting = 1_000;

/** Counts within fixed windows, in this process. */
export function createRateWindows(clock: Clock): { count(key: string, windowMs: number): RateCount } {
  const windows = new LRUCache<string, { count: number; readonly beganAtMs: number }>({ max: mostKeys });
  return {
    count(key, windowMs) {
      const nowMs = clock.nowMs();
      let window = windows.get(key);
      // A clock that was set back must not lengthen a window.
      if (window === undefined || nowMs >= window.beganAtMs + windowMs || nowMs < window.beganAtMs) {
        window = { count: 0, beganAtMs: nowMs };
        windows.set(key, window);
      }
      window.count += 1;
      return { count: window.count, remainingMs: window.beganAtMs + windowMs - nowMs };
    },
  };
}

/**
 * Counts where all workers count; while nobody answers there, this process counts for itself.
 * @param ask resolves with the count of all; undefined when it can't be had
 */
export function createSharedRates(
  ask: (key: string, windowMs: number) => Promise<RateCount | undefined>,
  clock: Clock,
): RateCounter {
  const own = createRateWindows(clock);
  let waiting = 0;
  function askOnce(key: string, windowMs: number): Promise<RateCount | undefined> {
    waiting += 1;
    return ask(key, windowMs).finally(() => (waiting -= 1));
  }
  return {
    async count(key, windowMs) {
      // Counted here all the while, so that a primary that falls silent opens nothing anew.
      const mine = own.count(key, windowMs);
      if (waiting >= mostWaiting) return mine;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<undefined>((resolve) => {
        timer = setTimeout(resolve, patienceMs, undefined);
      });
      try {
        return (await Promise.race([askOnce(key, windowMs), late])) ?? mine;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
