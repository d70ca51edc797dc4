/** The time of day, as a port: everything that judges by time takes one, so that tests own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
}

/** The machine's own clock. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** Whole seconds since the epoch, as JWT's NumericDate counts them (RFC 7519 section 2). */
export function nowSeconds(clock: Clock): number {
  return Math.floor(clock.nowMs() / 1000);
}
