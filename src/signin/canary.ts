import { findModeInForce, stand } from '../assurance/outcome.ts';
import { describeReason, hintFor, weakHint } from '../assurance/reasons.ts';
import { describeRequirement } from '../assurance/requirement.ts';
import { suggestPolicy } from '../assurance/suggestion.ts';
import type { EnforcementSubject, Evidence, Step } from '../assurance/types.ts';
import { resolveEmail } from '../identity/email.ts';
import { resolveGroups } from '../identity/groups.ts';
import { resolveIdentity } from '../identity/resolve.ts';
import { nowSeconds } from '../kernel/clock.ts';
import type { IdpRefusal, VerifiedSignIn } from '../provider/types.ts';
import { boundMembers } from './ledger.ts';
import { claimedUser } from './sign-in-audit.ts';
import type { SignInDeps, SignInRequest } from './types.ts';

/**
 * What a canary sign-in brought, in the words of its JSON. Claims are as received; tokens never come in here, and of claims that
 * the policy does not look at there are the names alone: the canary is about MFA, not about who somebody is.
 */
export interface CanaryReport {
  readonly version: 1;
  readonly source: string;
  readonly issuer: string;
  readonly preset: string;
  readonly mode: string;
  /** RFC 3339. */
  readonly at: string;
  readonly result: 'decided' | 'idp_refused' | 'idp_unavailable' | 'token_invalid';
  /** Why nothing was decided: a narrower code, or the IdP's own words. */
  readonly failure?:
    | {
        readonly detail?: string | undefined;
        readonly error?: string | undefined;
        readonly error_description?: string | undefined;
      }
    | undefined;
  readonly required: Readonly<Record<string, unknown>>;
  readonly hint?: string | undefined;
  /** Present exactly when `result` is `decided`. */
  readonly decision?: CanaryDecision | undefined;
}

/** The decision that a sign-in with these claims would have met. */
export interface CanaryDecision {
  readonly aal: 'aal1' | 'aal2';
  readonly evidence?: Evidence | undefined;
  readonly weak: boolean;
  readonly reason?: string | undefined;
  /** One sentence on the reason. */
  readonly reason_text?: string | undefined;
  readonly mode_in_force: string;
  readonly mode_why: string;
  readonly outcome: string;
  readonly admitted: boolean;
  readonly observed: Readonly<Record<string, unknown>>;
  readonly other_claims: readonly string[];
  readonly steps: readonly Step[];
  readonly suggestion: {
    readonly kind: string;
    readonly note: string;
    readonly yaml?: string | undefined;
  };
  /** Beside MFA: why the account itself could not come in. */
  readonly identity?: { readonly code: string; readonly hint: string } | undefined;
}

/** What a canary sign-in came to, before anyone has judged it. */
export type CanaryAnswer =
  | { readonly signIn: VerifiedSignIn }
  | { readonly refused: IdpRefusal }
  | { readonly fault: 'idp_unavailable' | 'token_invalid'; readonly detail: string | undefined };

/** Who set a canary going. */
export type CanaryOrigin = 'operator' | 'anyone' | 'link';

const mostOtherClaims = 100;

/** Judges a canary sign-in as a real one would be judged now, and touches nothing. */
export function reportCanary(
  { clock }: Pick<SignInDeps, 'clock'>,
  { source, generation }: Pick<SignInRequest, 'source' | 'generation'>,
  answer: CanaryAnswer,
): CanaryReport {
  const { config, policy } = source;
  const nowMs = clock.nowMs();
  const base = {
    version: 1,
    source: config.id,
    issuer: config.issuer,
    preset: policy.preset,
    mode: policy.mode,
    at: new Date(nowMs).toISOString(),
    required: describeRequirement(policy),
  } as const;
  if ('fault' in answer) {
    const { fault, detail } = answer;
    return { ...base, result: fault, failure: { detail }, hint: hintFor(fault, policy.preset) };
  }
  if ('refused' in answer) {
    const { error, description } = answer.refused;
    return {
      ...base,
      result: 'idp_refused',
      failure: { error: error.slice(0, 100), error_description: description?.slice(0, 300) },
      hint: hintFor('idp_refused', policy.preset),
    };
  }
  const { claims, profile } = answer.signIn;
  const email = resolveEmail(claims, profile, config);
  const subject: EnforcementSubject = {
    verifiedEmail: email.verified ? email.address : undefined,
    groups: resolveGroups(claims, profile, config.groups_claim),
  };
  const now = nowSeconds(clock);
  const { verdict, outcome } = stand(claims, policy, subject, now, nowMs);
  const inForce = findModeInForce(policy, subject, nowMs);
  const { username, identity_headers: headers, preset } = generation.config.upstream;
  const headerClaims = headers?.map(({ claim }) => claim);
  const identity = resolveIdentity(answer.signIn, config, username, preset, headerClaims);
  const { reason, weak } = verdict;
  return {
    ...base,
    result: 'decided',
    hint:
      reason === undefined ? (weak ? weakHint : undefined) : hintFor(reason, policy.preset, verdict.observed),
    decision: {
      aal: verdict.aal,
      evidence: verdict.evidence,
      weak,
      reason,
      reason_text: reason === undefined ? undefined : describeReason(reason),
      mode_in_force: inForce.mode,
      mode_why: inForce.why,
      outcome: outcome.status,
      admitted: outcome.admit,
      observed: boundMembers(verdict.observed),
      other_claims: Object.keys(claims)
        .filter((name) => !Object.hasOwn(verdict.observed, name))
        .slice(0, mostOtherClaims)
        .map((name) => name.slice(0, 100)),
      steps: verdict.steps.map((step) => ({
        ...step,
        ...(step.observed === undefined ? {} : boundMembers({ observed: step.observed })),
      })),
      suggestion: suggestPolicy(claims, config.mfa, config, now),
      identity: identity.ok
        ? undefined
        : { code: identity.code, hint: hintFor(identity.code, policy.preset) },
    },
  };
}

/** Puts a canary on record: who set it going, who signed in, and what came of it. */
export function auditCanary(
  { audit }: Pick<SignInDeps, 'audit'>,
  { facts, source }: Pick<SignInRequest, 'facts' | 'source'>,
  origin: CanaryOrigin,
  startedBy: string | undefined,
  answer: CanaryAnswer,
  report: CanaryReport,
): void {
  const { decision, result, failure, required, hint } = report;
  audit.write({
    action: 'canary.completed',
    requestId: facts.id,
    traceparent: facts.traceparent,
    clientIp: facts.clientIp,
    user: 'signIn' in answer ? claimedUser(answer.signIn.claims) : undefined,
    authSource: source.config.id,
    tenant: source.config.tenant,
    fields: {
      via: origin,
      ...(startedBy === undefined ? {} : { started_by: startedBy }),
      result,
      ...(failure === undefined ? {} : { failure }),
      aal: decision?.aal ?? null,
      outcome: decision?.outcome ?? null,
      reason: decision?.reason ?? null,
      observed: decision?.observed ?? {},
      required,
      ...(hint === undefined ? {} : { hint }),
    },
  });
}
