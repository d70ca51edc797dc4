const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `30s`, `15m`, `12h`, `7d`, `250ms`: a non-negative integer and a unit. */
export const durationPattern = /^(0|[1-9][0-9]{0,9})(ms|s|m|h|d)$/;

/** Milliseconds of a written duration, or undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = durationPattern.exec(text);
  const unit = unitMs[match?.[2] ?? ''];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}
