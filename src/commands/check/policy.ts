import type { AssurancePolicy } from '../../assurance/types.ts';
import type { ServerMetadata } from '../../provider/inspection.ts';
import { fail, ok, warn, type Finding } from './finding.ts';

/**
 * The policy against what the IdP announces: whether what it accepts can come at all.
 *
 * `acr_values_supported` and `claims_supported` are recommended, not required, and some vendors leave things out; so only a list that
 * is there and has none of what is needed speaks against a policy.
 * @see OpenID Connect Discovery 1.0 section 3
 */
export function checkPolicy(policy: AssurancePolicy, metadata: ServerMetadata): readonly Finding[] {
  const acr = waysByAcr(policy, metadata);
  const amr = wayByAmr(policy, metadata);
  const needed =
    policy.accept === 'both'
      ? [acr, amr]
      : policy.accept === 'acr'
        ? [acr]
        : policy.accept === 'amr'
          ? [amr]
          : [];
  const hopeless =
    policy.accept === 'any'
      ? [acr, amr].every(({ possible }) => !possible)
      : needed.some(({ possible }) => !possible);
  const reasons = [acr, amr]
    .filter(({ possible, considered }) => considered && !possible)
    .map(({ why }) => why);
  if (hopeless) {
    const why =
      reasons.length === 0 ? `accept: ${policy.accept} finds nothing to accept` : reasons.join('; ');
    const message = `this policy can never be met: ${why}`;
    const hint =
      'let aal2_acr_values, aal2_claims or aal2_amr_values name what the IdP announces, or make the IdP send it';
    // Under the other modes nobody is locked out by it; nobody is verified either.
    return [policy.mode === 'enforce' ? fail(message, hint) : warn(message, hint)];
  }
  return [
    ...reasons.map((why) => warn(why, 'the other evidence has to come, or this is never met')),
    ...(reasons.length === 0 ? [ok('what the policy accepts is nothing that the IdP rules out')] : []),
  ];
}

interface Way {
  /** Whether the policy looks there at all. */
  readonly considered: boolean;
  readonly possible: boolean;
  readonly why: string;
}

/** By acr, or by one of `aal2_claims`. */
function waysByAcr(policy: AssurancePolicy, metadata: ServerMetadata): Way {
  const considered = policy.accept !== 'amr';
  const supported = metadata.acr_values_supported;
  const announced = metadata.claims_supported;
  const acrs = policy.aal2AcrValues;
  const byAcr =
    acrs.length > 0 && (supported === undefined || acrs.some((value) => supported.includes(value)));
  const claims = Object.entries(policy.aal2Claims).filter(([, values]) => values.length > 0);
  // What was asked for by name in `claims` comes whether or not it is listed.
  const asked = Object.keys(policy.requestedClaims['id_token'] ?? {});
  const byClaim = claims.some(
    ([name]) => announced === undefined || announced.includes(name) || asked.includes(name),
  );
  const found: string[] = [];
  if (acrs.length > 0 && !byAcr) {
    found.push(`acr_values_supported is [${(supported ?? []).join(', ')}], without ${acrs.join(' or ')}`);
  }
  if (claims.length > 0 && !byClaim) {
    found.push(`claims_supported lacks ${claims.map(([name]) => name).join(', ')}`);
  }
  return {
    considered: considered && found.length > 0,
    possible: considered && (byAcr || byClaim),
    why: found.join('; '),
  };
}

function wayByAmr(policy: AssurancePolicy, metadata: ServerMetadata): Way {
  const wanted =
    policy.accept !== 'acr' && (typeof policy.aal2AmrValues === 'string' || policy.aal2AmrValues.length > 0);
  const announced = metadata.claims_supported;
  // Auth0 sends amr after MFA and does not list it.
  const possible =
    wanted && (announced === undefined || announced.includes('amr') || policy.preset === 'auth0');
  return { considered: wanted, possible, why: 'claims_supported lacks amr' };
}
