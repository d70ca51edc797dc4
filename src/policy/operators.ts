import { decideGate } from './gate.ts';
import { plainRule } from './routes.ts';
import type { GateDecision, GateRequest, RouteRule, SessionFacts } from './types.ts';

/** Some operators: whoever of this source has one of the emails, or is in one of the groups. */
export interface OperatorRule {
  /** Undefined: nobody can tell whose emails and groups are meant, so nobody is. */
  readonly source: string | undefined;
  readonly emails: readonly string[];
  readonly groups: readonly string[];
}

/** At AAL2, verified: an attested session is somebody's word, and what operators see is who lacks MFA. */
const operatorRoute: RouteRule = Object.freeze<RouteRule>({
  ...plainRule('operators', '/**', 'session'),
  requireAal: 'aal2',
});

/**
 * Who sees the status page and the canary: operators alone, and none are configured by default. The same gate as everywhere decides
 * about sign-in and assurance; whoever is no operator is told so first, and is not sent to the IdP for a door that stays shut.
 */
export function decideOperator(
  operators: readonly OperatorRule[],
  request: GateRequest,
  session: SessionFacts | undefined,
  nowMs: number,
): GateDecision {
  const admitted = session?.standing.outcome.admit === true;
  if (admitted && !operators.some((rule) => names(rule, session))) {
    return { kind: 'refuse', status: 403, code: 'operators_only' };
  }
  return decideGate(operatorRoute, request, session, nowMs);
}

function names({ source, emails, groups }: OperatorRule, session: SessionFacts): boolean {
  if (source === undefined || source !== session.sourceId) return false;
  if (session.groups?.some((group) => groups.includes(group)) === true) return true;
  const email = session.verifiedEmail?.toLowerCase();
  return email !== undefined && emails.some((entry) => entry.toLowerCase() === email);
}
