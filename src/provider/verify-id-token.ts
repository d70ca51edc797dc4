import { createHash } from 'node:crypto';
import { readSignedClaims, type Signers } from './signed-claims.ts';
import { checkAudience, checkIssuer, checkTimes, isIdentifier, type Claims } from './token-claims.ts';
import { refuse } from './token-fault.ts';

/** Everything that an ID token is held against. */
export interface IdTokenExpectations extends Signers {
  /** Compared exactly. */
  readonly issuer: string;
  readonly clientId: string;
  /** Audiences that may stand beside `clientId`. */
  readonly additionalAudiences: readonly string[];
  readonly nonce: string;
  /** For `at_hash`. */
  readonly accessToken: string | undefined;
  /** Whole seconds since the epoch. */
  readonly nowSeconds: number;
}

/**
 * Verifies an ID token of the code flow, with everything that SPEC section 4 lists: signature first, then what it says.
 * @throws token_invalid with a {@link TokenFault} as `detail`; idp_unavailable when the keys can't be had
 * @returns the claims, frozen
 * @see OpenID Connect Core 1.0 section 3.1.3.7, RFC 7515 section 5.2, RFC 8725
 */
export async function verifyIdToken(token: string, expected: IdTokenExpectations): Promise<Claims> {
  const claims = await readIdToken(token, expected);
  checkNonce(claims, expected.nonce);
  return Object.freeze(claims);
}

/**
 * Verifies an ID token that came of a refresh: like every other, and it speaks of the same sign-in.
 *
 * @param signIn the claims of the sign-in's own ID token
 * @throws token_invalid with a {@link TokenFault} as `detail`; idp_unavailable when the keys can't be had
 * @returns the claims, frozen
 * @see OpenID Connect Core 1.0 section 12.2
 */
export async function verifyRefreshedIdToken(
  token: string,
  signIn: Claims,
  expected: Omit<IdTokenExpectations, 'nonce'>,
): Promise<Claims> {
  const claims = await readIdToken(token, expected);
  if (claims['sub'] !== signIn['sub']) refuse('sub_changed', "sub is not the sign-in's");
  const audiences = new Set(listOf(claims['aud']));
  if (!listOf(signIn['aud']).every((audience) => audiences.has(audience)))
    refuse('aud_changed', "aud leaves out an audience of the sign-in's");
  if (claims['azp'] !== signIn['azp']) refuse('azp_changed', "azp is not the sign-in's");
  // Of a sign-in that did not say when it was, nothing can be compared; and what is said now is not taken.
  const { auth_time: authTime } = claims;
  if (authTime !== undefined && signIn['auth_time'] !== undefined && authTime !== signIn['auth_time'])
    refuse('auth_time_changed', "auth_time is not the sign-in's: another authentication");
  if (claims['nonce'] !== undefined && claims['nonce'] !== signIn['nonce'])
    refuse('nonce_mismatch', "nonce is not the sign-in's");
  return Object.freeze(claims);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

/** What holds for every ID token. */
async function readIdToken(
  token: string,
  expected: Omit<IdTokenExpectations, 'nonce'>,
): Promise<Record<string, unknown>> {
  // A logout token (logout+jwt) or an access token (at+jwt) of the same issuer and client is no ID token (RFC 8725 section 3.11).
  const { claims, hint } = await readSignedClaims(token, expected, {
    pattern: /^(application\/)?jwt$/i,
    fault: 'typ_not_id_token',
  });
  checkIssuerAndSubject(claims, expected);
  checkAudience(claims, expected);
  checkTimes(claims, expected.nowSeconds);
  checkAccessTokenHash(claims, hint.alg, expected.accessToken);
  return claims;
}

function checkIssuerAndSubject({ iss, sub }: Claims, expected: Pick<IdTokenExpectations, 'issuer'>): void {
  checkIssuer(iss, expected.issuer);
  // Control, format and line-breaking characters have no place in what names a person in logs, indexes and headers.
  if (!isIdentifier(sub)) refuse('sub_invalid', 'sub is not 1 to 255 printable characters');
}

function checkNonce({ nonce }: Claims, expected: string): void {
  if (nonce === undefined) refuse('nonce_missing', 'nonce is missing');
  // An empty expectation would be met by an empty claim: nobody asked for that.
  if (nonce !== expected || expected === '') refuse('nonce_mismatch', 'nonce is not the one of this attempt');
}

function checkAccessTokenHash({ at_hash: hash }: Claims, alg: string, accessToken: string | undefined): void {
  if (hash === undefined) return;
  const sha = alg.startsWith('Ed') ? 'sha512' : `sha${alg.slice(2)}`;
  const digest = createHash(sha)
    .update(accessToken ?? '')
    .digest();
  const expected = digest.subarray(0, digest.length / 2).toString('base64url');
  if (accessToken === undefined || hash !== expected)
    refuse('at_hash_mismatch', "at_hash is not the access token's");
}
