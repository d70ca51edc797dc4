/** Longest path that is carried through a sign-in, in characters; a longer one would swell the attempt's cookie. */
const maxLength = 1024;

/** What may be returned to under our own prefix: nothing that signs in or out, or the way would never end. */
const ownPages: ReadonlySet<string> = new Set(['whoami', 'status']);

/**
 * The local path to go to after a sign-in: `value` where it is one, else `/`.
 *
 * Everything that some browser, proxy or upstream could read as another origin (`//host`, `/\host`, `/%2f/host`, tabs and
 * line breaks that URL parsers drop, absolute URLs, user info) is replaced, as are our own sign-in and sign-out endpoints.
 * The result is ASCII, begins with exactly one slash, and is safe as a `Location`.
 * @see https://url.spec.whatwg.org/#url-parsing (backslashes and dropped characters)
 */
export function localReturnTo(value: unknown, pathPrefix = '/_sallyport'): string {
  if (typeof value !== 'string' || value.length > maxLength || !isPlainPath(value)) return '/';
  const base = 'http://sallyport.invalid';
  const url = URL.canParse(value, base) ? new URL(value, base) : undefined;
  if (url?.origin !== base || url.username !== '' || url.password !== '') return '/';
  const path = url.pathname + url.search + url.hash;
  // Dot segments are gone now, and may have left a host behind: `/.//host`.
  if (path.length > maxLength || !isPlainPath(path)) return '/';
  const decoded = decodeFully(url.pathname);
  if (decoded === undefined || !isPlainPath(decoded)) return '/';
  return isOwnEndpoint(decoded, pathPrefix) ? '/' : path;
}

/** One leading slash, not two in any spelling, and nothing that a URL parser drops or turns into a slash. */
function isPlainPath(path: string): boolean {
  const beforeQuery = path.split(/[?#]/, 1)[0] ?? '';
  return (
    path.startsWith('/') &&
    !/^\/\s*[/\\]/.test(path) &&
    !/[\p{Cc}\p{Cs}]/u.test(path) &&
    !beforeQuery.includes('\\')
  );
}

/** The path with its escapes undone until none is left; undefined where they are broken or nested too deeply. */
function decodeFully(path: string): string | undefined {
  let current = path;
  for (let round = 0; round < 4; round += 1) {
    let next: string;
    try {
      next = decodeURIComponent(current);
    } catch {
      // A lone `%` after a first round is part of a name (`100%25`), not an escape.
      return round === 0 ? undefined : current;
    }
    if (next === current) return current;
    current = next;
  }
  return undefined;
}

function isOwnEndpoint(decodedPath: string, pathPrefix: string): boolean {
  const segments = decodedPath.split('/').filter((segment) => segment !== '' && segment !== '.');
  const prefix = pathPrefix.split('/').filter((segment) => segment !== '');
  if (prefix.some((segment, index) => segments[index]?.toLowerCase() !== segment.toLowerCase())) return false;
  const [page = '', ...rest] = segments.slice(prefix.length);
  // An operator who has to sign in first goes on to the canary: it starts no session, so it does not lead back here.
  return !(rest.length === 0 ? ownPages.has(page) : rest.length === 1 && page === 'canary');
}
