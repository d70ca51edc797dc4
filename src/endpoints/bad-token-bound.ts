import { normalizeIP } from '@fastify/rate-limit';
import type { FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../kernel/clock.ts';

/** The bound on logout tokens that turn out to be bad, for each client address and source. */
export interface BadTokenBound {
  /** Seconds until another token is looked at; undefined: now. */
  wait(request: FastifyRequest, sourceId: string): number | undefined;
  /** Counts a bad one. */
  count(request: FastifyRequest, sourceId: string): void;
}

const mostOfAll = 300;
const windowMs = 60_000;

/**
 * Only bad tokens count: an IdP that signs everybody out at once sends all it has from one address, mostly once, and none of that may
 * be lost.
 *
 * @param workers how many processes share the bound: each looks at its part of it
 */
export function createBadTokenBound(clock: Clock, workers = 1): BadTokenBound {
  const most = Math.ceil(mostOfAll / workers);
  const windows = new LRUCache<string, { bad: number; readonly endsAtMs: number }>({ max: 10_000 });
  const keyOf = ({ facts }: FastifyRequest, sourceId: string): string =>
    `${normalizeIP(facts.clientIp)} ${sourceId}`;
  const open = (key: string) => {
    const window = windows.get(key);
    // A clock that was set back must not hold the IdP's logouts up for longer than a window.
    const leftMs = window === undefined ? 0 : window.endsAtMs - clock.nowMs();
    return leftMs > 0 && leftMs <= windowMs ? window : undefined;
  };
  return {
    wait(request, sourceId) {
      const window = open(keyOf(request, sourceId));
      if (window === undefined || window.bad < most) return undefined;
      return Math.max(1, Math.ceil((window.endsAtMs - clock.nowMs()) / 1000));
    },
    count(request, sourceId) {
      const key = keyOf(request, sourceId);
      const window = open(key) ?? { bad: 0, endsAtMs: clock.nowMs() + windowMs };
      window.bad += 1;
      windows.set(key, window);
    },
  };
}
