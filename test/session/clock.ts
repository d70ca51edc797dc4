import type { Clock } from '../../src/kernel/clock.ts';

/** A clock that stands still until a test moves it. */
export interface StillClock extends Clock {
  advance(ms: number): void;
}

export function createStillClock(startMs = Date.UTC(2026, 0, 1)): StillClock {
  let nowMs = startMs;
  return {
    nowMs: () => nowMs,
    advance(ms) {
      nowMs += ms;
    },
  };
}
