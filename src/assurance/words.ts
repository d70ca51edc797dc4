import type { ModeInForce } from './outcome.ts';
import type { Outcome, Step } from './types.ts';

const outcomes: Readonly<Record<Outcome['status'], string>> = {
  verified: 'a session at AAL2',
  would_reject: 'a session at AAL1, marked would_reject: under enforce this sign-in would be refused',
  none: 'a session at AAL1: nothing more is required',
  attested: 'a session at AAL1, attested: the IdP is trusted, nothing was verified',
  rejected: 'refused: no session',
};

/** What follows from a verdict, in plain words; the same in the terminal and on the canary's page. */
export function describeOutcome(status: Outcome['status']): string {
  return outcomes[status];
}

/** Why another mode holds for somebody than the one that is written; undefined where it is that one. */
export function describeModeReason(why: ModeInForce['why']): string | undefined {
  switch (why) {
    case 'report_only_ended':
      return 'report_only_until has passed, so the rule is enforced';
    case 'enforced_for_user':
      return 'enforce_for names this user, so the rule is enforced';
    case 'user_not_told_apart':
      return 'enforce_for cannot tell this user apart, for want of a verified email or of groups, so the rule is enforced';
    case 'as_written':
    default:
      return undefined;
  }
}

const results: Readonly<Record<Step['result'], string>> = {
  match: 'yes',
  no_match: 'no',
  absent: 'not there',
  malformed: 'malformed',
  not_considered: 'not looked at',
};

/** How a step of the decision came out, in a word or two. */
export function describeResult(result: Step['result']): string {
  return results[result];
}
