import { findModeInForce } from '../assurance/outcome.ts';
import { describeRequirement } from '../assurance/requirement.ts';
import type { AssurancePolicy } from '../assurance/types.ts';
import type { SourceConfig } from '../config/schema.ts';
import type { StatusReason } from '../pages/status-page.ts';
import type { VerdictSeries } from '../pages/verdict-chart.ts';
import type { HourlyCount, SourceLedger } from '../signin/ledger.ts';

/** What is known of a source without asking a running process. */
export interface SourceStatus {
  readonly config: SourceConfig;
  readonly policy: AssurancePolicy;
  readonly ledger: SourceLedger | undefined;
}

/** A source in the JSON of status, on its endpoint and in the terminal; counts by the hour, refusals newest first. */
export function describeSource(
  { config, policy, ledger }: SourceStatus,
  nowMs: number,
): Readonly<Record<string, unknown>> {
  return {
    id: config.id,
    name: config.display_name ?? config.id,
    issuer: config.issuer,
    tenant: config.tenant,
    policy: {
      preset: policy.preset,
      mode: policy.mode,
      mode_now: modeNow(policy, nowMs),
      report_only_until:
        policy.reportOnlyUntilMs === undefined ? undefined : isoTime(policy.reportOnlyUntilMs),
      enforce_for: policy.enforceFor,
      required: describeRequirement(policy),
    },
    verdicts: ledger?.counts.map(({ hourMs: hour, ...rest }) => ({ hour: isoTime(hour), ...rest })),
    refusals: ledger?.refusals.map(({ atMs, requestId, ...rest }) => ({
      at: isoTime(atMs),
      ...rest,
      request_id: requestId,
    })),
  };
}

/** The mode that holds now for whom nothing else names. */
function modeNow(policy: AssurancePolicy, nowMs: number): string {
  return findModeInForce(
    { ...policy, enforceFor: undefined },
    { verifiedEmail: undefined, groups: [] },
    nowMs,
  ).mode;
}

/** `preset entra_c2, mode report_only, until …`. */
export function describePolicy(policy: AssurancePolicy, nowMs: number): string {
  const { preset, mode, reportOnlyUntilMs, enforceFor } = policy;
  const parts = [`preset ${preset}`, `mode ${mode}`];
  if (reportOnlyUntilMs !== undefined) {
    const ended = modeNow(policy, nowMs) === 'enforce';
    parts.push(`${ended ? 'enforced since' : 'until'} ${readable(reportOnlyUntilMs)}`);
  }
  if (enforceFor !== undefined) {
    const { groups, emails } = enforceFor;
    const named = [
      ...(groups.length > 0 ? [`groups ${groups.join(', ')}`] : []),
      ...(emails.length > 0 ? [`emails ${emails.join(', ')}`] : []),
    ];
    parts.push(`enforced for ${named.join(' and ')}`);
  }
  return parts.join(', ');
}

/** As which of the series of the chart a verdict counts. */
export function seriesOf({ outcome, strength }: HourlyCount): VerdictSeries {
  switch (outcome) {
    case 'verified':
      return strength === 'weak' ? 'weak' : 'strict';
    case 'would_reject':
      return 'would_reject';
    case 'rejected':
      return 'rejected';
    case 'none':
    case 'attested':
      return 'unverified';
    case 'failed':
    default:
      return 'failed';
  }
}

/** Who was or would have been refused, by reason; the most first. */
export function reasonsOf(counts: readonly HourlyCount[]): readonly StatusReason[] {
  const sums = new Map<string, StatusReason>();
  for (const { reason, outcome, count } of counts) {
    if (outcome !== 'rejected' && outcome !== 'would_reject') continue;
    const key = `${outcome} ${reason}`;
    sums.set(key, { reason, outcome, count: count + (sums.get(key)?.count ?? 0) });
  }
  return [...sums.values()].sort((a, b) => b.count - a.count);
}

/** RFC 3339. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** `2026-11-22 10:30`, in UTC, for a reader. */
export function readable(ms: number): string {
  return isoTime(ms).slice(0, 16).replace('T', ' ');
}
