import { boundText, tokenInvalid } from './idp-fault.ts';
import type { IdpRefusal } from './types.ts';

/**
 * Reads what the IdP sent to the callback, before anything is redeemed.
 * @throws token_invalid: `response_malformed` (a parameter twice or unasked for, no code), `response_state_mismatch`,
 * `response_iss_missing`, `response_iss_mismatch`
 * @returns the IdP's own error, or undefined where there is a code to redeem
 * @see RFC 6749 section 4.1.2, RFC 9207 section 2.4
 */
export function readAuthorizationResponse(
  parameters: URLSearchParams,
  expected: { readonly state: string; readonly issuer: string; readonly issAdvertised: boolean },
): IdpRefusal | undefined {
  for (const name of ['code', 'state', 'iss', 'error', 'error_description']) {
    if (parameters.getAll(name).length > 1)
      throw tokenInvalid('response_malformed', `the callback has ${name} twice`);
  }
  // An implicit, hybrid or JARM answer was never asked for.
  for (const name of ['id_token', 'token', 'access_token', 'response']) {
    if (parameters.has(name)) throw tokenInvalid('response_malformed', `the callback has ${name}`);
  }
  if (parameters.get('state') !== expected.state) {
    throw tokenInvalid('response_state_mismatch', 'the callback belongs to another attempt');
  }
  const iss = parameters.get('iss');
  // The mix-up attack: an answer of another IdP at our callback. An error must name its issuer too.
  if (iss === null && expected.issAdvertised) {
    throw tokenInvalid('response_iss_missing', 'the callback has no iss, which the IdP promises to send');
  }
  if (iss !== null && iss !== expected.issuer) {
    throw tokenInvalid('response_iss_mismatch', 'the callback names another issuer');
  }
  const error = parameters.get('error');
  if (error !== null) {
    const description = parameters.get('error_description');
    return {
      error: boundText(error, 100) || 'unknown_error',
      description: description === null || description === '' ? undefined : boundText(description, 500),
    };
  }
  const code = parameters.get('code');
  if (code === null || code === '' || code.length > 8192)
    throw tokenInvalid('response_malformed', 'the callback has no code');
  return undefined;
}
