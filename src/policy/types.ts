import type { Standing } from '../assurance/types.ts';
import type { CredentialShape } from './credential.ts';
import type { StepUpReason } from './step-up-reasons.ts';

/** Who may pass a route (SPEC section 5). */
export type Access = 'session' | 'credentials' | 'bearer' | 'public' | 'upstream' | 'deny';

/** A rule of the access policy, as written by the operator or brought by a preset. */
export interface RouteRule {
  /** Bounded label of metrics and log; unique. */
  readonly name: string;
  readonly path: string;
  /** Upper-case; undefined = every method. */
  readonly methods: readonly string[] | undefined;
  readonly access: Access;
  readonly requireAal: 'aal1' | 'aal2' | undefined;
  readonly maxAuthAgeSeconds: number | undefined;
  readonly acceptAttested: boolean;
  readonly sources: readonly string[] | undefined;
  readonly groups: readonly string[] | undefined;
  /** Compared case-insensitively with a verified email. */
  readonly emails: readonly string[] | undefined;
  /** A deny row whose navigations go to sign-in instead (a forge's own login form). */
  readonly signInInstead: boolean;
  /** On `credentials`: lower-case names of headers that count as a credential beside `Authorization`. */
  readonly credentialHeaders: readonly string[] | undefined;
  /** Whether the upstream's success ends the session here as well (a forge's own sign-out). */
  readonly endsSession: boolean;
}

/** The canonical copy of a target's path, for matching only: the upstream gets the raw bytes. */
export type CanonicalTarget =
  | { readonly ok: true; readonly path: string; readonly segments: readonly string[] }
  | { readonly ok: false; readonly code: 'target_malformed'; readonly why: string };

/** What the gate needs to know of a session. */
export interface SessionFacts {
  readonly sourceId: string;
  readonly groups: readonly string[] | undefined;
  /** Absent when unverified. */
  readonly verifiedEmail: string | undefined;
  /** Seconds since the epoch, as the ID token said; undefined when it did not (or no integer). */
  readonly authTime: number | undefined;
  /** Seconds since the epoch. */
  readonly authenticatedAt: number;
  readonly forced: boolean;
  readonly standing: Standing;
}

/** What the gate needs to know of a request. */
export interface GateRequest {
  readonly method: string;
  readonly navigation: boolean;
  readonly upgrade: boolean;
  /** `Sec-Fetch-Site`, lower-cased, or undefined. */
  readonly fetchSite: string | undefined;
  /** `Sec-Fetch-Dest`, lower-cased, or undefined; looked at on a forge's own sign-out only. */
  readonly fetchDest?: string | undefined;
  /** `Origin`, as sent, or undefined. */
  readonly requestOrigin: string | undefined;
  /** The origins in `server.public_url`. */
  readonly publicOrigins: ReadonlySet<string>;
  /** What the request brings for the upstream to check; looked for on `credentials` routes only. */
  readonly credential: CredentialShape | undefined;
  /** What became of the access token that the request brings; looked for on `bearer` routes only. Taken: the session is the token's. */
  readonly bearer?: { readonly taken: true } | BearerRefusal | undefined;
}

/** An access token that opens nothing. */
export interface BearerRefusal {
  readonly taken: false;
  /** 401: no such token is taken. 403: the token is good, and its user is refused. 429: too many bad ones from this client. */
  readonly status: 401 | 403 | 429;
  readonly code: string;
  /** One sentence for whoever writes the client; ASCII. */
  readonly hint: string;
  /** With 429. */
  readonly retryAfterSeconds?: number;
}

/** The gate's decision, as data. The zero value of a decision is a refusal. */
export type GateDecision =
  | {
      readonly kind: 'pass';
      /** Whether the session's identity headers and cookies go along. */
      readonly withSession: boolean;
      /** Whether the client's own credential goes along; never beside a session. */
      readonly withCredential?: true;
    }
  /** No session (or one that opens nothing under today's policy): sign in. */
  | { readonly kind: 'sign_in'; readonly reason: 'session_required' | 'session_not_sufficient' }
  /** Too little assurance: one fresh sign-in. */
  | {
      readonly kind: 'step_up';
      readonly reason: StepUpReason;
      readonly requireAal: 'aal1' | 'aal2' | undefined;
      readonly maxAuthAgeSeconds: number | undefined;
    }
  /** Nobody signed in, no credential, and no person to send to sign-in: 401 that tools answer by asking for one. */
  | { readonly kind: 'ask_credential' }
  /** A credential that may not go upstream: 401, and why. */
  | { readonly kind: 'refuse_credential'; readonly code: 'password_refused' | 'credential_malformed' }
  /** Nobody signed in and no access token: 401 that says that one would do. */
  | { readonly kind: 'ask_bearer' }
  /** An access token that opens nothing: 401 or 403, and why. */
  | { readonly kind: 'refuse_bearer'; readonly refusal: BearerRefusal }
  /** A signed-in user's navigation to a `signInInstead` row (the forge's own login form): 302 to `/`. */
  | { readonly kind: 'redirect_home' }
  /** Signing out without being signed in: there is nothing to end. */
  | { readonly kind: 'signed_out' }
  | {
      readonly kind: 'refuse';
      readonly status: 400 | 403 | 404;
      readonly code: string;
    };
