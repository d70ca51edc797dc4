import { strictEvidence, standardAmrValues } from './amr.ts';
import { isEntraV2, isGoogle, unsupportedIssuer } from './issuers.ts';
import { canBeMet } from './requirement.ts';
import type { AssurancePolicy } from './types.ts';

/** A possible policy that `check` and every start warn about. */
export interface PolicyWarning {
  /** Stable, for tests and for reading by machine. */
  readonly code: string;
  readonly path: readonly string[];
  readonly message: string;
  readonly cure: string;
}

const acrCounts = (policy: AssurancePolicy): boolean => policy.accept !== 'amr';
const amrCounts = (policy: AssurancePolicy): boolean => policy.accept !== 'acr';

/**
 * What an operator should know of a policy that is allowed all the same: where it can be met without two factors, where a vendor
 * never emits what it needs, where it asks for what it does not accept.
 */
export function warnAboutPolicy(policy: AssurancePolicy, issuer: string): readonly PolicyWarning[] {
  return [
    ...warnAboutMode(policy, issuer),
    ...warnAboutAmr(policy),
    ...warnAboutAcr(policy),
    ...warnAboutRequest(policy),
    ...warnAboutVendor(policy, issuer),
  ];
}

function warnAboutMode(policy: AssurancePolicy, issuer: string): readonly PolicyWarning[] {
  const found: PolicyWarning[] = [];
  if (policy.mode === 'trust_idp') {
    found.push({
      code: 'trust_idp_retiring',
      path: ['mode'],
      message:
        'trust_idp believes that the IdP enforces MFA without seeing any proof of it; this mode is to be retired',
      cure: 'rehearse with mode: report_only, then write mode: enforce',
    });
  }
  const unsupported = unsupportedIssuer(issuer, policy);
  if (unsupported !== undefined) {
    found.push({
      code: 'vendor_never_emits',
      path: ['preset'],
      message: `no sign-in through this source can reach AAL2: ${unsupported.reason}`,
      cure: unsupported.instead,
    });
  }
  if (policy.mode !== 'enforce' && policy.mode !== 'trust_idp' && !canBeMet(policy)) {
    found.push({
      code: 'nothing_to_accept',
      path: ['accept'],
      message: `accept: ${policy.accept} finds nothing to accept: no sign-in can reach AAL2, and where the rule is enforced nobody gets in`,
      cure: 'give aal2_amr_values, aal2_acr_values or aal2_claims a value',
    });
  }
  return found;
}

function warnAboutAmr(policy: AssurancePolicy): readonly PolicyWarning[] {
  if (!amrCounts(policy)) return [];
  const rule = policy.aal2AmrValues;
  // Beside an acr that is needed as well, a weak amr is no way in by itself; it still proves nothing.
  if (rule === 'standard') {
    return [
      {
        code: 'amr_standard_weak',
        path: ['aal2_amr_values'],
        message:
          'standard accepts single values that are no second factor (kba user wia mca …): Authelia sends ["pwd","kba"] for a password alone, Entra otp for an emailed code. Such sign-ins are marked weak',
        cure: 'write aal2_amr_values: strict',
      },
    ];
  }
  if (rule === 'strict') return [];
  const weak = rule.filter(
    (entry) => strictEvidence(typeof entry === 'string' ? [entry] : entry) === undefined,
  );
  if (weak.length === 0) return [];
  const shown = weak.map((entry) => JSON.stringify(entry)).join(', ');
  return [
    {
      code: 'amr_list_weak',
      path: ['aal2_amr_values'],
      message: `${shown} can be met without two factors; such sign-ins are marked weak`,
      cure: 'write aal2_amr_values: strict, or combinations such as [pwd, otp]',
    },
  ];
}

/** acr values that are known to say nothing about a second factor. */
const idleAcrValues: readonly { readonly test: RegExp; readonly why: string }[] = [
  { test: /^0?$/, why: 'never counts: it says "below level 1"' },
  { test: /^1$/, why: 'is what Keycloak and Entra v1 send for a password alone' },
  { test: /^urn:okta:loa:1fa:/, why: 'is Okta with one factor' },
  { test: /:ifpossible$/, why: 'is given with one factor where the user has only one' },
  {
    test: /^goauthentik\.io\/providers\/oauth2\/default$/,
    why: 'is the constant that Authentik sends for everyone',
  },
  { test: /^urn:oasis:names:tc:SAML:1\.0:am:unspecified$/, why: 'means that the context is not known' },
  {
    test: /^(?:urn:acr\.login\.gov:|http:\/\/idmanagement\.gov\/ns\/assurance\/ial\/)/,
    why: 'tells identity proofing, not authentication',
  },
  { test: /^phrh?$/, why: 'means phishing-resistant, which is not by itself two factors' },
];

function warnAboutAcr(policy: AssurancePolicy): readonly PolicyWarning[] {
  if (!acrCounts(policy)) return [];
  const found: PolicyWarning[] = [];
  for (const value of policy.aal2AcrValues) {
    const idle = idleAcrValues.find(({ test }) => test.test(value));
    if (idle === undefined) continue;
    found.push({
      code: 'acr_without_mfa',
      path: ['aal2_acr_values'],
      message: `acr ${JSON.stringify(value)} ${idle.why}`,
      cure: /^phr/.test(value)
        ? 'see to it that the Okta authentication policy asks for two factors (or user verification), or use preset: okta_2fa'
        : 'take it out of aal2_acr_values',
    });
  }
  const contexts = policy.aal2Claims['acrs'] ?? [];
  if (contexts.length > 0) {
    found.push({
      code: 'acrs_unprotected',
      path: ['aal2_claims', 'acrs'],
      message: `Entra issues acrs ${contexts.join(', ')} also when no Conditional Access policy targets that context, and to users whom the policy excludes; what a context means is set by your tenant`,
      cure: 'see to it that a Conditional Access policy on this context requires MFA of all users, without exclusions',
    });
  }
  return found;
}

/** acr values that are asked for alongside the one that counts, because the IdP insists. */
const companionAcr = /^(?:http:\/\/idmanagement\.gov\/ns\/assurance\/ial\/|urn:acr\.login\.gov:)/;

function warnAboutRequest(policy: AssurancePolicy): readonly PolicyWarning[] {
  const acceptedAcr = acrCounts(policy)
    ? [...policy.aal2AcrValues, ...Object.values(policy.aal2Claims).flat()]
    : [];
  const found = unaccepted('acr_values', policy.acrValues, acceptedAcr);
  for (const wishes of Object.values(policy.requestedClaims)) {
    for (const [claim, wish] of Object.entries(wishes)) {
      const asked = [wish?.['value'], wish?.['values']].flat().filter((value) => typeof value === 'string');
      if (asked.length === 0) continue;
      const accepted = claim === 'acr' ? policy.aal2AcrValues : (policy.aal2Claims[claim] ?? []);
      const amr = claim === 'amr' && amrCounts(policy) ? flatten(policy.aal2AmrValues) : [];
      found.push(...unaccepted('requested_claims', asked, acrCounts(policy) ? [...accepted, ...amr] : amr));
    }
  }
  return found;
}

const flatten = (rule: AssurancePolicy['aal2AmrValues']): readonly string[] =>
  typeof rule === 'string' ? standardAmrValues : rule.flat();

function unaccepted(key: string, asked: readonly string[], accepted: readonly string[]): PolicyWarning[] {
  const idle = asked.filter((value) => !accepted.includes(value) && !companionAcr.test(value));
  if (idle.length === 0) return [];
  return [
    {
      code: 'asked_not_accepted',
      path: [key],
      message: `${idle.join(', ')} is asked for but not accepted: an IdP that answers with it is refused`,
      cure: 'name it in aal2_acr_values or aal2_claims as well (and let accept look there), or do not ask for it',
    },
  ];
}

function warnAboutVendor(policy: AssurancePolicy, issuer: string): readonly PolicyWarning[] {
  const found: PolicyWarning[] = [];
  if (
    isEntraV2(issuer) &&
    (!acrCounts(policy) || (policy.aal2Claims['acrs'] ?? []).length === 0 || policy.accept === 'both')
  ) {
    found.push({
      code: 'vendor_never_emits',
      path: ['accept'],
      message:
        'v2.0 ID tokens of Entra carry neither amr nor acr, only acrs: what this rule needs never comes',
      cure: 'write preset: entra_c2, or aal2_claims: {acrs: [c1]} with accept: acr and requested_claims for acrs',
    });
  }
  if (
    isGoogle(issuer) &&
    policy.accept !== 'amr' &&
    policy.aal2AcrValues.length + Object.keys(policy.aal2Claims).length > 0
  ) {
    found.push({
      code: 'vendor_never_emits',
      path: ['aal2_acr_values'],
      message:
        'Google never sends acr, and urn:google:multi_factor is documented nowhere: only amr counts, for verified apps that opted in to "Authentication strength claims"',
      cure: 'opt in at Google Auth Platform > Settings; aal2_acr_values: [], acr_values: [] and accept: amr say the same without the illusion',
    });
  }
  if (['authentik', 'authelia', 'zitadel'].includes(policy.preset) && acrCounts(policy)) {
    found.push({
      code: 'vendor_never_emits',
      path: ['accept'],
      message: `${policy.preset} sends no acr that tells MFA: only amr counts`,
      cure: 'write accept: amr',
    });
  }
  if (policy.preset === 'keycloak' && amrCounts(policy)) {
    found.push({
      code: 'vendor_seldom_emits',
      path: ['accept'],
      message:
        "Keycloak sends amr only with its oidc-amr-mapper, whose references' max age of 0 leaves the list empty",
      cure: 'write accept: acr, or set a max age on every authenticator reference',
    });
  }
  return found;
}
