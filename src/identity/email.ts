import type { SourceConfig } from '../config/schema.ts';
import { foldAscii } from './characters.ts';

/** What an IdP says of a user's email address. */
export interface ResolvedEmail {
  /** As sent; undefined when absent or no address. */
  readonly address: string | undefined;
  /** The domain, ASCII-lower-cased. */
  readonly domain: string | undefined;
  readonly verified: boolean;
  /** What came as `email_verified`, for the audit line. */
  readonly observedVerified: unknown;
}

type Claims = Readonly<Record<string, unknown>>;

/** RFC 5321 section 4.5.3.1.3: 256 octets with its angle brackets. */
const maxLength = 254;
/** One `@`: quoted local parts with a second one are legal, and read differently by every parser. */
const address = /^[^\s@]+@([^\s@]+)$/;

/**
 * Beyond ASCII two readers disagree on which address it is: Go's `strings.ToLower` makes an `i` of `İ`, so that a forge finds somebody
 * else's account by it, and mail systems normalise as they like (RFC 6532 section 3.1). No IdP's word says which of them it has verified.
 */
const ascii = /^[\x21-\x7e]+$/;

/** Whether a text is an email address such as is taken from tokens. */
export function isEmailAddress(text: string): boolean {
  return text.length <= maxLength && address.test(text);
}

/**
 * The email address, and whether the IdP vouches for it: `email_verified` must be the boolean `true`, and must come from
 * the same document as the address. (Merged, an ID token's address would be vouched for by what userinfo says of another.)
 * `email_trusted` speaks only where the IdP says nothing at all. An address that is not ASCII is never verified.
 */
export function resolveEmail(
  claims: Claims,
  profile: Claims,
  source: Pick<SourceConfig, 'email_trusted'>,
): ResolvedEmail {
  const email = profile['email'];
  const observedVerified = profile['email_verified'];
  const match = typeof email === 'string' && email.length <= maxLength ? address.exec(email) : null;
  if (match === null) return { address: undefined, domain: undefined, verified: false, observedVerified };
  const sameDocument = (claims['email'] === undefined) === (claims['email_verified'] === undefined);
  const vouched =
    observedVerified === undefined ? source.email_trusted : observedVerified === true && sameDocument;
  const verified = vouched && ascii.test(match[0]);
  return { address: match[0], domain: foldAscii(match[1] ?? ''), verified, observedVerified };
}
