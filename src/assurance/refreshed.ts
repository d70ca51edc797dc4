import { decide, examine, malformedOrder, observe } from './decide.ts';
import type { Finding } from './decide.ts';
import type { AssurancePolicy, Claims, Step, Verdict } from './types.ts';

/*
 * What a refreshed ID token says of the assurance (SPEC section 6, OpenID Connect Core 1.0 section 12.2). The evidence is that of the
 * sign-in and stays so: Auth0 drops amr on refresh, Keycloak's runs out, and no refresh is an authentication. So a refresh can take
 * away, and nothing else: by a claim that counted at the sign-in, and now says something that does not count.
 */

/** Whether a claim says nothing: `null`, `""` and `[]` are how IdPs write that they have nothing to say. */
function isSilent(value: unknown): boolean {
  return (
    value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
  );
}

/** Those of the claims that say something. */
function spoken(claims: Claims): Claims {
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => !isSilent(value)));
}

/** Claims that counted at the sign-in, and of which a refresh has said what does not count. */
function contradictions(signIn: Claims, refreshed: Claims, policy: AssurancePolicy): readonly Finding[] {
  const now = examine(spoken(refreshed), policy);
  return examine(signIn, policy).flatMap((before, at) => {
    const after = now[at];
    if (after === undefined || !before.considered || before.evidence === undefined) return [];
    return after.reading.kind !== 'absent' && after.evidence === undefined ? [after] : [];
  });
}

/**
 * The assurance decision for a session whose tokens have been refreshed: that of its sign-in, unless a refresh has contradicted it. Pure.
 *
 * @param signIn claims of the sign-in's ID token
 * @param refreshed what refreshes have said otherwise: see {@link noteRefreshed}; undefined: nothing
 * @param decidedAtSeconds the moment of the sign-in's callback, for freshness; seconds since the epoch
 */
export function decideRefreshed(
  signIn: Claims,
  refreshed: Claims | undefined,
  policy: AssurancePolicy,
  decidedAtSeconds: number,
): Verdict {
  const verdict = decide(signIn, policy, decidedAtSeconds);
  if (refreshed === undefined || verdict.aal === 'aal1') return verdict;
  const against = contradictions(signIn, refreshed, policy);
  const malformed = against
    .filter(({ reading }) => reading.kind === 'malformed')
    .sort((a, b) => malformedOrder.indexOf(a.malformed) - malformedOrder.indexOf(b.malformed))[0];
  const reason = malformed?.malformed ?? against[0]?.mismatch;
  if (reason === undefined) return verdict;
  return {
    ...verdict,
    aal: 'aal1',
    evidence: undefined,
    weak: false,
    reason,
    observed: { ...verdict.observed, ...observe(spoken(refreshed), policy) },
    steps: [...verdict.steps, ...against.map(describeContradiction)],
  };
}

/**
 * What to keep of a refreshed ID token, beside what was kept of those before it: the claims that may count, where they say something
 * else than at the sign-in. Of each the latest word counts, but a contradiction stays: a later refresh never lifts what one has lowered.
 *
 * @param kept what was kept until now
 * @param said claims of the refreshed ID token
 * @returns undefined when there is nothing to keep
 */
export function noteRefreshed(
  signIn: Claims,
  kept: Claims | undefined,
  said: Claims,
  policy: AssurancePolicy,
): Claims | undefined {
  const standing = new Set(contradictions(signIn, kept ?? {}, policy).map(({ subject }) => subject));
  const next: Record<string, unknown> = { ...kept };
  for (const name of new Set(['acr', 'amr', ...Object.keys(policy.aal2Claims)])) {
    const value = Object.hasOwn(said, name) ? said[name] : undefined;
    if (isSilent(value) || standing.has(name)) continue;
    const before = Object.hasOwn(signIn, name) ? signIn[name] : undefined;
    if (JSON.stringify(value) === JSON.stringify(before)) Reflect.deleteProperty(next, name);
    else Object.defineProperty(next, name, { value, enumerable: true, writable: true, configurable: true });
  }
  return Object.keys(next).length === 0 ? undefined : Object.freeze(next);
}

function describeContradiction({ subject, reading, required }: Finding): Step {
  return {
    subject,
    observed: reading.kind === 'absent' ? undefined : reading.observed,
    required,
    result: reading.kind === 'malformed' ? 'malformed' : 'no_match',
    note: `A refreshed ID token says so of ${subject}, against the sign-in: the session stands at AAL1.`,
  };
}
