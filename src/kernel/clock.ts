/** The time of day, as a port: everything that judges by time takes one, so that tests own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds since some moment, which nobody's setting of the clock moves; it may stand still while the machine sleeps. */
  steadyMs?(): number;
}

/** The machine's own clock. */
export const systemClock: Clock = { nowMs: () => Date.now(), steadyMs: () => performance.now() };

/**
 * The same clock, but never back: when somebody sets it back it goes on as it went, and so is ahead from then on. For durations: what is
 * to last a minute must not last an hour and a minute. Without a steady clock beside it, it stands still until the other has caught up.
 */
export function createForwardClock(clock: Clock): Clock {
  let aheadMs = -Infinity;
  return {
    nowMs() {
      const steadyMs = clock.steadyMs?.() ?? 0;
      // Of the offsets, the largest: sums of differences would gather what each reading is rounded by.
      aheadMs = Math.max(aheadMs, clock.nowMs() - steadyMs);
      return Math.round(steadyMs + aheadMs);
    },
  };
}

/** Whole seconds since the epoch, as JWT's NumericDate counts them (RFC 7519 section 2). */
export function nowSeconds(clock: Clock): number {
  return Math.floor(clock.nowMs() / 1000);
}
