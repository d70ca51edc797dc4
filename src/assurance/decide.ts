import { findAmrEvidence, standardAmrValues, strictEvidence } from './amr.ts';
import { readAcr, readClaim, readAmr, type Reading } from './reading.ts';
import { describeRequirement, hasAmrRule } from './requirement.ts';
import type { AssurancePolicy, AssuranceReason, Claims, Evidence, Step, Verdict } from './types.ts';

/** Clock skew tolerated in both directions, in seconds (SPEC section 3.4). */
export const clockSkewSeconds = 60;

/** One claim that may carry evidence, read and compared. */
export interface Finding {
  readonly subject: string;
  readonly side: 'amr' | 'acr';
  /** Whether `accept` names it and there is a list to compare with. */
  readonly considered: boolean;
  readonly reading: Reading;
  readonly evidence: Evidence | undefined;
  readonly malformed: AssuranceReason;
  readonly mismatch: AssuranceReason;
  readonly required: unknown;
}

/**
 * The assurance decision (SPEC section 3): claims of a verified ID token, and the policy of its source, to a verdict. Pure.
 *
 * @param nowSeconds the moment for which freshness is judged (seconds since the epoch): that of the callback.
 */
export function decide(claims: Claims, policy: AssurancePolicy, nowSeconds: number): Verdict {
  const findings = examine(claims, policy);
  const accepted = acceptedEvidence(findings, policy);
  const failure = accepted === undefined ? explainRefusal(findings, policy) : undefined;
  const freshness = judgeFreshness(claims, policy.maxAuthAgeSeconds, nowSeconds);
  const reason = failure ?? freshness.reason;
  const granted = accepted !== undefined && reason === undefined;
  return {
    aal: granted ? 'aal2' : 'aal1',
    evidence: granted ? accepted : undefined,
    weak: granted && !satisfiesStrictly(findings, policy),
    reason: granted ? undefined : (reason ?? 'mfa_claims_absent'),
    observed: observe(claims, policy),
    required: describeRequirement(policy),
    steps: [...findings.map(describeFinding), describeAcceptance(policy, accepted), ...freshness.steps],
  };
}

/** Reads every claim that could be evidence, in the order in which evidence goes on record: acr, aal2_claims, amr. */
export function examine(claims: Claims, policy: AssurancePolicy): readonly Finding[] {
  const { accept } = policy;
  const acrCounts = accept !== 'amr';
  const acr = readAcr(claims);
  const acrValue = acr.kind === 'values' ? acr.values[0] : undefined;
  // "0" says "below ISO 29115 level 1", e.g. a long-lived cookie (OIDC Core section 2): no list makes it evidence.
  const acrMatches = acrValue !== undefined && acrValue !== '0' && policy.aal2AcrValues.includes(acrValue);
  const amr = readAmr(claims);
  const amrSet = hasAmrRule(policy);
  // Where no amr rule is set, strict tells whether the evidence is there, only in the wrong claim.
  const amrMatch =
    amr.kind === 'values' ? findAmrEvidence(amr.values, amrSet ? policy.aal2AmrValues : 'strict') : undefined;
  return [
    {
      subject: 'acr',
      side: 'acr',
      considered: acrCounts && policy.aal2AcrValues.length > 0,
      reading: acr,
      evidence: acrMatches ? { claim: 'acr', value: acrValue } : undefined,
      malformed: 'acr_malformed',
      mismatch: 'acr_mismatch',
      required: policy.aal2AcrValues,
    },
    ...Object.entries(policy.aal2Claims).map(([name, wanted]): Finding => {
      const reading = readClaim(claims, name);
      const match =
        reading.kind === 'values'
          ? reading.values.find((value) => value !== '' && wanted.includes(value))
          : undefined;
      return {
        subject: name,
        side: 'acr',
        considered: acrCounts && wanted.length > 0,
        reading,
        evidence: match === undefined ? undefined : { claim: name, value: match },
        malformed: 'claim_malformed',
        mismatch: 'claim_mismatch',
        required: wanted,
      };
    }),
    {
      subject: 'amr',
      side: 'amr',
      considered: accept !== 'acr' && amrSet,
      reading: amr,
      evidence: amrMatch === undefined ? undefined : { claim: 'amr', value: amrMatch },
      malformed: 'amr_malformed',
      mismatch: 'amr_not_mfa',
      required: policy.aal2AmrValues,
    },
  ];
}

/** The evidence to put on record when what `accept` names is there, else undefined. */
function acceptedEvidence(findings: readonly Finding[], policy: AssurancePolicy): Evidence | undefined {
  const matches = findings.filter((finding) => finding.considered && finding.evidence !== undefined);
  const found = (side: Finding['side']) => matches.some((finding) => finding.side === side);
  switch (policy.accept) {
    case 'any':
    case 'amr':
    case 'acr':
      return matches[0]?.evidence;
    case 'both':
      return found('amr') && found('acr') ? matches[0]?.evidence : undefined;
    default:
      return undefined; // An unknown rule is met by nobody.
  }
}

/** Whether `strict` in place of `aal2_amr_values` would have given AAL2 as well; asked only where the policy itself did. */
function satisfiesStrictly(findings: readonly Finding[], policy: AssurancePolicy): boolean {
  const acrSide = findings.some(({ considered, evidence, side }) => considered && evidence && side === 'acr');
  // Where amr does not count, the acr side has given AAL2 by itself.
  const amr = findings.find(({ side }) => side === 'amr')?.reading;
  const amrStrict = amr?.kind === 'values' && strictEvidence(amr.values) !== undefined;
  return policy.accept === 'both' ? acrSide && amrStrict : acrSide || amrStrict;
}

/**
 * Why the evidence is not there; the first that applies of: malformed, absent, in the wrong claim, mismatch.
 * Absent and empty are alike: the IdP said nothing.
 */
function explainRefusal(findings: readonly Finding[], policy: AssurancePolicy): AssuranceReason {
  const matched = findings.filter(({ evidence }) => evidence !== undefined);
  // Under `both`, a side that is satisfied has nothing wrong with it, whatever its other claims say.
  const satisfied = new Set(matched.filter(({ considered }) => considered).map(({ side }) => side));
  const failing = findings
    .filter(({ considered, evidence, side }) => considered && evidence === undefined && !satisfied.has(side))
    .sort((a, b) => malformedOrder.indexOf(a.malformed) - malformedOrder.indexOf(b.malformed));
  const malformed = failing.find(({ reading }) => reading.kind === 'malformed');
  if (malformed !== undefined) return malformed.malformed;
  const mismatch = failing.find(({ reading }) => reading.kind === 'values');
  if (matched.length > 0) {
    // One half of `both` that is there does not hide that the other half said the wrong thing.
    return policy.accept === 'both' && mismatch !== undefined
      ? mismatch.mismatch
      : 'evidence_not_in_required_claim';
  }
  return mismatch?.mismatch ?? 'mfa_claims_absent';
}

/** The order in which malformed claims are named. */
export const malformedOrder: readonly AssuranceReason[] = [
  'amr_malformed',
  'acr_malformed',
  'claim_malformed',
];

/**
 * Whether an `auth_time` is fresh enough: an integer, at most `maxAgeSeconds` old, not in the future, with 60 s of skew both ways.
 *
 * @param authTime as received; @param nowSeconds seconds since the epoch.
 * @returns the reason why not, or undefined.
 * @see OpenID Connect Core section 2 (auth_time), section 3.1.2.1 (max_age)
 */
export function checkAuthTime(
  authTime: unknown,
  maxAgeSeconds: number,
  nowSeconds: number,
): 'auth_time_missing' | 'auth_too_old' | 'auth_time_in_future' | undefined {
  if (typeof authTime !== 'number' || !Number.isSafeInteger(authTime)) return 'auth_time_missing';
  if (authTime > nowSeconds + clockSkewSeconds) return 'auth_time_in_future';
  // Written so that a NaN on the right-hand side refuses.
  return nowSeconds - authTime <= maxAgeSeconds + clockSkewSeconds ? undefined : 'auth_too_old';
}

function judgeFreshness(
  claims: Claims,
  maxAgeSeconds: number | undefined,
  nowSeconds: number,
): { reason: ReturnType<typeof checkAuthTime>; steps: readonly Step[] } {
  if (maxAgeSeconds === undefined) return { reason: undefined, steps: [] };
  const authTime = Object.hasOwn(claims, 'auth_time') ? claims['auth_time'] : undefined;
  const reason = checkAuthTime(authTime, maxAgeSeconds, nowSeconds);
  const notes = {
    fresh: 'The authentication is recent enough.',
    auth_time_missing:
      authTime === undefined
        ? 'The IdP did not say when the user authenticated.'
        : 'auth_time is not an integer.',
    auth_too_old: `The user authenticated ${nowSeconds - Number(authTime)} s ago, longer than max_auth_age and 60 s of clock skew allow.`,
    auth_time_in_future: 'auth_time lies more than 60 s in the future: the clocks disagree.',
  };
  const result = reason === undefined ? 'match' : authTime === undefined ? 'absent' : 'no_match';
  return {
    reason,
    steps: [
      {
        subject: 'auth_time',
        observed: authTime,
        required: { max_auth_age: `${maxAgeSeconds}s` },
        result,
        note: notes[reason ?? 'fresh'],
      },
    ],
  };
}

/** The claims on which a decision rests, exactly as received; absent ones left out. */
export function observe(claims: Claims, policy: AssurancePolicy): Readonly<Record<string, unknown>> {
  const names = ['amr', 'acr', 'auth_time', ...Object.keys(policy.aal2Claims)];
  return Object.fromEntries(
    names.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]]),
  );
}

function describeFinding(finding: Finding): Step {
  const { subject, required, reading, evidence, considered } = finding;
  const observed = reading.kind === 'absent' ? undefined : reading.observed;
  const base = { subject, observed, required };
  if (!considered) {
    const note = evidence
      ? `${subject} carries evidence, but this policy does not look there.`
      : `${subject} is not looked at by this policy.`;
    return { ...base, result: 'not_considered', note };
  }
  switch (reading.kind) {
    case 'absent':
      return { ...base, result: 'absent', note: `The token has no ${subject}, or an empty one.` };
    case 'malformed':
      return { ...base, result: 'malformed', note: `${subject} is no evidence: ${reading.why}.` };
    case 'values': {
      const wanted = describeAccepted(required);
      return evidence
        ? {
            ...base,
            result: 'match',
            note: `${subject} carries ${JSON.stringify(evidence.value)}, which is accepted.`,
          }
        : {
            ...base,
            result: 'no_match',
            note: `${subject} carries nothing of what is accepted (${wanted}).`,
          };
    }
    default:
      return { ...base, result: 'malformed', note: `${subject} could not be read.` };
  }
}

function describeAcceptance(policy: AssurancePolicy, accepted: Evidence | undefined): Step {
  const meaning = {
    any: 'one of amr, acr and aal2_claims is enough',
    amr: 'only amr counts',
    acr: 'acr or one of aal2_claims is needed',
    both: 'amr is needed, and acr or one of aal2_claims as well',
  }[policy.accept];
  return {
    subject: 'accept',
    observed: accepted,
    required: policy.accept,
    result: accepted === undefined ? 'no_match' : 'match',
    note: `accept is ${policy.accept}: ${meaning}. ${accepted === undefined ? 'It is not there.' : `On record: ${accepted.claim}.`}`,
  };
}

function describeAccepted(required: unknown): string {
  if (required === 'standard') return `standard: one of ${standardAmrValues.join(' ')}`;
  if (required === 'strict') return 'strict: mfa, or values of two different factor kinds';
  return JSON.stringify(required);
}
