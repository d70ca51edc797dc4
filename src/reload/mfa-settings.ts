import { createHash } from 'node:crypto';
import { resolvePolicy } from '../assurance/policy.ts';
import type { SourceConfig } from '../config/schema.ts';

/** A source's `mfa` as the audit trail shows it: preset filled in, keys as in the file. */
export type MfaSnapshot = Readonly<Record<string, unknown>>;

/** What `mfa` comes to: what is asked for, what is accepted, and what follows. Keys that are unset are left out. */
export function snapshotMfa(source: SourceConfig): MfaSnapshot {
  const { mfa } = source;
  const { policy } = resolvePolicy(mfa, source);
  const { acrValues, aal2AcrValues, aal2AmrValues, aal2Claims, accept, maxAuthAgeSeconds } = policy;
  const snapshot: Record<string, unknown> = {
    acr_values: acrValues,
    require_oidc_amr_mfa: mfa.mode === 'enforce',
    mode: mfa.mode,
    report_only_until: mfa.report_only_until,
    enforce_for: mfa.enforce_for,
    preset: mfa.preset,
    // As sent: `essential` is false outside enforce.
    requested_claims: policy.requestedClaims,
    aal2_acr_values: aal2AcrValues,
    aal2_amr_values: aal2AmrValues,
    aal2_claims: aal2Claims,
    accept,
    max_auth_age: maxAuthAgeSeconds === undefined ? undefined : `${maxAuthAgeSeconds}s`,
    // Unusual, and so shown only where it is so.
    allow_unsupported_issuer: mfa.allow_unsupported_issuer ? true : undefined,
  };
  return Object.fromEntries(Object.entries(snapshot).filter(([, value]) => value !== undefined));
}

/** A digest of a snapshot, by which replicas know that they speak of the same. */
export function hashMfa(snapshot: MfaSnapshot | undefined): string {
  if (snapshot === undefined) return 'none';
  return createHash('sha256').update(canonical(snapshot)).digest('base64url').slice(0, 22);
}

/** JSON with its keys in order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(',')}}`;
}
