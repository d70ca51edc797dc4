/** Where a key stands after it was counted. */
export interface RateCount {
  /** How often in the current window, this time included. */
  readonly count: number;
  /** Until the window ends. Milliseconds. */
  readonly remainingMs: number;
}

/** Counts within fixed windows, for all processes that share a port. Never throws. */
export interface RateCounter {
  count(key: string, windowMs: number): RateCount | Promise<RateCount>;
}
