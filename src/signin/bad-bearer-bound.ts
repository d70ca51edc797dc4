import { isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../kernel/clock.ts';

/** The bound on access tokens that turn out to be bad, for each client address (IPv6: its /64, which one client has to itself). */
export interface BadBearerBound {
  /** Seconds until a token that is not known is looked at again; undefined: now. */
  wait(clientIp: string): number | undefined;
  /** Counts a bad one. */
  count(clientIp: string): void;
}

/** Bad tokens in one window. What is known to be good is not held up by any number of them. */
const most = 120;
const windowMs = 60_000;

/**
 * Anybody can send made-up tokens, and each costs a signature's verification and a line of the log; so who sends many of them waits.
 */
export function createBadBearerBound(clock: Clock): BadBearerBound {
  const windows = new LRUCache<string, { bad: number; readonly endsAtMs: number }>({ max: 10_000 });
  const open = (key: string) => {
    const window = windows.get(key);
    // A clock that was set back must not hold anybody up for longer than a window.
    const leftMs = window === undefined ? 0 : window.endsAtMs - clock.nowMs();
    return leftMs > 0 && leftMs <= windowMs ? window : undefined;
  };
  return {
    wait(clientIp) {
      const window = open(networkOf(clientIp));
      if (window === undefined || window.bad < most) return undefined;
      return Math.max(1, Math.ceil((window.endsAtMs - clock.nowMs()) / 1000));
    },
    count(clientIp) {
      const key = networkOf(clientIp);
      const window = open(key) ?? { bad: 0, endsAtMs: clock.nowMs() + windowMs };
      window.bad += 1;
      windows.set(key, window);
    },
  };
}

/** An IPv4 address as it is; of an IPv6 address the first 64 bits, in one spelling. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const before = groups(head);
  const after = groups(tail ?? '');
  // A dotted last group stands for two.
  const length = before.length + after.length + (address.includes('.') ? 1 : 0);
  const gap = tail === undefined ? [] : Array<string>(Math.max(0, 8 - length)).fill('0');
  return [...before, ...gap, ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
