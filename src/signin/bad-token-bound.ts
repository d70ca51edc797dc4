import { normalizeIP } from '@fastify/rate-limit';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../kernel/clock.ts';

/** A bound on tokens that turn out to be bad, for each client address (IPv6: its /64, which one client has to itself). */
export interface BadTokenBound {
  /**
   * Seconds until another token from there is looked at; undefined: now.
   * @param about what is counted apart, such as a source
   */
  wait(clientIp: string, about?: string): number | undefined;
  /** Counts a bad one. */
  count(clientIp: string, about?: string): void;
}

const windowMs = 60_000;

/**
 * Anybody can send made-up tokens, and each costs a signature's verification and a line of the log; so who sends many of them waits.
 * Good ones never count: an IdP that signs everybody out at once sends all it has from one address.
 *
 * @param mostOfAll bad tokens in one minute
 * @param workers how many processes share the bound: each looks at its part of it
 */
export function createBadTokenBound(clock: Clock, mostOfAll: number, workers = 1): BadTokenBound {
  const most = Math.ceil(mostOfAll / workers);
  const windows = new LRUCache<string, { bad: number; readonly endsAtMs: number }>({ max: 10_000 });
  const keyOf = (clientIp: string, about: string): string => `${normalizeIP(clientIp)} ${about}`;
  const open = (key: string) => {
    const window = windows.get(key);
    // A clock that was set back must not hold anybody up for longer than a window.
    const leftMs = window === undefined ? 0 : window.endsAtMs - clock.nowMs();
    return leftMs > 0 && leftMs <= windowMs ? window : undefined;
  };
  return {
    wait(clientIp, about = '') {
      const window = open(keyOf(clientIp, about));
      if (window === undefined || window.bad < most) return undefined;
      return Math.max(1, Math.ceil((window.endsAtMs - clock.nowMs()) / 1000));
    },
    count(clientIp, about = '') {
      const key = keyOf(clientIp, about);
      const window = open(key) ?? { bad: 0, endsAtMs: clock.nowMs() + windowMs };
      window.bad += 1;
      windows.set(key, window);
    },
  };
}
