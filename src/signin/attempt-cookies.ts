import type { Generation } from '../generation.ts';
import { serializeExpiredCookie, serializeSessionCookie, sessionCookie } from '../session/cookie.ts';
import {
  attemptCookieName,
  attemptLifeSeconds,
  isExpired,
  maxAttempts,
  openAttempt,
  sealAttempt,
  type Attempt,
  type AttemptSealing,
} from './attempt.ts';

/** Our cookies on one origin: their names, and whether they are `Secure`. */
export interface CookieSite {
  /** Effective name of the session cookie there. */
  readonly name: string;
  readonly secure: boolean;
}

/** How our cookies are called on this origin. */
export function cookieSite(generation: Pick<Generation, 'config'>, origin: string): CookieSite {
  const secure = origin.startsWith('https:');
  return { name: sessionCookie(generation.config.session.cookie_name, secure), secure };
}

/**
 * The `Set-Cookie` values that begin an attempt: its own, and the end of those that make room for it: what is expired or
 * does not open, and the oldest beyond five. Cookies that pile up would outgrow the request head and lock the browser out.
 *
 * @param cookieHeader the request's `Cookie`
 */
export function beginAttemptCookies(
  sealing: AttemptSealing,
  site: CookieSite,
  cookieHeader: string | undefined,
  attempt: Attempt,
): readonly string[] {
  // In milliseconds: a browser that opens its tabs again begins them all in one second, and the latest must not make room for the first.
  const underWay: { readonly name: string; readonly begunAtMs: number }[] = [];
  const gone: string[] = [];
  for (const [name, value] of attemptCookies(cookieHeader, site.name)) {
    const other = openAttempt(sealing, name, value);
    if (other === undefined || isExpired(other, attempt.createdAt)) gone.push(name);
    else underWay.push({ name, begunAtMs: other.createdAtMs ?? other.createdAt * 1000 });
  }
  underWay.sort((one, other) => other.begunAtMs - one.begunAtMs);
  gone.push(...underWay.slice(maxAttempts - 1).map(({ name }) => name));
  const name = attemptCookieName(site.name, attempt.state);
  return [
    ...gone.map((old) => serializeExpiredCookie(old, site.secure)),
    serializeSessionCookie(name, sealAttempt(sealing, name, attempt), site.secure, attemptLifeSeconds),
  ];
}

/** Every attempt cookie of a request, name and value; bounded, since anyone can write a `Cookie` header. */
function attemptCookies(header: string | undefined, sessionCookieName: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, equals).trim();
    if (equals < 1 || !isAttemptName(name, sessionCookieName)) continue;
    found.set(name, pair.slice(equals + 1).trim());
    if (found.size === 32) break;
  }
  return found;
}

function isAttemptName(name: string, sessionCookieName: string): boolean {
  const prefix = `${sessionCookieName}-a-`;
  return name.startsWith(prefix) && /^[A-Za-z0-9_-]{1,32}$/.test(name.slice(prefix.length));
}
