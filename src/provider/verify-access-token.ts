import { readSignedClaims } from './signed-claims.ts';
import { checkIssuer, checkTimes, isIdentifier } from './token-claims.ts';
import { refuse } from './token-fault.ts';
import type { AccessTokenTerms } from './types.ts';
import type { IdTokenExpectations } from './verify-id-token.ts';

/** Claims that mark a token which is no access token, whatever its `typ` says: an ID token's, and a logout token's. */
const foreignMarks = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events'] as const;

/**
 * Verifies a JWT access token: signature first, by the issuer's keys, then what it says. A token of any other kind, which somebody
 * may have got hold of where it was shown for another reason, is refused by its `typ`, its audience and its marks.
 *
 * @throws token_invalid with a TokenFault as `detail`; idp_unavailable when the keys can't be had
 * @returns the claims, frozen
 * @see RFC 9068 section 4, RFC 8725 section 3.11
 */
export async function verifyAccessToken(
  token: string,
  expected: Pick<IdTokenExpectations, 'keys' | 'issuer' | 'algs' | 'nowSeconds'> & AccessTokenTerms,
): Promise<Readonly<Record<string, unknown>>> {
  const { claims } = await readSignedClaims(token, expected, {
    pattern: typePattern(expected.types),
    fault: 'typ_not_access_token',
    required: true,
  });
  checkIssuer(claims['iss'], expected.issuer);
  if (!isIdentifier(claims['sub'])) refuse('sub_invalid', 'sub is not 1 to 255 printable characters');
  checkTokenAudience(claims['aud'], expected);
  checkTimes(claims, expected.nowSeconds, true, Infinity);
  for (const mark of foreignMarks) {
    if (mark in claims) refuse('typ_not_access_token', `${mark} stands in no access token`);
  }
  return Object.freeze(claims);
}

/** Media types are compared without regard to case, and `application/` may be left out (RFC 7515 section 4.1.9). */
function typePattern(types: readonly string[]): RegExp {
  const written = types.map((type) =>
    type.replace(/^application\//i, '').replace(/[^A-Za-z0-9]/g, (one) => `\\${one}`),
  );
  return new RegExp(`^(?:application/)?(?:${written.length === 0 ? '(?!)' : written.join('|')})$`, 'i');
}

/** An audience that is one of our client ids makes it an ID token's, or a token for somebody else's use of ours. */
function checkTokenAudience(aud: unknown, { audiences, clientIds }: AccessTokenTerms): void {
  const list: unknown = typeof aud === 'string' ? [aud] : aud;
  if (!Array.isArray(list) || list.length === 0 || !list.every((one) => typeof one === 'string')) {
    refuse('aud_malformed', 'aud is neither a string nor a list of strings');
  }
  const named = list as readonly string[];
  if (named.some((one) => clientIds.includes(one)))
    refuse('aud_is_client', 'aud names a client, as that of an ID token does');
  if (!named.some((one) => audiences.includes(one)))
    refuse('aud_mismatch', 'aud is not among bearer.audiences');
}
