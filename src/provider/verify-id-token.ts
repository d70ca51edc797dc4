import { createHash } from 'node:crypto';
import { compactVerify, errors } from 'jose';
import type { CryptoKey } from 'jose';
import { asymmetricAlgorithms } from '../kernel/signature-algorithms.ts';
import { findDuplicateMember } from './duplicate-member.ts';
import { tokenInvalid } from './idp-fault.ts';
import type { KeyHint, KeyLookup } from './jwks.ts';

/** Which check of an ID token (or a logout token) failed: the `detail` of `token_invalid`. */
export type IdTokenFault =
  | 'token_too_large'
  | 'token_malformed'
  | 'token_encrypted'
  | 'header_malformed'
  | 'claims_malformed'
  | 'claims_duplicate'
  | 'alg_not_allowed'
  | 'crit_not_supported'
  | 'typ_not_id_token'
  | 'key_not_found'
  | 'signature_invalid'
  | 'iss_mismatch'
  | 'sub_invalid'
  | 'aud_malformed'
  | 'aud_mismatch'
  | 'aud_not_trusted'
  | 'azp_mismatch'
  | 'azp_missing'
  | 'exp_invalid'
  | 'expired'
  | 'nbf_invalid'
  | 'not_yet_valid'
  | 'iat_invalid'
  | 'iat_in_future'
  | 'iat_too_old'
  | 'nonce_missing'
  | 'nonce_mismatch'
  | 'sub_changed'
  | 'aud_changed'
  | 'azp_changed'
  | 'auth_time_changed'
  | 'at_hash_mismatch'
  | 'typ_not_logout_token'
  | 'nonce_present'
  | 'events_missing'
  | 'jti_missing'
  | 'sid_invalid'
  | 'subject_missing'
  | 'typ_not_access_token'
  | 'aud_is_client';

/** Everything that an ID token is held against. */
export interface IdTokenExpectations {
  readonly keys: KeyLookup;
  /** Compared exactly. */
  readonly issuer: string;
  readonly clientId: string;
  /** Audiences that may stand beside `clientId`. */
  readonly additionalAudiences: readonly string[];
  /** Allowed signature algorithms; anything that is not asymmetric is never allowed, listed or not. */
  readonly algs: readonly string[];
  readonly nonce: string;
  /** For `at_hash`. */
  readonly accessToken: string | undefined;
  /** Whole seconds since the epoch. */
  readonly nowSeconds: number;
}

/** Clock skew granted both ways, in seconds (SPEC section 3). */
export const clockSkewSeconds = 60;
/** How old `iat` may be, in seconds: the token was asked for a moment ago. */
export const maxTokenAgeSeconds = 600;
const maxTokenLength = 256 * 1024;

type Claims = Readonly<Record<string, unknown>>;

/**
 * Verifies an ID token of the code flow, with everything that SPEC section 4 lists: signature first, then what it says.
 * @throws token_invalid with an {@link IdTokenFault} as `detail`; idp_unavailable when the keys can't be had
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
 * @throws token_invalid with an {@link IdTokenFault} as `detail`; idp_unavailable when the keys can't be had
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

/** What the header of a kind of token may say of its type; absent will do, unless it is required. */
export interface TokenType {
  readonly pattern: RegExp;
  readonly fault: IdTokenFault;
  readonly required?: boolean;
}

/**
 * The claims of a token that the issuer's key has signed; what they say is for the caller to judge.
 * @throws token_invalid with an {@link IdTokenFault} as `detail`; idp_unavailable when the keys can't be had
 * @see RFC 7515 section 5.2, RFC 8725
 */
export async function readSignedClaims(
  token: string,
  { keys, algs }: Pick<IdTokenExpectations, 'keys' | 'algs'>,
  type: TokenType,
): Promise<{ readonly claims: Record<string, unknown>; readonly hint: KeyHint }> {
  const hint = readHeader(token, algs, type);
  return { claims: readClaims(await verifySignature(token, hint, keys)), hint };
}

/** @throws token_invalid */
export function refuse(detail: IdTokenFault, message: string, cause?: unknown): never {
  throw tokenInvalid(detail, `token: ${message}`, cause);
}

function readHeader(token: string, algs: readonly string[], type: TokenType): KeyHint {
  if (token.length > maxTokenLength) refuse('token_too_large', `longer than ${maxTokenLength} characters`);
  const parts = token.split('.');
  if (parts.length === 5) refuse('token_encrypted', 'it is encrypted, which is not supported');
  if (parts.length !== 3 || !parts.every((part) => /^[\w-]*$/.test(part)))
    refuse('token_malformed', 'it is no JWT');
  const header = parseObject(Buffer.from(parts[0] ?? '', 'base64url'), 'header_malformed');
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string' || !asymmetricAlgorithms.includes(alg) || !algs.includes(alg)) {
    refuse('alg_not_allowed', `alg ${String(alg).slice(0, 40)} is not among ${algs.join(' ')}`);
  }
  // An extension that we don't understand must be refused, and we understand none (RFC 7515 section 4.1.11).
  if ('crit' in header || 'b64' in header)
    refuse('crit_not_supported', 'its header holds a critical extension');
  const untyped = typ === undefined && type.required !== true;
  if (!untyped && !(typeof typ === 'string' && type.pattern.test(typ))) {
    refuse(
      type.fault,
      `typ ${typ === undefined ? 'absent' : JSON.stringify(typ).slice(0, 40)} is that of another kind of token`,
    );
  }
  if (kid !== undefined && typeof kid !== 'string') refuse('header_malformed', 'kid is no string');
  return { alg, kid };
}

async function verifySignature(token: string, hint: KeyHint, keys: KeyLookup): Promise<Uint8Array> {
  const first = await keys.keysFor(hint);
  if (first.length === 0) refuse('key_not_found', 'no key of the JWKS fits its header');
  const payload =
    (await tryKeys(token, hint, first)) ?? (await tryKeys(token, hint, await keys.refetchedKeysFor(hint)));
  return payload ?? refuse('signature_invalid', 'its signature does not verify');
}

async function tryKeys(
  token: string,
  hint: KeyHint,
  keys: readonly CryptoKey[] = [],
): Promise<Uint8Array | undefined> {
  for (const key of keys) {
    try {
      return (await compactVerify(token, key, { algorithms: [hint.alg] })).payload;
    } catch (error) {
      // A key that is unfit (too short an RSA modulus: TypeError) verifies nothing, like a key that does not match.
      if (!(error instanceof errors.JWSSignatureVerificationFailed) && !(error instanceof TypeError)) {
        refuse('token_malformed', 'it is no JWS', error);
      }
    }
  }
  return undefined;
}

function readClaims(payload: Uint8Array): Record<string, unknown> {
  return parseObject(payload, 'claims_malformed');
}

function parseObject(
  bytes: Uint8Array,
  fault: 'header_malformed' | 'claims_malformed',
): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    return refuse(fault, 'not JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse(fault, 'not a JSON object');
  if (findDuplicateMember(text) !== undefined) refuse('claims_duplicate', 'a member stands twice');
  return value as Record<string, unknown>;
}

function checkIssuerAndSubject({ iss, sub }: Claims, expected: Pick<IdTokenExpectations, 'issuer'>): void {
  checkIssuer(iss, expected.issuer);
  // Control, format and line-breaking characters have no place in what names a person in logs, indexes and headers.
  if (!isIdentifier(sub)) refuse('sub_invalid', 'sub is not 1 to 255 printable characters');
}

/** @throws token_invalid */
export function checkIssuer(iss: unknown, issuer: string): void {
  if (iss !== issuer) refuse('iss_mismatch', "iss is not the source's issuer");
}

/** Whether a claim is 1 to 255 printable characters: what can name a person, or a session. */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && /^[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u.test(value) && value.trim() !== '';
}

/** @throws token_invalid */
export function checkAudience(
  { aud, azp }: Claims,
  expected: Pick<IdTokenExpectations, 'clientId' | 'additionalAudiences'>,
): void {
  const list: unknown = typeof aud === 'string' ? [aud] : aud;
  if (!Array.isArray(list) || list.length === 0 || !list.every((one) => typeof one === 'string')) {
    refuse('aud_malformed', 'aud is neither a string nor a list of strings');
  }
  const audiences = new Set<string>(list);
  if (!audiences.has(expected.clientId)) refuse('aud_mismatch', 'aud does not name this client');
  for (const audience of audiences) {
    if (audience !== expected.clientId && !expected.additionalAudiences.includes(audience)) {
      refuse('aud_not_trusted', 'aud names an audience that is not among additional_audiences');
    }
  }
  // Another party's token that happens to list us: refused beside a single aud too (OIDC Core section 3.1.3.7, 4 and 5).
  if (azp !== undefined && azp !== expected.clientId) refuse('azp_mismatch', 'azp names another client');
  if (azp === undefined && audiences.size > 1)
    refuse('azp_missing', 'azp is missing beside several audiences');
}

/**
 * @param expRequired where a kind of token may do without `exp`
 * @param maxAgeSeconds how old `iat` may be: as a rule the token was asked for a moment ago
 * @throws token_invalid
 */
export function checkTimes(
  { exp, nbf, iat }: Claims,
  nowSeconds: number,
  expRequired = true,
  maxAgeSeconds = maxTokenAgeSeconds,
): void {
  if (exp !== undefined || expRequired) {
    if (!isNumericDate(exp)) refuse('exp_invalid', 'exp is missing or no number');
    if (nowSeconds >= exp + clockSkewSeconds) refuse('expired', 'exp has passed');
  }
  if (nbf !== undefined && !isNumericDate(nbf)) refuse('nbf_invalid', 'nbf is no number');
  if (nbf !== undefined && nbf > nowSeconds + clockSkewSeconds) refuse('not_yet_valid', 'nbf has not come');
  if (!isNumericDate(iat)) refuse('iat_invalid', 'iat is missing or no number');
  if (iat > nowSeconds + clockSkewSeconds) refuse('iat_in_future', 'iat lies in the future');
  if (iat < nowSeconds - maxAgeSeconds - clockSkewSeconds)
    refuse('iat_too_old', 'iat is older than 10 minutes');
}

const isNumericDate = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value);

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
