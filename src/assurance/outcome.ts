import { decideRefreshed } from './refreshed.ts';
import type {
  AssurancePolicy,
  Claims,
  EnforceFor,
  EnforcementSubject,
  Mode,
  Outcome,
  Standing,
  Verdict,
} from './types.ts';

/** The mode that holds for one user at one moment, and why it is not the written one. */
export interface ModeInForce {
  readonly mode: Mode;
  readonly why: 'as_written' | 'report_only_ended' | 'enforced_for_user' | 'user_not_told_apart';
}

/**
 * The mode in force for `subject` at `nowMs`: report_only becomes enforce from `report_only_until`, for whom `enforce_for` names, and for
 * whom it cannot tell apart. Fail closed: not knowing who somebody is, is no way out of a rule that names people.
 */
export function findModeInForce(
  policy: AssurancePolicy,
  subject: EnforcementSubject,
  nowMs: number,
): ModeInForce {
  if (policy.mode !== 'report_only') return { mode: policy.mode, why: 'as_written' };
  if (policy.reportOnlyUntilMs !== undefined && !(nowMs < policy.reportOnlyUntilMs)) {
    return { mode: 'enforce', why: 'report_only_ended' };
  }
  const membership =
    policy.enforceFor === undefined ? 'outside' : judgeMembership(policy.enforceFor, subject);
  if (membership === 'inside') return { mode: 'enforce', why: 'enforced_for_user' };
  if (membership === 'unknown') return { mode: 'enforce', why: 'user_not_told_apart' };
  return { mode: 'report_only', why: 'as_written' };
}

function judgeMembership(named: EnforceFor, subject: EnforcementSubject): 'inside' | 'outside' | 'unknown' {
  const email = subject.verifiedEmail?.toLowerCase();
  if (email !== undefined && named.emails.some((entry) => entry.toLowerCase() === email)) return 'inside';
  if (subject.groups?.some((group) => named.groups.includes(group)) === true) return 'inside';
  if (named.emails.length > 0 && email === undefined) return 'unknown';
  if (named.groups.length > 0 && subject.groups === undefined) return 'unknown';
  return 'outside';
}

/**
 * What follows from a verdict under a policy, for this user, now (SPEC section 3, table). Sign-in, gate and `explain` all call it.
 * @param nowMs milliseconds since the epoch.
 */
export function decideOutcome(
  verdict: Verdict,
  policy: AssurancePolicy,
  subject: EnforcementSubject,
  nowMs: number,
): Outcome {
  if (verdict.aal === 'aal2') return { admit: true, aal: 'aal2', status: 'verified', weak: verdict.weak };
  switch (findModeInForce(policy, subject, nowMs).mode) {
    case 'report_only':
      return { admit: true, aal: 'aal1', status: 'would_reject' };
    case 'carry_over':
      return { admit: true, aal: 'aal1', status: 'none' };
    case 'trust_idp':
      return { admit: true, aal: 'aal1', status: 'attested' };
    case 'enforce':
    default:
      return { admit: false, aal: 'aal1', status: 'rejected', reason: verdict.reason ?? 'mfa_claims_absent' };
  }
}

/**
 * How `policy` judges recorded claims: verdict and outcome, and until when they hold.
 *
 * @param decidedAtSeconds the moment of the callback, for freshness; seconds since the epoch.
 * @param nowMs the moment for mode and date; milliseconds since the epoch.
 * @param refreshed what refreshed ID tokens have said otherwise since.
 */
export function stand(
  claims: Claims,
  policy: AssurancePolicy,
  subject: EnforcementSubject,
  decidedAtSeconds: number,
  nowMs: number,
  refreshed?: Claims,
): Standing {
  const verdict = decideRefreshed(claims, refreshed, policy, decidedAtSeconds);
  const outcome = decideOutcome(verdict, policy, subject, nowMs);
  const until = policy.mode === 'report_only' ? policy.reportOnlyUntilMs : undefined;
  // Only a session that the date would end has to be judged again on that date.
  const changes = until !== undefined && outcome.status === 'would_reject';
  return { verdict, outcome, validUntilMs: changes ? until : Infinity };
}
