import { ResponseBodyError } from 'openid-client';
import type { SallyportError } from '../kernel/error.ts';
import { boundText, idpUnavailable, tokenInvalid } from './idp-fault.ts';
import type { IdpRefusal } from './types.ts';

/* What an error of openid-client says about the IdP that has answered. */

/** The `code` of a library's error. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined;

/** Discovery has failed: which `idp_unavailable` that is. */
export function discoveryFault(error: unknown): SallyportError {
  if (codeOf(error) === 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED') {
    return idpUnavailable('issuer_mismatch', 'discovery names another issuer than the configuration', error);
  }
  return answerFault('metadata_unusable', 'discovery', error);
}

/**
 * An OAuth error, or an answer that is none of this protocol's: an `idp_unavailable`.
 * @param detail where it is nothing more specific
 * @param what names the endpoint in the message
 */
export function answerFault(
  detail: 'par_refused' | 'answer_malformed' | 'metadata_unusable' | 'token_endpoint_refused',
  what: string,
  error: unknown,
): SallyportError {
  if (codeOf(error) === 'OAUTH_PARSE_ERROR')
    return idpUnavailable('not_json', `${what}: answered with no JSON`, error);
  if (!(error instanceof ResponseBodyError))
    return idpUnavailable(detail, `${what}: ${messageOf(error)}`, error);
  const text = boundText(`${error.error} (${error.error_description ?? 'no description'})`, 300);
  const refused = error.error === 'invalid_client' || error.error === 'unauthorized_client';
  return idpUnavailable(refused ? 'client_refused' : detail, `${what}: the IdP answered ${text}`, error);
}

/** The token endpoint has not taken an authorization code: `token_invalid` where that is the code's own fault, else `idp_unavailable`. */
export function tokenEndpointFault(error: unknown): SallyportError {
  // Used up, timed out, or not this client's: somebody replays a callback, or went to bed over it. No outage.
  if (error instanceof ResponseBodyError && error.error === 'invalid_grant') {
    return tokenInvalid('code_refused', 'the IdP does not take the authorization code', error);
  }
  return answerFault('token_endpoint_refused', 'the token endpoint', error);
}

/**
 * Why the IdP will not take a refresh token, now or later. What says that it can't answer just now, or that it does not know this client
 * (a secret that was changed on one side), is no word about the token: undefined.
 * @see RFC 6749 section 5.2
 */
export function refreshRefusal(error: unknown): IdpRefusal | undefined {
  if (!(error instanceof ResponseBodyError)) return undefined;
  if (error.status < 400 || error.status >= 500 || error.status === 429) return undefined;
  if (passingErrors.includes(error.error)) return undefined;
  const description = error.error_description;
  return {
    error: boundText(error.error, 100),
    description: description === undefined ? undefined : boundText(description, 300),
  };
}

const passingErrors: readonly string[] = [
  'invalid_client',
  'server_error',
  'temporarily_unavailable',
  'slow_down',
];

const messageOf = (error: unknown): string =>
  boundText(error instanceof Error ? error.message : 'unknown', 300);
