import { readSignedClaims } from './signed-claims.ts';
import { checkAudience, checkIssuer, checkTimes, isIdentifier } from './token-claims.ts';
import { refuse } from './token-fault.ts';
import type { VerifiedLogout } from './types.ts';
import type { IdTokenExpectations } from './verify-id-token.ts';

/** The event that makes a token a logout token. */
const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';

/**
 * Verifies a logout token, but for its replay: signature first, by the same keys and algorithms as an ID token, then what it says.
 *
 * `exp` may be missing (drafts did without it): a token is good for no longer than its `iat` allows. A `typ` of plain `JWT`, which
 * says as little as none, is what several identity providers send.
 *
 * @throws token_invalid with a TokenFault as `detail`; idp_unavailable when the keys can't be had
 * @see OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6
 */
export async function verifyLogoutToken(
  token: string,
  expected: Omit<IdTokenExpectations, 'nonce' | 'accessToken'>,
): Promise<VerifiedLogout> {
  const { claims } = await readSignedClaims(token, expected, {
    pattern: /^(application\/)?(logout\+)?jwt$/i,
    fault: 'typ_not_logout_token',
  });
  checkIssuer(claims['iss'], expected.issuer);
  checkAudience(claims, expected);
  checkTimes(claims, expected.nowSeconds, false);
  const { sub, sid, jti, events } = claims;
  // The mark of an ID token: one that somebody has got hold of must not sign its user out (section 2.4).
  if ('nonce' in claims) refuse('nonce_present', 'a logout token has no nonce');
  if (!isObject(events) || !Object.hasOwn(events, logoutEvent) || !isObject(events[logoutEvent]))
    refuse('events_missing', 'events does not hold the logout event');
  if (!isIdentifier(jti)) refuse('jti_missing', 'jti is not 1 to 255 printable characters');
  if (sub !== undefined && !isIdentifier(sub))
    refuse('sub_invalid', 'sub is not 1 to 255 printable characters');
  if (sid !== undefined && !isIdentifier(sid))
    refuse('sid_invalid', 'sid is not 1 to 255 printable characters');
  if (sub === undefined && sid === undefined) refuse('subject_missing', 'it names neither sub nor sid');
  return { subject: sub, sid, jti, issuedAt: claims['iat'] as number };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
