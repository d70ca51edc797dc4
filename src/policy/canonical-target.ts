import type { CanonicalTarget } from './types.ts';

/*
 * Upstreams, and proxies in front of them, read odd targets in different ways; whoever finds a target that the gate reads as one path
 * and the upstream as another walks past the rules. So: what has two readings is refused (400) where nobody needs it, and normalised
 * where it is harmless. What is left and still has two readings (`%2F`, path parameters) is weighed in routes.ts.
 */

/** Characters that stand for themselves in a canonical segment: RFC 3986 pchar. */
const pchar = /^[A-Za-z0-9\-._~!$&'()*+,;=:@]$/;

/** By char code: 1 = clean on the fast path. `%` and everything that is no pchar goes the slow way. */
const clean = new Uint8Array(256);
for (let code = 0; code < 128; code += 1) clean[code] = pchar.test(String.fromCharCode(code)) ? 1 : 0;

const slash = 0x2f;
const dot = 0x2e;
const question = 0x3f;

/**
 * The canonical copy of a request target's path, for matching only (SPEC section 5); the query is never part of it.
 *
 * Escapes of pchar characters are decoded, other escapes (`%2F` among them, which stays opaque) get upper-case digits, characters that
 * may not stand in a path are escaped, repeated slashes collapse and a trailing slash is ignored. Refused: dot segments (literal,
 * encoded, encoded twice or more, behind `%2F`, with path parameters), backslashes, control characters and spaces, broken escapes,
 * overlong UTF-8, a fragment, and anything that is not in origin form. Never throws.
 *
 * @see RFC 3986 section 6.2.2, RFC 9112 section 3.2.1
 */
export function canonicalTarget(rawTarget: string): CanonicalTarget {
  const length = rawTarget.length;
  if (length === 0 || rawTarget.charCodeAt(0) !== slash)
    return refuse('it is not in origin form: it has to begin with a slash');
  const segments: string[] = [];
  let start = 1;
  let index = 1;
  for (; index < length; index += 1) {
    const code = rawTarget.charCodeAt(index);
    if (code === slash) {
      if (index > start) {
        // A segment of dots only is rare enough to be judged the slow way.
        if (rawTarget.charCodeAt(start) === dot) return canonicalise(rawTarget);
        segments.push(rawTarget.slice(start, index));
      }
      start = index + 1;
    } else if (code === question) break;
    else if (code > 255 || clean[code] !== 1) return canonicalise(rawTarget);
  }
  if (index > start) {
    if (rawTarget.charCodeAt(start) === dot) return canonicalise(rawTarget);
    segments.push(rawTarget.slice(start, index));
  }
  const forbidden = findForbidden(rawTarget, index);
  if (forbidden !== undefined) return refuse(forbidden);
  return { ok: true, path: `/${segments.join('/')}`, segments };
}

/**
 * The target as the upstream gets it: the raw bytes, but for slashes before the first segment, of which one is left.
 *
 * A URL parser reads `//open/admin` relative to anything as the path `/admin` on the host `open` (WHATWG URL, "relative slash state"; so
 * does `new URL(request.url, base)`, which many Node servers route by), whereas the rules read the path `/open/admin`.
 */
export function upstreamTarget(rawTarget: string): string {
  return rawTarget.charCodeAt(1) === slash ? rawTarget.replace(/^\/+/, '/') : rawTarget;
}

/** Why no target may hold what stands at `from` or behind it, in path or query: control characters, spaces, fragments, more than a byte. */
function findForbidden(rawTarget: string, from: number): string | undefined {
  for (let index = from; index < rawTarget.length; index += 1) {
    const code = rawTarget.charCodeAt(index);
    if (code <= 0x20 || code === 0x7f) return 'it holds a control character or a space';
    if (code === 0x23) return 'it holds a fragment';
    if (code > 255) return 'it holds something that is no byte';
  }
  return undefined;
}

function refuse(why: string): CanonicalTarget {
  return { ok: false, code: 'target_malformed', why };
}

/** The slow way: every check, in full. */
function canonicalise(rawTarget: string): CanonicalTarget {
  const forbidden = findForbidden(rawTarget, 0);
  if (forbidden !== undefined) return refuse(forbidden);
  const end = rawTarget.indexOf('?');
  const rawPath = end === -1 ? rawTarget : rawTarget.slice(0, end);
  if (/%(?![0-9A-Fa-f]{2})/.test(rawPath)) return refuse('it holds a broken escape');
  if (/\\|%5c/i.test(rawPath)) return refuse('it holds a backslash');
  if (/%(?:[01][0-9a-f]|7f)/i.test(rawPath)) return refuse('it holds an encoded control character');
  // RFC 3629: a lenient decoder reads %C0%AE as a dot and %C0%AF as a slash.
  if (/%c[01]%[89ab][0-9a-f]|%e0%[89][0-9a-f]|%f0%8[0-9a-f]/i.test(escapeOthers(rawPath))) {
    return refuse('it holds overlong UTF-8');
  }
  const hidden = findHiddenDots(rawPath);
  if (hidden !== undefined) return refuse(hidden);
  const segments = rawPath.split('/').filter((segment) => segment !== '');
  const canonical = segments.map(canonicalSegment);
  return { ok: true, path: `/${canonical.join('/')}`, segments: canonical };
}

/** How often a path may be decoded before it changes no more; deeper nesting has no honest use, and unwinding it costs time squared. */
const maxNesting = 8;

/**
 * Why the path is refused when `.` or `..` stands between separators in any reading of it: as it is, or decoded any number of times,
 * with backslashes and `%2F` for slashes, with path parameters (`..;x`, which Tomcat reads as `..`).
 */
function findHiddenDots(rawPath: string): string | undefined {
  let path = rawPath;
  for (let round = 0; round <= maxNesting; round += 1) {
    if (/(?:^|[/\\])\.{1,2}(?:[/\\;?#]|$)/.test(path)) return 'it holds a dot segment';
    const decoded = decodeOnce(path);
    if (decoded === path) return undefined;
    path = decoded;
  }
  return 'its escapes are nested too deep';
}

/** Decodes the escapes of ASCII characters once; the others, and broken ones, stay as they are. */
function decodeOnce(path: string): string {
  return path.replace(/%([0-7][0-9A-Fa-f])/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

/** One segment in canonical form; its escapes are known to be whole. */
function canonicalSegment(segment: string): string {
  return escapeOthers(segment).replace(/%([0-9A-Fa-f]{2})/g, (escape, digits: string) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16));
    return pchar.test(character) ? character : escape.toUpperCase();
  });
}

/** Escapes what may not stand in a path; one character is one byte, as Node hands targets over (latin1). */
function escapeOthers(text: string): string {
  return text.replace(
    /[^A-Za-z0-9\-._~!$&'()*+,;=:@%/]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
