import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import type { SessionsDeps } from '../../src/session/sessions.ts';

const hourMs = 3_600_000;

/** What sessions are made of in tests: the limits of an installation that sets none, few places in memory, nobody who counts. */
export function sessionsDeps(
  given: Pick<SessionsDeps, 'store' | 'sealing' | 'clock'> & Partial<SessionsDeps>,
): SessionsDeps {
  return {
    randomness: systemRandomness,
    meter: silentMeter,
    idleTimeoutMs: 8 * hourMs,
    absoluteTimeoutMs: 24 * hourMs,
    cacheMs: 5000,
    outageGraceMs: 0,
    maxCached: 100,
    ...given,
  };
}
