import type { AuditEvent, AuditUser } from '../audit/types.ts';
import type { Clock } from '../kernel/clock.ts';
import { isFault } from '../kernel/error.ts';
import type { Sealing } from '../session/sealing.ts';
import type { Store } from '../session/types.ts';
import type { SignInDeps } from './types.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** For how many days sign-ins are counted and refusals kept. */
export const ledgerDays = 14;

/** How many refusals of each source are kept. */
export const ledgerRefusals = 50;

/** How long the store keeps what nobody adds to any more: the days, and the one that had begun before them. */
const lifeMs = (ledgerDays + 1) * dayMs;

/** Sign-ins of one hour with the same verdict. */
export interface HourlyCount {
  /** When the hour begins, in milliseconds since the epoch. */
  readonly hourMs: number;
  /** `verified`, `would_reject`, `none`, `attested`, `rejected`; `failed` for what was refused for another reason than MFA. */
  readonly outcome: string;
  /** A reason code, or `none`. */
  readonly reason: string;
  readonly strength: string;
  readonly count: number;
}

/** A sign-in that was refused because MFA was not asserted, or would have been. */
export interface KeptRefusal {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  readonly outcome: 'rejected' | 'would_reject';
  readonly user: AuditUser;
  readonly reason: string;
  /** Claims exactly as received, but bounded. */
  readonly observed: Readonly<Record<string, unknown>>;
  readonly required: Readonly<Record<string, unknown>>;
  readonly hint: string;
  readonly requestId: string | undefined;
}

/** What the ledger knows of one source. */
export interface SourceLedger {
  /** Oldest first. */
  readonly counts: readonly HourlyCount[];
  /** Newest first. */
  readonly refusals: readonly KeptRefusal[];
}

/**
 * Verdicts by hour and the latest refusals of each source, in the store, for all replicas: what the status page shows. Nothing in
 * it can be read there: keys are HMACs, everything else but the bare numbers is sealed. It is no audit trail: what cannot be
 * stored is lost.
 */
export interface Ledger {
  /** The same ports; what is counted and audited through them is written down here as well. */
  watch<D extends Pick<SignInDeps, 'audit' | 'meter'>>(deps: D): D;
  /** @throws store_unavailable */
  read(sourceId: string): Promise<SourceLedger>;
}

interface LedgerDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly clock: Clock;
  readonly logFault: SignInDeps['logFault'];
}

interface Label {
  readonly hourMs: number;
  readonly outcome: string;
  readonly reason: string;
  readonly strength: string;
}

/** The ledger in a store. */
export function createLedger({ store, sealing, clock, logFault }: LedgerDeps): Ledger {
  /** One under each secret, the first secret's first: write there, look everywhere. */
  const keysOf = (sourceId: string, part: string): readonly [string, ...string[]] => {
    const [first, ...others] = sealing.indexKeys(purpose, JSON.stringify([sourceId, part]));
    return [`${purpose}:${first}`, ...others.map((key) => `${purpose}:${key}`)];
  };
  const dayOf = (ms: number): string => `day ${Math.floor(ms / dayMs)}`;

  /** A sign-in never waits for the ledger, and never fails for it. */
  function inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!isFault(error, 'store_unavailable')) logFault(error, undefined);
    });
  }

  function count(sourceId: string, verdict: Omit<Label, 'hourMs'>): void {
    const nowMs = clock.nowMs();
    const label: Label = { hourMs: Math.floor(nowMs / hourMs) * hourMs, ...verdict };
    const [key] = keysOf(sourceId, dayOf(nowMs));
    const text = JSON.stringify(label);
    const [field] = sealing.indexKeys(`${purpose}-label`, `${key} ${text}`);
    const sealed = sealing.sealShared(purpose, Buffer.from(text), `${key} ${field}`);
    inBackground(store.count(key, field, sealed, lifeMs));
  }

  function keep(sourceId: string, refusal: KeptRefusal): void {
    const [key] = keysOf(sourceId, 'refusals');
    const sealed = sealing.sealShared(purpose, Buffer.from(JSON.stringify(refusal)), key);
    inBackground(store.prepend(key, sealed, ledgerRefusals, lifeMs));
  }

  async function readDay(sourceId: string, day: string): Promise<HourlyCount[]> {
    const found: HourlyCount[] = [];
    for (const key of keysOf(sourceId, day)) {
      for (const { field, label, count } of await store.counts(key)) {
        const text = sealing.openShared(purpose, label, `${key} ${field}`)?.toString('utf8');
        // Sealed by us, so it parses; what does not open was sealed by a secret that is gone.
        if (text !== undefined) found.push({ ...(JSON.parse(text) as Label), count });
      }
    }
    return found;
  }

  async function readRefusals(sourceId: string, sinceMs: number): Promise<KeptRefusal[]> {
    const found: KeptRefusal[] = [];
    for (const key of keysOf(sourceId, 'refusals')) {
      for (const sealed of await store.list(key)) {
        const text = sealing.openShared(purpose, sealed, key)?.toString('utf8');
        if (text !== undefined) found.push(JSON.parse(text) as KeptRefusal);
      }
    }
    return found
      .filter(({ atMs }) => atMs >= sinceMs)
      .sort((a, b) => b.atMs - a.atMs)
      .slice(0, ledgerRefusals);
  }

  return {
    watch(deps) {
      const { audit, meter } = deps;
      return {
        ...deps,
        audit: {
          write(event: AuditEvent) {
            audit.write(event);
            const refusal = refusalIn(event, clock.nowMs());
            if (refusal !== undefined && event.authSource !== undefined) keep(event.authSource, refusal);
          },
        },
        meter: {
          ...meter,
          mfaVerdict(verdict) {
            meter.mfaVerdict(verdict);
            const { source, outcome, reason, strength } = verdict;
            count(source, { outcome, reason, strength });
          },
          signIn(source, result) {
            meter.signIn(source, result);
            // The others have a verdict, and are counted by it.
            if (result === 'failed') count(source, { outcome: 'failed', reason: 'none', strength: 'none' });
          },
        },
      };
    },
    async read(sourceId) {
      const sinceMs = firstHour(clock.nowMs());
      const days = Array.from({ length: ledgerDays + 1 }, (_, index) => dayOf(sinceMs + index * dayMs));
      const [refusals, ...counts] = await Promise.all([
        readRefusals(sourceId, sinceMs),
        ...days.map((day) => readDay(sourceId, day)),
      ]);
      return { counts: merge(counts.flat(), sinceMs), refusals };
    },
  };
}

/** When the first hour begins that is shown: the days up to and with the hour that runs. */
export function firstHour(nowMs: number): number {
  return (Math.floor(nowMs / hourMs) + 1) * hourMs - ledgerDays * dayMs;
}

const purpose = 'ledger';

/** The same verdict of the same hour may have been counted under two secrets. */
function merge(counts: readonly HourlyCount[], sinceMs: number): readonly HourlyCount[] {
  const merged = new Map<string, HourlyCount>();
  for (const each of counts) {
    if (each.hourMs < sinceMs) continue;
    const key = JSON.stringify([each.hourMs, each.outcome, each.reason, each.strength]);
    merged.set(key, { ...each, count: each.count + (merged.get(key)?.count ?? 0) });
  }
  return [...merged.values()].sort((a, b) => a.hourMs - b.hourMs);
}

function refusalIn(event: AuditEvent, nowMs: number): KeptRefusal | undefined {
  const outcome = outcomes.get(event.action);
  if (outcome === undefined) return undefined;
  const { reason, observed, required, hint } = event.fields;
  return {
    atMs: nowMs,
    outcome,
    user: event.user ?? {},
    reason: String(reason),
    observed: boundMembers(observed as Readonly<Record<string, unknown>>),
    required: required as Readonly<Record<string, unknown>>,
    hint: String(hint),
    requestId: event.requestId,
  };
}

const outcomes: ReadonlyMap<string, KeptRefusal['outcome']> = new Map([
  ['tenant.auth_policy.oidc_mfa.rejected', 'rejected'],
  ['tenant.auth_policy.oidc_mfa.would_reject', 'would_reject'],
]);

/** Longest claim that is kept or shown whole, in characters of JSON. */
const mostClaimLength = 2000;

/** Claims as received; one that is too long for any honest reason is cut, as text: an IdP wrote it, and the store is ours. */
export function boundMembers(claims: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(claims).map(([name, value]) => {
      const text = JSON.stringify(value);
      return [name, text.length > mostClaimLength ? `${text.slice(0, mostClaimLength)}…` : value];
    }),
  );
}
