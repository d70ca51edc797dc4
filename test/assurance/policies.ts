import { resolvePolicy, type MfaSettings, type ResolvedPolicy } from '../../src/assurance/policy.ts';
import type { AssurancePolicy } from '../../src/assurance/types.ts';

/** An IdP of which nothing is known. */
export const anyIssuer = 'https://idp.example.com/realms/one';

/** A source's `mfa` with the defaults of the schema. */
export function settings(mfa: Partial<MfaSettings> = {}): MfaSettings {
  return { mode: 'enforce', preset: 'generic', allow_unsupported_issuer: false, ...mfa };
}

export function resolve(mfa: Partial<MfaSettings> = {}, issuer = anyIssuer): ResolvedPolicy {
  return resolvePolicy(settings(mfa), { issuer });
}

/** A policy that has to be without faults. */
export function policyOf(mfa: Partial<MfaSettings> = {}, issuer = anyIssuer): AssurancePolicy {
  const { policy, faults } = resolve(mfa, issuer);
  if (faults.length > 0) throw new Error(faults.map(({ message }) => message).join('; '));
  return policy;
}
