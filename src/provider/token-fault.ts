import { tokenInvalid } from './idp-fault.ts';

/** Which check of a token failed, an ID token, a logout token or an access token: the `detail` of `token_invalid`. */
export type TokenFault =
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

/** The token is no good: `detail` names the check, `message` says it to the operator. @throws token_invalid */
export function refuse(detail: TokenFault, message: string, cause?: unknown): never {
  throw tokenInvalid(detail, `token: ${message}`, cause);
}
