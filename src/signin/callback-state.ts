import { readCookie } from '../session/cookie.ts';
import {
  attemptCookieName,
  isExpired,
  openAttempt,
  sameState,
  type Attempt,
  type AttemptSealing,
} from './attempt.ts';
import type { CookieSite } from './attempt-cookies.ts';

/** Why a callback belongs to no attempt of this browser; each has its own words on the page. */
export type StateFault =
  | 'state_malformed'
  | 'attempt_cookie_missing'
  | 'attempt_unreadable'
  | 'attempt_expired'
  | 'attempt_of_another_source'
  | 'attempt_replayed';

/** The attempt that a callback ends, or why there is none; with the cookie that has served its time, if any. */
export type FoundAttempt =
  | { readonly ok: true; readonly attempt: Attempt; readonly cookieName: string }
  | {
      readonly ok: false;
      readonly fault: StateFault;
      readonly cookieName: string | undefined;
      readonly returnTo: string;
    };

/**
 * Finds the attempt that a callback's `state` belongs to, in this browser's cookies: before the code is redeemed and
 * before anything is asked of anyone (login CSRF, RFC 9700 section 4.7; mix-up, RFC 9700 section 4.4).
 *
 * @param states every `state` parameter of the callback: two of them are none
 */
export function findAttempt(
  sealing: AttemptSealing,
  site: CookieSite,
  request: {
    readonly cookieHeader: string | undefined;
    readonly states: readonly string[];
    readonly sourceId: string;
    readonly origin: string;
    /** Seconds since the epoch. */
    readonly now: number;
  },
): FoundAttempt {
  const [state] = request.states;
  if (state === undefined || request.states.length > 1 || !/^[A-Za-z0-9_-]{43}$/.test(state)) {
    return { ok: false, fault: 'state_malformed', cookieName: undefined, returnTo: '/' };
  }
  const cookieName = attemptCookieName(site.name, state);
  const value = readCookie(request.cookieHeader, cookieName);
  if (value === undefined || value === '') {
    return { ok: false, fault: 'attempt_cookie_missing', cookieName: undefined, returnTo: '/' };
  }
  const attempt = openAttempt(sealing, cookieName, value);
  // The name holds only a part of the state's digest: the sealed state itself must be the same.
  if (attempt === undefined || !sameState(attempt.state, state)) {
    return { ok: false, fault: 'attempt_unreadable', cookieName, returnTo: '/' };
  }
  const { returnTo } = attempt;
  if (isExpired(attempt, request.now)) return { ok: false, fault: 'attempt_expired', cookieName, returnTo };
  if (attempt.source !== request.sourceId || attempt.origin !== request.origin) {
    return { ok: false, fault: 'attempt_of_another_source', cookieName, returnTo };
  }
  return { ok: true, attempt, cookieName };
}
