/** The port to one source's identity provider. Adapters: provider/oidc-provider.ts (openid-client). */

/** Whether an IdP can be used, and since when. */
export interface ProviderStatus {
  readonly available: boolean;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  /** For the operator; never with a secret. */
  readonly cause?: string;
}

/** What a browser is sent to the IdP with. */
export interface AuthorizationRequest {
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  /** PKCE code verifier (RFC 7636); sent as its S256 challenge. */
  readonly codeVerifier: string;
  readonly acrValues: readonly string[];
  /** The `claims` parameter; empty object: not sent. */
  readonly requestedClaims: Readonly<Record<string, unknown>>;
  /** Seconds; 0 forces a fresh sign-in. Undefined: not sent. */
  readonly maxAgeSeconds: number | undefined;
  readonly prompt: 'login' | 'select_account' | undefined;
  readonly loginHint: string | undefined;
}

/** A callback, and the attempt that it belongs to. */
export interface CodeExchange {
  /** The callback's full URL on `redirectUri`, with the IdP's parameters. `state` has been compared already. */
  readonly callbackUrl: URL;
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

/** What a sign-in brought, all of it verified. */
export interface VerifiedSignIn {
  /** The ID token's claims; signature, iss, sub, aud, azp, exp, nbf, iat, nonce, at_hash, typ verified. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** Profile claims: userinfo (where `claims_source: userinfo`) merged under the ID token's; else the ID token's. */
  readonly profile: Readonly<Record<string, unknown>>;
  readonly idToken: string;
  readonly accessToken: string | undefined;
  /** Seconds since the epoch. */
  readonly accessTokenExpiresAt: number | undefined;
  readonly refreshToken: string | undefined;
}

/** A session whose tokens are to be refreshed. */
export interface RefreshRequest {
  readonly refreshToken: string;
  /** The claims of the sign-in's own ID token: what must stay is held against them. */
  readonly signIn: Readonly<Record<string, unknown>>;
}

/** What a refresh brought, all of it verified. */
export interface VerifiedRefresh {
  /** The refreshed ID token's claims; undefined: the IdP sent none, and so says nothing. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  readonly idToken: string | undefined;
  readonly accessToken: string;
  /** Seconds since the epoch. */
  readonly accessTokenExpiresAt: number | undefined;
  /** Undefined: the one that was spent goes on. */
  readonly refreshToken: string | undefined;
}

/** What a verified logout token asks for: the end of the sessions of a subject, of one session at the IdP, or both. */
export interface VerifiedLogout {
  readonly subject: string | undefined;
  readonly sid: string | undefined;
  /** `iat`, seconds since the epoch. */
  readonly issuedAt: number;
  /** The token's own id: whoever takes it must take it once. */
  readonly jti: string;
}

/** An error that the IdP sent to the callback (RFC 6749 section 4.1.2.1). Text is the IdP's: escape and bound it. */
export interface IdpRefusal {
  readonly error: string;
  readonly description: string | undefined;
}

/** What an access token must be to be taken. */
export interface AccessTokenTerms {
  /** One of these must be in `aud`. */
  readonly audiences: readonly string[];
  /** None of these may be in `aud`. */
  readonly clientIds: readonly string[];
  /** The header's `typ`, one of these. */
  readonly types: readonly string[];
}

/** One IdP, as the rooms that sign in and refresh see it. It tells what it has verified, and decides nothing. */
export interface Provider {
  readonly sourceId: string;
  status(): ProviderStatus;
  /** Begins discovery and its background retries; never rejects. */
  start(): Promise<void>;
  /** The URL to send the browser to; pushed first where PAR is in force. @throws idp_unavailable */
  authorizationUrl(request: AuthorizationRequest): Promise<URL>;
  /**
   * Exchanges the code and verifies everything. RFC 9207 `iss` is checked here too.
   * @throws idp_unavailable, token_invalid (`detail` says which check)
   * @returns the sign-in, or the IdP's own error as data.
   */
  exchange(request: CodeExchange): Promise<{ signIn: VerifiedSignIn } | { refused: IdpRefusal }>;
  /**
   * Spends a refresh token, and verifies what comes of it by the rules of OpenID Connect Core 1.0 section 12.2. Absent: it has none.
   * @throws idp_unavailable: nobody knows whether it was spent; token_invalid (`detail` says which check)
   * @returns the tokens, or the IdP's own refusal as data
   */
  refresh?(request: RefreshRequest): Promise<{ refreshed: VerifiedRefresh } | { refused: IdpRefusal }>;
  /**
   * Verifies a JWT access token (RFC 9068) by the same issuer's keys. Absent: it takes none.
   * @throws idp_unavailable, token_invalid (`detail` says which check)
   * @returns its claims, frozen
   */
  verifyAccessToken?(token: string, terms: AccessTokenTerms): Promise<Readonly<Record<string, unknown>>>;
  /** RP-initiated logout URL, where the IdP offers `end_session_endpoint`; else undefined. */
  endSessionUrl(request: { idToken: string | undefined; returnTo: string; state: string }): URL | undefined;
  /**
   * Verifies a logout token, but for its replay (OpenID Connect Back-Channel Logout 1.0).
   * @throws idp_unavailable, token_invalid (`detail` says which check)
   */
  verifyLogoutToken(token: string): Promise<VerifiedLogout>;
  /** A reload asks for something else of the same IdP: says once what the IdP may not do of it. Default: nothing. */
  reconsider?(needs: {
    readonly acrValues: readonly string[];
    readonly requestedClaims: Readonly<Record<string, unknown>>;
  }): void;
  close(): Promise<void>;
}
