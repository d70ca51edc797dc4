/*
 * What a client's `Authorization` is, by its shape alone (SPEC section 5, access `credentials`). The forge accepts an account's password
 * wherever it accepts a token, and would mint a lasting token for one: so only what no person could have typed into a phishing page
 * goes upstream. Read as Gitea and Forgejo read it (services/auth/basic.go and oauth2.go; modules/auth/httpauth since 1.25): where
 * two readings are possible, it is malformed.
 */

/** `token`: token-shaped, for the upstream to check. `password`: Basic with anything else. `malformed`: junk, or more than one. */
export type CredentialShape = 'token' | 'password' | 'malformed';

/** What forges and their OAuth provider issue: 20 random bytes in lower-case hexadecimal (models/auth/access_token.go). */
const accessToken = /^[0-9a-f]{40}$/;

/** Longer than any JWT that a forge issues, shorter than a request head. */
const maxJwtLength = 8_192;
const jwt = /^(ey[A-Za-z0-9_-]{8,})\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{16,}$/;

/** Whether a secret has the shape of a token: 40 lower-case hexadecimal digits, or a signed JWT in compact form (RFC 7519). */
export function isTokenShaped(secret: string): boolean {
  return accessToken.test(secret) || isJwtShaped(secret);
}

function isJwtShaped(secret: string): boolean {
  const head = secret.length <= maxJwtLength ? jwt.exec(secret)?.[1] : undefined;
  if (head === undefined) return false;
  try {
    const header: unknown = JSON.parse(Buffer.from(head, 'base64url').toString('utf8'));
    if (typeof header !== 'object' || header === null || !('alg' in header)) return false;
    return typeof header.alg === 'string' && header.alg.toLowerCase() !== 'none';
  } catch {
    return false;
  }
}

const parts = /^([A-Za-z]+) +([^\s]+)$/;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * The shape of the one `Authorization` value of a request. The scheme's case does not count (RFC 9110 section 11.1); `token` is what
 * forges and their tools say for `Bearer`.
 *
 * @param value as Node hands it over: surrounding blanks gone, one character for each byte
 */
export function shapeOfAuthorization(value: string): CredentialShape {
  const [, scheme, secret] = parts.exec(value) ?? [];
  if (scheme === undefined || secret === undefined) return 'malformed';
  switch (scheme.toLowerCase()) {
    case 'bearer':
    case 'token':
      return isTokenShaped(secret) ? 'token' : 'malformed';
    case 'basic':
      return shapeOfBasic(secret);
    default:
      return 'malformed';
  }
}

/** @see RFC 7617 section 2 */
function shapeOfBasic(encoded: string): CredentialShape {
  if (!base64.test(encoded)) return 'malformed';
  const bytes = Buffer.from(encoded, 'base64');
  // Bits that no byte uses: another decoder may refuse what this one reads.
  if (bytes.toString('base64') !== encoded) return 'malformed';
  const text = bytes.toString('latin1');
  const colon = text.indexOf(':');
  if (colon === -1) return 'malformed';
  const name = text.slice(0, colon);
  const password = text.slice(colon + 1);
  // Only then does the forge look at the name for a token; otherwise it is an account's, and the rest is its password.
  const secret = password === '' || password === 'x-oauth-basic' ? name : password;
  return isTokenShaped(secret) ? 'token' : 'password';
}

/**
 * The access token that a request brings for us to check (RFC 6750 section 2.1), `malformed` when there is no one reading of what it
 * brings, undefined when it brings none: another scheme is none.
 */
export function findBearer(
  rawHeaders: readonly string[],
): { readonly token: string } | 'malformed' | undefined {
  let found: { readonly token: string } | 'malformed' | undefined;
  let count = 0;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'authorization') continue;
    count += 1;
    const value = rawHeaders[i + 1] ?? '';
    if (!/^bearer(?:\s|$)/i.test(value)) continue;
    const token = /^bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(value)?.[1];
    found = token === undefined ? 'malformed' : { token };
  }
  return found !== undefined && count > 1 ? 'malformed' : found;
}

/**
 * The credential that a request brings for the upstream to check; undefined when it brings none.
 *
 * Junk counts as a credential, and is refused: a forge that cannot read an `Authorization` goes on to its own cookie.
 *
 * @param rawHeaders names and values in turn, as they came: several `Authorization` lines are seen, where Node keeps the first
 * @param credentialHeaders lower-case names of other headers that count as one, whatever their value
 */
export function findCredential(
  rawHeaders: readonly string[],
  credentialHeaders: readonly string[] | undefined,
): CredentialShape | undefined {
  let authorization: string | undefined;
  let other: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    const value = rawHeaders[i + 1] ?? '';
    if (name === 'authorization') {
      if (authorization !== undefined) return 'malformed';
      authorization = value;
    } else if (credentialHeaders?.includes(name) === true) {
      if (other !== undefined) return 'malformed';
      other = value;
    }
  }
  if (authorization !== undefined) return shapeOfAuthorization(authorization);
  if (other === undefined) return undefined;
  return other.trim() === '' ? 'malformed' : 'token';
}
