/** How long to wait before the next worker takes the place of one that died. */
export interface BackOff {
  /** A worker died. @returns milliseconds to wait */
  died(livedMs: number): number;
}

/** One that lived so long did not die of its start. Milliseconds. */
const longLifeMs = 30_000;
const firstPauseMs = 250;
const longestPauseMs = 30_000;

/**
 * The first is replaced at once; while they die young in a row, the pause doubles up to half a minute: a crash loop must not burn
 * the machine that the others serve on. It never gives up.
 */
export function createBackOff(): BackOff {
  let inRow = 0;
  return {
    died(livedMs) {
      inRow = livedMs >= longLifeMs ? 1 : inRow + 1;
      if (inRow === 1) return 0;
      return Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(inRow - 2, 20));
    },
  };
}
