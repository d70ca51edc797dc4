import { refuse } from './token-fault.ts';

/** What a token says, of whatever kind it is; its signature has been verified. */
export type Claims = Readonly<Record<string, unknown>>;

/** Clock skew granted both ways, in seconds (SPEC section 3). */
export const clockSkewSeconds = 60;
/** How old `iat` may be, in seconds: the token was asked for a moment ago. */
export const maxTokenAgeSeconds = 600;

/** The issuer is the source's, compared exactly. @throws token_invalid */
export function checkIssuer(iss: unknown, issuer: string): void {
  if (iss !== issuer) refuse('iss_mismatch', "iss is not the source's issuer");
}

/** Whether a claim is 1 to 255 printable characters: what can name a person, or a session. */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && /^[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u.test(value) && value.trim() !== '';
}

/**
 * The token is for this client, and for nobody beside it who is not trusted.
 * @throws token_invalid
 * @see OpenID Connect Core 1.0 section 3.1.3.7, 3 to 5
 */
export function checkAudience(
  { aud, azp }: Claims,
  expected: { readonly clientId: string; readonly additionalAudiences: readonly string[] },
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
 * The token is good now, give or take {@link clockSkewSeconds}. All of it is in whole seconds since the epoch.
 *
 * @param expRequired where a kind of token may do without `exp`
 * @param maxAgeSeconds how old `iat` may be: as a rule the token was asked for a moment ago, {@link maxTokenAgeSeconds}
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
