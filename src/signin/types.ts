import type { AssuranceReason, Verdict } from '../assurance/types.ts';
import type { AuditSink } from '../audit/types.ts';
import type { Generation, Source } from '../generation.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Meter } from '../kernel/meter.ts';
import type { Randomness } from '../kernel/randomness.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import type { IdpRefusal } from '../provider/types.ts';
import type { Sealing } from '../session/sealing.ts';
import type { Sessions, Store } from '../session/types.ts';
import type { CanaryStart } from './attempt.ts';
import type { CanaryReport } from './canary.ts';

/** What the sign-in is made of; ports only. */
export interface SignInDeps {
  readonly sealing: Sealing;
  readonly store: Store;
  readonly sessions: Sessions;
  readonly audit: AuditSink;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly randomness: Randomness;
  /** A fault behind a sign-in that was answered with a page: for the log, never shown. */
  readonly logFault: (error: unknown, facts: RequestFacts | undefined) => void;
  /** What the operator should know, for the log. */
  readonly logWarning?: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** What the operator may want to know, for the log. */
  readonly logInfo?: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** The request that a step of the sign-in answers. */
export interface SignInRequest {
  readonly facts: RequestFacts;
  readonly generation: Generation;
  readonly source: Source;
  /** The request's `Cookie`. */
  readonly cookieHeader: string | undefined;
}

/** What a sign-in is asked to be. */
export interface BeginOptions {
  /** A local path: see {@link localReturnTo}. */
  readonly returnTo: string;
  /** Ask for a fresh authentication (`prompt=login`, `max_age=0`). */
  readonly fresh: boolean;
  /** Ask which account (`prompt=select_account`). */
  readonly selectAccount: boolean;
  /** A route found too little assurance: fresh, and marked, so that it is not asked for again. */
  readonly stepUp: boolean;
  readonly loginHint: string | undefined;
  /** A canary: fresh, and no session comes of it. */
  readonly canary?: CanaryStart | undefined;
}

/** A canary sign-in has come back. */
export interface CanaryDone {
  readonly kind: 'canary';
  readonly report: CanaryReport;
  /** Whether somebody waits for it at a terminal, and got it. */
  readonly delivered: 'no' | 'delivered' | 'link_used' | 'link_open';
  readonly setCookies: readonly string[];
}

/** The browser is sent on: to the IdP, or back to where it wanted to go. `setCookies` are whole `Set-Cookie` values. */
export interface SentOn {
  readonly kind: 'sent_to_idp' | 'signed_in';
  readonly location: string;
  readonly setCookies: readonly string[];
}

/** No session came of it, and why. */
export interface SignInRefused {
  readonly kind: 'refused';
  readonly status: 400 | 403 | 503;
  /** The reason code: of assurance, of identity, or `state_invalid`, `token_invalid`, `idp_unavailable`, `idp_refused`. */
  readonly code: string;
  /** A narrower code, e.g. `attempt_expired` beside `state_invalid`. */
  readonly detail: string | undefined;
  /** MFA was not asserted: the page of SPEC section 10, with what was observed. */
  readonly mfa: { readonly reason: AssuranceReason; readonly observed: Verdict['observed'] } | undefined;
  /** The IdP's own words; escape and bound them. */
  readonly idp: IdpRefusal | undefined;
  /** Where the user wanted to go, for another try. A local path. */
  readonly returnTo: string;
  readonly setCookies: readonly string[];
}
