import { LRUCache } from 'lru-cache';
import { createForwardClock, type Clock } from '../kernel/clock.ts';
import type { Randomness } from '../kernel/randomness.ts';

/** When the next refresh of a session may be tried: an IdP that is down is not asked by every request. */
export interface RefreshBackoff {
  /**
   * Whether a refresh may begin now.
   * @param eager somebody waits for it: does not heed that another replica had it a moment ago
   */
  mayBegin(key: string, source: string, eager: boolean): boolean;
  /** One begins: of a source that failed last, nobody else tries before {@link RefreshBackoff.ended}. */
  begun(key: string, source: string): void;
  ended(key: string, source: string): void;
  /** The IdP has answered, whatever it said. */
  answered(key: string, source: string): void;
  /** No answer. @returns how many in a row, for the source */
  failed(key: string, source: string): number;
  /** Another replica is at it: this one looks again a little later. */
  yielded(key: string): void;
}

interface Pause {
  readonly failures: number;
  readonly untilMs: number;
  /** Whose refresh finds out whether it is over. */
  readonly tried?: string;
}

const leastMs = 1000;
const mostMs = 60_000;
const yieldMs = 1000;
const mostSessions = 10_000;

/** Pauses per session and per source: from 1 s, doubled up to 60 s, each shortened at random by up to half, so that not all come back at once. */
export function createRefreshBackoff({
  clock,
  randomness,
}: {
  readonly clock: Clock;
  readonly randomness: Randomness;
}): RefreshBackoff {
  const forward = createForwardClock(clock);
  const sessions = new LRUCache<string, Pause>({ max: mostSessions });
  const sources = new Map<string, Pause>();

  function nextPause(before: Pause | undefined): Pause {
    const failures = (before?.failures ?? 0) + 1;
    const fullMs = Math.min(mostMs, leastMs * 2 ** Math.min(failures - 1, 16));
    const share = 0.5 + randomness.bytes(2).readUInt16BE() / 0x1_0000 / 2;
    return { failures, untilMs: forward.nowMs() + fullMs * share };
  }

  return {
    mayBegin(key, source, eager) {
      const nowMs = forward.nowMs();
      const own = sessions.get(key);
      if (own !== undefined && nowMs < own.untilMs && !(eager && own.failures === 0)) return false;
      const all = sources.get(source);
      return all === undefined || (nowMs >= all.untilMs && all.tried === undefined);
    },
    begun(key, source) {
      const pause = sources.get(source);
      if (pause !== undefined) sources.set(source, { ...pause, tried: key });
    },
    ended(key, source) {
      const pause = sources.get(source);
      if (pause?.tried !== key) return;
      sources.set(source, { failures: pause.failures, untilMs: pause.untilMs });
    },
    answered(key, source) {
      sessions.delete(key);
      sources.delete(source);
    },
    failed(key, source) {
      sessions.set(key, nextPause(sessions.get(key)));
      const known = sources.get(source);
      // Those that were under way together failed of one and the same.
      const pause = known !== undefined && forward.nowMs() < known.untilMs ? known : nextPause(known);
      sources.set(source, pause);
      return pause.failures;
    },
    yielded(key) {
      const failures = sessions.get(key)?.failures ?? 0;
      sessions.set(key, { failures, untilMs: forward.nowMs() + yieldMs });
    },
  };
}
