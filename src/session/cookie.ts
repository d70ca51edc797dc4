/*
 * Sallyport's own cookies (SPEC section 6): the session cookie, and the attempt cookies beside it. RFC 6265bis.
 * Everything here runs once a request, so it works on the raw header and allocates next to nothing.
 */

const prefixes = ['__Host-', '__Secure-'];

/**
 * The session cookie's name on an origin. Browsers refuse the `__Host-` and `__Secure-` prefixes without TLS, so an http
 * loopback origin (the only kind without TLS) goes without them.
 *
 * @see RFC 6265bis section 4.1.3
 */
export function sessionCookie(cookieName: string, secureOrigin: boolean): string {
  if (secureOrigin) return cookieName;
  for (const prefix of prefixes) {
    if (cookieName.length > prefix.length && cookieName.toLowerCase().startsWith(prefix.toLowerCase())) {
      return cookieName.slice(prefix.length);
    }
  }
  return cookieName;
}

/** The name of a sign-in attempt's cookie: {@link isOwnCookie} knows it by its shape. */
export function attemptCookie(effectiveName: string, suffix: string): string {
  return `${effectiveName}${attemptInfix}${suffix}`;
}

const attemptInfix = '-a-';

/**
 * A `Set-Cookie` value for one of our own cookies: SameSite=Lax, HttpOnly, Path=/, no Domain; Secure unless on an http
 * loopback origin. Without `maxAgeSeconds` it lives as long as the browser runs; the store's limits apply in any case.
 *
 * @param name effective name, from {@link sessionCookie} or {@link attemptCookie}
 * @param value base64url: never quoted, never encoded
 * @see RFC 6265bis section 4.1
 */
export function serializeSessionCookie(
  name: string,
  value: string,
  secureOrigin: boolean,
  maxAgeSeconds?: number,
): string {
  const life = maxAgeSeconds === undefined ? '' : `; Max-Age=${Math.floor(maxAgeSeconds)}`;
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Lax${secureOrigin ? '; Secure' : ''}${life}`;
}

/** A `Set-Cookie` value that makes the browser forget one of our own cookies. */
export function serializeExpiredCookie(name: string, secureOrigin: boolean): string {
  return `${serializeSessionCookie(name, '', secureOrigin, 0)}; Expires=Thu, 01 Jan 1970 00:00:00 GMT`;
}

const semicolon = 0x3b;
const equals = 0x3d;

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * The value of the cookie `name`, or undefined. Names are compared exactly, as browsers send them.
 *
 * Several cookies of that name with different values yield undefined: only one of them can be ours, and a sibling
 * host can set the other (where the name has no `__Host-` prefix); to pick either would let it push its own session
 * onto a user (login CSRF, session fixation). The same value repeated is one cookie.
 */
export function readCookie(header: string | undefined, name: string): string | undefined {
  if (header === undefined || name === '') return undefined;
  let found: string | undefined;
  let at = header.indexOf(name);
  while (at !== -1) {
    const after = at + name.length;
    if (header.charCodeAt(after) === equals && startsPair(header, at)) {
      let end = header.indexOf(';', after);
      if (end === -1) end = header.length;
      while (end > after + 1 && isBlank(header.charCodeAt(end - 1))) end -= 1;
      const value = header.slice(after + 1, end);
      if (found !== undefined && found !== value) return undefined;
      found = value;
      at = end;
    } else {
      at = after;
    }
    at = header.indexOf(name, at);
  }
  return found;
}

/** Whether a cookie-pair may begin at `at`: nothing but blanks between it and a semicolon or the header's start. */
function startsPair(header: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && isBlank(header.charCodeAt(before))) before -= 1;
  return before < 0 || header.charCodeAt(before) === semicolon;
}

/**
 * Whether a cookie of this name is Sallyport's: the session cookie, or an attempt's. Case does not count, nor do blanks
 * around the name: some upstreams fold and trim, and what they could read as ours must not reach them.
 *
 * @param cookieName effective name, from {@link sessionCookie}
 */
export function isOwnCookie(name: string, cookieName: string): boolean {
  return isOwnSpan(name, 0, name.length, cookieName);
}

function isOwnSpan(text: string, from: number, to: number, cookieName: string): boolean {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  const length = end - start;
  if (length < cookieName.length || !matchesFolded(text, start, cookieName)) return false;
  if (length === cookieName.length) return true;
  return (
    length >= cookieName.length + attemptInfix.length &&
    matchesFolded(text, start + cookieName.length, attemptInfix)
  );
}

/** Whether `word` stands in `text` at `at`, ASCII case aside. Cookie names are tokens: ASCII. */
function matchesFolded(text: string, at: number, word: string): boolean {
  for (let index = 0; index < word.length; index += 1) {
    if (fold(text.charCodeAt(at + index)) !== fold(word.charCodeAt(index))) return false;
  }
  return true;
}

function fold(code: number): number {
  return code >= 0x41 && code <= 0x5a ? code + 0x20 : code;
}

/**
 * A `Cookie` header without Sallyport's own cookies, byte for byte as it was otherwise; undefined when nothing is left.
 * A header that holds none of ours comes back as it is.
 *
 * @param cookieName effective name, from {@link sessionCookie}
 */
export function stripOwnCookies(header: string | undefined, cookieName: string): string | undefined {
  if (header === undefined) return undefined;
  let kept: string | undefined;
  let keptUpTo = 0;
  let start = 0;
  while (start <= header.length) {
    let end = header.indexOf(';', start);
    if (end === -1) end = header.length;
    let nameEnd = header.indexOf('=', start);
    if (nameEnd === -1 || nameEnd > end) nameEnd = end;
    if (isOwnSpan(header, start, nameEnd, cookieName)) {
      // What stood before goes, with the semicolon that ended it; the next pair brings its own.
      kept = (kept ?? '') + header.slice(keptUpTo, start);
      keptUpTo = end + 1;
    }
    start = end + 1;
  }
  if (kept === undefined) return header;
  kept += header.slice(keptUpTo);
  return trimPairs(kept);
}

/** Drops separators left over at both ends; undefined when nothing else is there. */
function trimPairs(text: string): string | undefined {
  let start = 0;
  let end = text.length;
  while (start < end && isSeparator(text.charCodeAt(start))) start += 1;
  while (end > start && isSeparator(text.charCodeAt(end - 1))) end -= 1;
  return start === end ? undefined : text.slice(start, end);
}

function isSeparator(code: number): boolean {
  return code === semicolon || isBlank(code);
}
