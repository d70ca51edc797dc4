import { strictEvidence } from './amr.ts';
import { decide } from './decide.ts';
import { isEntraV2 } from './issuers.ts';
import { resolvePolicy, type MfaSettings } from './policy.ts';
import { readAcr, readAmr, readClaim } from './reading.ts';
import { weakHint } from './reasons.ts';
import type { Accept, Claims, Verdict } from './types.ts';

/** Which keys of a source's `mfa` would have accepted a sign-in, said honestly. */
export interface Suggestion {
  /**
   * `accepted`: the policy in force does already. `strict`: these keys would, and what they accept says MFA by itself.
   * `conditional`: they would, but whether that means MFA is up to the IdP's own rules. `none`: nothing here proves MFA.
   */
  readonly kind: 'accepted' | 'strict' | 'conditional' | 'none';
  /** Plain words, for the operator. */
  readonly note: string;
  /** The source's whole `mfa` as YAML, what is new marked; only with `strict` and `conditional`. */
  readonly yaml: string | undefined;
}

type Changes = Partial<Pick<MfaSettings, 'accept' | 'aal2_acr_values' | 'aal2_amr_values' | 'aal2_claims'>>;

interface Proposal {
  readonly kind: 'strict' | 'conditional';
  readonly changes: Changes;
  readonly note: string;
}

/** `acr` values that say MFA by their definition, whoever sends them. */
const mfaAcrValues: ReadonlySet<string> = new Set([
  'phr',
  'phrh',
  'urn:okta:loa:2fa:any',
  'urn:google:multi_factor',
  'http://schemas.openid.net/pape/policies/2007/06/multi-factor',
  'https://refeds.org/profile/mfa',
]);

/** Values of login.gov's `aal` that need two factors. */
const loginGovAal: ReadonlySet<string> = new Set([
  'http://idmanagement.gov/ns/assurance/aal/2',
  'http://idmanagement.gov/ns/assurance/aal/3',
]);

/**
 * The policy that would accept these claims, for the canary: strict where the token itself proves MFA, with its condition where
 * only the IdP's rules do, and nothing where nothing does: a value that merely came along is not evidence because somebody lists it.
 *
 * @param decidedAtSeconds seconds since the epoch, for freshness.
 */
export function suggestPolicy(
  claims: Claims,
  mfa: MfaSettings,
  source: { readonly issuer: string },
  decidedAtSeconds: number,
): Suggestion {
  const { policy } = resolvePolicy(mfa, source);
  const verdict = decide(claims, policy, decidedAtSeconds);
  if (verdict.aal === 'aal2') return acceptedAlready(verdict);
  if (isFreshness(verdict)) {
    return none(
      'The evidence of MFA is accepted already; what is missing is a recent auth_time. No other list of values changes that: see the hint.',
    );
  }
  for (const { kind, changes, note } of propose(claims, policy.accept, source.issuer)) {
    const changed = { ...mfa, ...changes };
    const then = decide(claims, resolvePolicy(changed, source).policy, decidedAtSeconds);
    if (then.aal === 'aal2') return { kind, note, yaml: renderMfa(changed, new Set(Object.keys(changes))) };
    if (isFreshness(then)) {
      return none(`${note} But auth_time is not recent enough for max_auth_age, so that alone would not do.`);
    }
  }
  return none(
    `Nothing in this ID token proves MFA, so no honest policy accepts it. ${describeOpaque(claims)}`,
  );
}

const none = (note: string): Suggestion => ({ kind: 'none', note: note.trim(), yaml: undefined });

function acceptedAlready({ weak }: Verdict): Suggestion {
  const note = weak
    ? `The policy in force accepts this sign-in, but on weak evidence: nothing in this ID token would satisfy strict. ${weakHint}`
    : 'The policy in force accepts this sign-in as it is.';
  return { kind: 'accepted', note, yaml: undefined };
}

function isFreshness({ reason }: Verdict): boolean {
  return reason === 'auth_time_missing' || reason === 'auth_too_old' || reason === 'auth_time_in_future';
}

/** What in these claims could be evidence, the surest first. */
function propose(claims: Claims, accept: Accept, issuer: string): readonly Proposal[] {
  const found: Proposal[] = [];
  // Where accept looks elsewhere, or at two places, it has to look at the one place where the evidence is.
  const lookAt = (side: 'amr' | 'acr'): Changes =>
    accept === 'any' || accept === side ? {} : { accept: side };
  const amr = readAmr(claims);
  const evidence = amr.kind === 'values' ? strictEvidence(amr.values) : undefined;
  if (evidence !== undefined) {
    found.push({
      kind: 'strict',
      changes: { aal2_amr_values: 'strict', ...lookAt('amr') },
      note: `amr carries ${JSON.stringify(evidence)}, which strict accepts: ${evidence === 'mfa' ? 'the IdP says MFA in so many words' : 'two factors of different kinds'}.`,
    });
  }
  const acr = readAcr(claims);
  const acrValue = acr.kind === 'values' ? acr.values[0] : undefined;
  if (acrValue !== undefined && mfaAcrValues.has(acrValue)) {
    found.push({
      kind: 'strict',
      changes: { aal2_acr_values: [acrValue], ...lookAt('acr') },
      note: `acr is ${JSON.stringify(acrValue)}, which says MFA by its definition.`,
    });
  }
  const aal = firstIn(claims, 'aal', (value) => loginGovAal.has(value));
  if (aal !== undefined) {
    found.push({
      kind: 'strict',
      changes: { aal2_claims: { aal: [aal] }, ...lookAt('acr') },
      note: 'aal names an authentication level that needs two factors.',
    });
  }
  const context = isEntraV2(issuer)
    ? firstIn(claims, 'acrs', (value) => /^c[1-9][0-9]?$/.test(value))
    : undefined;
  if (context !== undefined) {
    found.push({
      kind: 'conditional',
      changes: { aal2_claims: { acrs: [context] }, ...lookAt('acr') },
      note: `acrs carries ${context}. That means MFA only if a Conditional Access policy of your tenant targets this context, has this app in scope, and requires MFA: Entra also issues it where no policy does.`,
    });
  }
  return found;
}

function firstIn(claims: Claims, name: string, fits: (value: string) => boolean): string | undefined {
  const reading = readClaim(claims, name);
  return reading.kind === 'values' ? reading.values.find(fits) : undefined;
}

/** What came that may mean something at this IdP, or may not. */
function describeOpaque(claims: Claims): string {
  const parts: string[] = [];
  const acr = readAcr(claims);
  const acrValue = acr.kind === 'values' ? acr.values[0] : undefined;
  if (acrValue !== undefined && acrValue !== '0') {
    parts.push(
      `What acr ${show(acrValue)} means, only the IdP's configuration says: list it in aal2_acr_values only if no flow yields it without a second factor.`,
    );
  }
  const amr = readAmr(claims);
  if (amr.kind === 'values') {
    parts.push(`amr ${show(amr.values)} does not name two kinds of factor.`);
  }
  return parts.join(' ');
}

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** A source's `mfa` as YAML: JSON's flow style is YAML, so that nothing an IdP sent can become structure. */
function renderMfa(mfa: MfaSettings, changed: ReadonlySet<string>): string {
  const lines = ['mfa:'];
  for (const key of keyOrder) {
    const value = mfa[key];
    if (value === undefined || value === false) continue;
    const text = key === 'max_auth_age' ? `${Math.floor(Number(value) / 1000)}s` : scalar(value);
    lines.push(`  ${key}: ${text}${changed.has(key) ? ' # new' : ''}`);
  }
  return `${lines.join('\n')}\n`;
}

const keyOrder = [
  'mode',
  'report_only_until',
  'enforce_for',
  'preset',
  'acr_values',
  'requested_claims',
  'accept',
  'aal2_acr_values',
  'aal2_claims',
  'aal2_amr_values',
  'max_auth_age',
  'allow_unsupported_issuer',
] as const satisfies readonly (keyof MfaSettings)[];

/** Words of the definition stand plainly; all else is quoted. A `$` is doubled, or `${…}` would be read as a variable. */
function scalar(value: unknown): string {
  if (typeof value === 'string' && /^[a-z][a-z0-9_]*$/.test(value)) return value;
  return JSON.stringify(value).replaceAll('${', '$$${');
}
