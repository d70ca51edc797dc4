import type { UpstreamConfig } from '../config/schema.ts';

/** Why an access token opens nothing. */
export interface BearerRefusal {
  readonly ok: false;
  /** 401: no such token is taken. 403: the token is good, and its user is refused. 429: too many bad ones from this client. */
  readonly status: 401 | 403 | 429;
  readonly code: string;
  /** One sentence for whoever writes the client; ASCII. */
  readonly hint: string;
  /** With 429. */
  readonly retryAfterSeconds?: number;
}

/** The token itself is no good. @param detail of `token_invalid`, which check failed */
export function refusedToken(detail: string): BearerRefusal {
  return {
    ok: false,
    status: 401,
    code: 'bearer_token_invalid',
    hint: hints[detail] ?? `the token is not valid: ${detail}`,
  };
}

/** The token is good, and its user is refused. @param code of identity or assurance */
export function refusedUser(
  code: string,
  hint = 'the token is valid, and its user is refused',
): BearerRefusal {
  return { ok: false, status: 403, code, hint };
}

/** The token names its user by nothing that makes a user name: what whoever runs the identity provider can do about it. */
export function namelessHint({ username: { claim, bind } }: UpstreamConfig): string {
  const name = claim.replace(/[^!#-[\]-~]/g, '');
  const signIn = bind ? ', or let its user sign in here once with a browser' : '';
  return `the token names its user by no ${name} and no verified email: have the identity provider put one into access tokens${signIn}`;
}

/** This client address has brought too many bad tokens. */
export function tooManyBad(retryAfterSeconds: number): BearerRefusal {
  const hint = 'too many tokens from this address were refused: stop sending them, and try again later';
  return { ok: false, status: 429, code: 'rate_limited', hint, retryAfterSeconds };
}

const hints: Readonly<Record<string, string>> = {
  token_malformed:
    'the token is no signed JWT: an opaque token cannot be verified here; have the identity provider issue JWT access tokens (RFC 9068)',
  token_encrypted:
    'the token is encrypted: have the identity provider issue signed JWT access tokens (RFC 9068)',
  typ_not_access_token:
    'the token is no access token: an ID token or a logout token is not accepted; its typ has to be among bearer.typ',
  aud_is_client:
    'the token is meant for a client, as an ID token is: ask for one whose aud is among bearer.audiences',
  aud_mismatch: 'the aud of the token is not among bearer.audiences',
  iss_mismatch: 'no source has issued the token',
  source_ambiguous:
    'several sources have the issuer of the token, and its client_id (or azp) is not the client_id of exactly one of them: whose rules hold cannot be told',
  key_not_found: 'no key of the issuer fits the token',
  signature_invalid: 'the signature of the token does not verify',
  expired: 'the token has expired',
};
