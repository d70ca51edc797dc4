import type { AssurancePolicy } from './types.ts';

/** Whether an amr rule is set: an empty list unsets it. */
export function hasAmrRule(policy: AssurancePolicy): boolean {
  return typeof policy.aal2AmrValues === 'string' || policy.aal2AmrValues.length > 0;
}

/** Whether any token at all could reach AAL2 under this policy. */
export function canBeMet(policy: AssurancePolicy): boolean {
  const rule = policy.aal2AmrValues;
  const amr = typeof rule === 'string' || rule.some((entry) => entry.length > 0);
  const acr =
    policy.aal2AcrValues.some((value) => value !== '' && value !== '0') ||
    Object.values(policy.aal2Claims).some((values) => values.some((value) => value !== ''));
  switch (policy.accept) {
    case 'any':
      return amr || acr;
    case 'amr':
      return amr;
    case 'acr':
      return acr;
    case 'both':
      return amr && acr;
    default:
      return false;
  }
}

/** What a policy wants, in the operator's key names; what is unset is left out. */
export function describeRequirement(policy: AssurancePolicy): Readonly<Record<string, unknown>> {
  return {
    accept: policy.accept,
    ...(policy.aal2AcrValues.length > 0 ? { aal2_acr_values: policy.aal2AcrValues } : {}),
    ...(Object.keys(policy.aal2Claims).length > 0 ? { aal2_claims: policy.aal2Claims } : {}),
    ...(hasAmrRule(policy) ? { aal2_amr_values: policy.aal2AmrValues } : {}),
    ...(policy.maxAuthAgeSeconds === undefined ? {} : { max_auth_age: `${policy.maxAuthAgeSeconds}s` }),
  };
}
