import { unsupportedIssuer } from './issuers.ts';
import { presets, type Preset } from './presets.ts';
import { canBeMet } from './requirement.ts';
import type { Accept, AmrRule, AssurancePolicy, EnforceFor, Mode, RequestedClaims } from './types.ts';
import { warnAboutPolicy, type PolicyWarning } from './warnings.ts';

/** A source's `mfa` as the configuration has it once parsed: keys as in the file, durations in milliseconds. */
export interface MfaSettings {
  readonly mode: Mode;
  readonly report_only_until?: string | undefined;
  readonly enforce_for?: EnforceFor | undefined;
  readonly preset: string;
  /** Space-separated, or a list. */
  readonly acr_values?: string | readonly string[] | undefined;
  readonly requested_claims?: RequestedClaims | undefined;
  readonly aal2_acr_values?: readonly string[] | undefined;
  readonly aal2_amr_values?: AmrRule | undefined;
  readonly aal2_claims?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly accept?: Accept | undefined;
  /** Milliseconds. */
  readonly max_auth_age?: number | undefined;
  readonly allow_unsupported_issuer: boolean;
}

/** An impossible combination: nothing starts. */
export interface PolicyFault {
  /** Key path relative to `mfa`, e.g. `['acr_values']`. */
  readonly path: readonly string[];
  readonly message: string;
  readonly cure: string;
}

/** A source's policy, beside all that is wrong or doubtful about it. */
export interface ResolvedPolicy {
  /** To be used only where there are no faults; it is never wider than what was written. */
  readonly policy: AssurancePolicy;
  readonly faults: readonly PolicyFault[];
  readonly warnings: readonly PolicyWarning[];
}

/**
 * Fills in the preset and judges the result (SPEC section 2). Pure. A written key replaces the preset's, `[]` and `{}` unset it, and
 * nothing else follows from an override.
 *
 * @param source the issuer as configured, for what is known of its vendor.
 */
export function resolvePolicy(mfa: MfaSettings, source: { readonly issuer: string }): ResolvedPolicy {
  const faults: PolicyFault[] = [];
  const known = presets.get(mfa.preset);
  if (known === undefined) {
    const cure = `write one of ${[...presets.keys()].join(', ')}`;
    faults.push({ path: ['preset'], message: `no preset is called ${JSON.stringify(mfa.preset)}`, cure });
  }
  const preset = known ?? nothing;
  const written = fillIn(mfa, preset);
  const until = parseMoment(mfa.report_only_until);
  const policy: AssurancePolicy = {
    ...written,
    // An unreadable date has passed: the fault stops the start, and were it ignored, the rule would hold.
    reportOnlyUntilMs: until === 'invalid' ? 0 : until,
    requestedClaims:
      mfa.mode === 'enforce' ? written.requestedClaims : relaxEssential(written.requestedClaims),
    ...(mfa.mode === 'report_only' && until !== undefined && { essentialClaims: written.requestedClaims }),
  };
  faults.push(...judgeRequest(mfa, preset, written), ...judgeRollOut(mfa, until));
  if (mfa.mode === 'enforce' && known !== undefined) {
    if (!canBeMet(policy) && !faults.some(({ path }) => path[0] === preset.required))
      faults.push(nothingToAccept(policy));
    const unsupported = mfa.allow_unsupported_issuer ? undefined : unsupportedIssuer(source.issuer, policy);
    if (unsupported !== undefined) {
      faults.push({
        path: ['mode'],
        message: `nobody could sign in under enforce: ${unsupported.reason}`,
        cure: unsupported.instead,
      });
    }
  }
  return { policy, faults, warnings: warnAboutPolicy(policy, source.issuer) };
}

const nothing: Preset = {
  acrValues: [],
  requestedClaims: {},
  aal2AcrValues: [],
  aal2AmrValues: [],
  aal2Claims: {},
  accept: 'any',
};

/** The policy as written and as the preset completes it; `essential` still as written. */
function fillIn(mfa: MfaSettings, preset: Preset): AssurancePolicy {
  const acrValues = typeof mfa.acr_values === 'string' ? splitWords(mfa.acr_values) : mfa.acr_values;
  const aal2AcrValues =
    mfa.aal2_acr_values ??
    (preset.acceptsRequestedAcr === true ? (acrValues ?? preset.acrValues) : preset.aal2AcrValues);
  const asked =
    preset.asksEssentialAcr === true && aal2AcrValues.length > 0
      ? { id_token: { acr: { essential: true, values: aal2AcrValues } } }
      : preset.requestedClaims;
  const { enforce_for: enforceFor, max_auth_age: maxAuthAgeMs } = mfa;
  const namesSomebody = enforceFor !== undefined && enforceFor.groups.length + enforceFor.emails.length > 0;
  return {
    mode: mfa.mode,
    reportOnlyUntilMs: undefined,
    enforceFor: namesSomebody ? enforceFor : undefined,
    preset: mfa.preset,
    acrValues: acrValues ?? preset.acrValues,
    requestedClaims: mfa.requested_claims ?? asked,
    aal2AcrValues,
    aal2AmrValues: mfa.aal2_amr_values ?? preset.aal2AmrValues,
    aal2Claims: mfa.aal2_claims ?? preset.aal2Claims,
    accept: mfa.accept ?? preset.accept,
    maxAuthAgeSeconds: maxAuthAgeMs === undefined ? undefined : Math.floor(maxAuthAgeMs / 1000),
  };
}

const splitWords = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== '');

/** What is asked of the IdP: the operator's own values where only they know them, and no two requests that cancel each other. */
function judgeRequest(mfa: MfaSettings, preset: Preset, written: AssurancePolicy): readonly PolicyFault[] {
  const faults: PolicyFault[] = [];
  const { required } = preset;
  if (required !== undefined && mfa[required] === undefined) {
    const what =
      required === 'acr_values' ? 'the sign-on policies to ask for' : 'the acr that your MFA flow yields';
    faults.push({
      path: [required],
      message: `preset ${mfa.preset} needs ${required}: only you know ${what}`,
      cure:
        required === 'acr_values'
          ? 'write e.g. acr_values: Multi_Factor'
          : 'write e.g. aal2_acr_values: [gold]',
    });
  }
  for (const value of written.acrValues) {
    if (!/\s/.test(value) && value !== '') continue;
    faults.push({
      path: ['acr_values'],
      message: `${JSON.stringify(value)} is not one acr value: on the wire they are separated by spaces`,
      cure: 'write a list with one value per element, or one string with spaces between the values',
    });
  }
  if (written.acrValues.length > 0 && asksEssentialAcr(written.requestedClaims)) {
    faults.push({
      path: [mfa.acr_values === undefined ? 'requested_claims' : 'acr_values'],
      message:
        'acr_values stands beside an essential acr in requested_claims: providers drop the essential one, and a password-only sign-in succeeds',
      cure: 'keep one: acr_values: [] with the essential acr, or requested_claims: {} with acr_values',
    });
  }
  return faults;
}

function asksEssentialAcr(claims: RequestedClaims): boolean {
  return Object.values(claims).some(
    (section) => Object.hasOwn(section, 'acr') && section['acr']?.['essential'] === true,
  );
}

function judgeRollOut(mfa: MfaSettings, until: number | 'invalid' | undefined): readonly PolicyFault[] {
  const faults: PolicyFault[] = [];
  for (const key of ['report_only_until', 'enforce_for'] as const) {
    if (mfa[key] === undefined || mfa.mode === 'report_only') continue;
    const message = `${key} has a meaning only beside mode: report_only, not beside mode: ${mfa.mode}`;
    faults.push({ path: [key], message, cure: `write mode: report_only, or leave ${key} out` });
  }
  if (until === 'invalid') {
    faults.push({
      path: ['report_only_until'],
      message: `${JSON.stringify(mfa.report_only_until)} is not a date`,
      cure: 'write a day such as 2027-01-31 (from 00:00 UTC), or a moment with its zone such as 2027-01-31T08:00:00+01:00',
    });
  }
  return faults;
}

function nothingToAccept(policy: AssurancePolicy): PolicyFault {
  const keys = {
    any: 'aal2_amr_values, aal2_acr_values or aal2_claims',
    amr: 'aal2_amr_values',
    acr: 'aal2_acr_values or aal2_claims',
    both: 'aal2_amr_values, and aal2_acr_values or aal2_claims,',
  }[policy.accept];
  const message = `accept: ${policy.accept} finds nothing to accept: under enforce nobody could ever sign in`;
  return { path: ['accept'], message, cure: `give ${keys} a value, or choose another accept` };
}

/** Outside `enforce` nothing is essential, so that nobody is locked out at the IdP while the rule is only rehearsed. */
function relaxEssential(claims: RequestedClaims): RequestedClaims {
  const relax = (wish: null | Readonly<Record<string, unknown>>) =>
    wish !== null && Object.hasOwn(wish, 'essential') ? { ...wish, essential: false } : wish;
  return Object.fromEntries(
    Object.entries(claims).map(([section, wishes]) => [
      section,
      Object.fromEntries(Object.entries(wishes).map(([claim, wish]) => [claim, relax(wish)])),
    ]),
  );
}

/**
 * The `claims` parameter of a sign-in that begins now: `essential` holds from the day on which a rehearsal ends. (Who it is
 * that signs in, and so what `enforce_for` makes of it, nobody knows yet: until that day nothing is essential.)
 *
 * @param nowMs milliseconds since the epoch
 */
export function claimsToRequest(policy: AssurancePolicy, nowMs: number): RequestedClaims {
  const ended =
    policy.mode === 'report_only' &&
    policy.reportOnlyUntilMs !== undefined &&
    !(nowMs < policy.reportOnlyUntilMs);
  return ended ? (policy.essentialClaims ?? policy.requestedClaims) : policy.requestedClaims;
}

/** A day (from 00:00 UTC), or a moment with its zone; a moment without one would mean another thing on another machine. */
const momentPattern =
  /^(\d{4})-(\d{2})-(\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

function parseMoment(text: string | undefined): number | 'invalid' | undefined {
  if (text === undefined) return undefined;
  const match = momentPattern.exec(text);
  if (match === null) return 'invalid';
  // Date.parse lets 30 February roll over into March; a day that does not exist is a slip to be told.
  const [, year, month, day] = match.map(Number);
  const date = new Date(Date.UTC(year ?? 0, (month ?? 0) - 1, day));
  const exists = date.getUTCMonth() + 1 === month && date.getUTCDate() === day;
  const moment = Date.parse(text);
  return exists && !Number.isNaN(moment) ? moment : 'invalid';
}
