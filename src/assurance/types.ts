/** The vocabulary of the assurance decision (SPEC section 3). */

/** Authentication assurance level of a session. */
export type Aal = 'aal1' | 'aal2';

/** Claims of an ID token whose signature and binding have been verified elsewhere. */
export type Claims = Readonly<Record<string, unknown>>;

/** What a source is asked to do with a sign-in that does not reach AAL2 (SPEC section 3, table). */
export type Mode = 'enforce' | 'report_only' | 'carry_over' | 'trust_idp';

/** Where evidence may be found. */
export type Accept = 'any' | 'amr' | 'acr' | 'both';

/** Which `amr` values are evidence: a named rule, or a list whose elements are a value or values that must all be there. */
export type AmrRule = 'standard' | 'strict' | readonly (string | readonly string[])[];

/** Who is enforced while the others are only reported (staged roll-out inside one IdP). */
export interface EnforceFor {
  readonly groups: readonly string[];
  readonly emails: readonly string[];
}

/** The `claims` request parameter (OIDC Core section 5.5): by section (`id_token`, `userinfo`), then by claim. */
export type RequestedClaims = Readonly<
  Record<string, Readonly<Record<string, null | Readonly<Record<string, unknown>>>>>
>;

/** A source's `mfa`, with its preset resolved. */
export interface AssurancePolicy {
  readonly mode: Mode;
  /** Milliseconds since the epoch from which report_only becomes enforce. */
  readonly reportOnlyUntilMs: number | undefined;
  readonly enforceFor: EnforceFor | undefined;
  readonly preset: string;
  /** Sent as `acr_values`; space-separated on the wire. */
  readonly acrValues: readonly string[];
  /** Sent as `claims`; `essential` already false outside enforce. */
  readonly requestedClaims: RequestedClaims;
  /** The same with `essential` as written: sent once a `report_only_until` has made the mode enforce. Absent: no date does that. */
  readonly essentialClaims?: RequestedClaims | undefined;
  readonly aal2AcrValues: readonly string[];
  readonly aal2AmrValues: AmrRule;
  /** Other claims that carry evidence, e.g. `{acrs: ['c2']}`. */
  readonly aal2Claims: Readonly<Record<string, readonly string[]>>;
  readonly accept: Accept;
  /** Seconds; sends `max_age`, requires and checks `auth_time`. */
  readonly maxAuthAgeSeconds: number | undefined;
}

/** Why a verdict is AAL1; in order of precedence within `decide` (SPEC section 3). */
export type AssuranceReason =
  | 'amr_malformed'
  | 'acr_malformed'
  | 'claim_malformed'
  | 'mfa_claims_absent'
  | 'evidence_not_in_required_claim'
  | 'amr_not_mfa'
  | 'acr_mismatch'
  | 'claim_mismatch'
  | 'auth_time_missing'
  | 'auth_too_old'
  | 'auth_time_in_future'
  | 'idp_refused';

/** The claim and value that made a session AAL2. For `amr` the value is the accepted value or combination. */
export interface Evidence {
  readonly claim: string;
  readonly value: string | readonly string[];
}

/** One step of the decision, in the order taken; `explain` prints these. */
export interface Step {
  /** What was looked at, e.g. `amr`, `acr`, `acrs`, `accept`, `auth_time`. */
  readonly subject: string;
  /** What was found, as received. */
  readonly observed: unknown;
  /** What would have satisfied it. */
  readonly required: unknown;
  readonly result: 'match' | 'no_match' | 'absent' | 'malformed' | 'not_considered';
  /** One plain sentence. */
  readonly note: string;
}

/** The outcome of the assurance decision. */
export interface Verdict {
  readonly aal: Aal;
  readonly evidence: Evidence | undefined;
  /** AAL2 that `strict` in place of `aal2_amr_values` would not have given. */
  readonly weak: boolean;
  /** Present exactly when `aal` is `aal1`. */
  readonly reason: AssuranceReason | undefined;
  /** Claims the policy looks at, exactly as received; absent ones left out. */
  readonly observed: Readonly<Record<string, unknown>>;
  /** What the policy wanted, in the operator's key names. */
  readonly required: Readonly<Record<string, unknown>>;
  readonly steps: readonly Step[];
}

/** Who is signing in, as far as `enforce_for` needs to know. */
export interface EnforcementSubject {
  /** A verified email address; absent when there is none or it is unverified. */
  readonly verifiedEmail: string | undefined;
  /** Absent when the IdP sent no (usable) groups claim. */
  readonly groups: readonly string[] | undefined;
}

/** What follows from verdict, mode, user and time. */
export type Outcome =
  | { readonly admit: true; readonly aal: 'aal2'; readonly status: 'verified'; readonly weak: boolean }
  | { readonly admit: true; readonly aal: 'aal1'; readonly status: 'would_reject' | 'none' | 'attested' }
  | {
      readonly admit: false;
      readonly aal: 'aal1';
      readonly status: 'rejected';
      readonly reason: AssuranceReason;
    };

/** An outcome, with the time from which it must be asked for again (`report_only_until`), if any. */
export interface Standing {
  readonly verdict: Verdict;
  readonly outcome: Outcome;
  /** Milliseconds since the epoch; Infinity when time changes nothing. */
  readonly validUntilMs: number;
}
