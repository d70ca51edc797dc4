import { SallyportError } from '../kernel/error.ts';

/** Why an answer of the IdP is no use; the `detail` of `idp_unavailable`. */
export type IdpFaultDetail =
  | 'connection'
  | 'timeout'
  | 'too_large'
  | 'redirected'
  | 'content_type'
  | 'encoding'
  | 'not_json'
  | 'status'
  | 'insecure_url'
  | 'metadata_unusable'
  | 'issuer_mismatch'
  | 'jwks_unusable'
  | 'not_discovered'
  | 'par_refused'
  | 'client_refused'
  | 'token_endpoint_refused'
  | 'answer_malformed'
  | 'closed';

/** An `idp_unavailable` fault; `message` is for the operator and never carries a secret. */
export function idpUnavailable(detail: IdpFaultDetail, message: string, cause?: unknown): SallyportError {
  return new SallyportError('idp_unavailable', message, {
    detail,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A `token_invalid` fault; `detail` names the one check that failed. */
export function tokenInvalid(detail: string, message: string, cause?: unknown): SallyportError {
  return new SallyportError('token_invalid', message, { detail, ...(cause === undefined ? {} : { cause }) });
}

/** The fault of ours inside an error that a library wrapped around it, if any. */
export function faultWithin(error: unknown): SallyportError | undefined {
  let inner = error;
  for (let depth = 0; depth < 8 && inner instanceof Error; depth += 1) {
    if (inner instanceof SallyportError) return inner;
    inner = inner.cause;
  }
  return undefined;
}

/** Text from outside, fit for a log line: no control characters, at most `maxLength` characters. */
export function boundText(text: string, maxLength: number): string {
  // eslint-disable-next-line no-control-regex -- they are what must go
  return text.slice(0, maxLength).replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ');
}
