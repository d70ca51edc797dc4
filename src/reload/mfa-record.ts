import type { SourceConfig } from '../config/schema.ts';
import { durablePrefix } from '../session/durable-key.ts';
import { hashMfa, snapshotMfa, type MfaSnapshot } from './mfa-settings.ts';

/** Where the record stands in the store. */
export const recordKey = `${durablePrefix}mfa-config`;
/** How many changes the history keeps. */
export const keptHistory = 50;

/** A source's `mfa`, as it was applied last. */
export interface SourceEntry {
  readonly hash: string;
  readonly mfa: MfaSnapshot;
  readonly tenant?: string | undefined;
}

/** A change that was told. */
export interface HistoryEntry {
  readonly seq: number;
  readonly source: string;
  /** `none`: the source was removed. */
  readonly hash: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** The replica. */
  readonly by: string;
}

/** What was applied last by any replica; sealed in the store. */
export interface TrailRecord {
  readonly version: 1;
  readonly seq: number;
  /** Names the writing of this version: tells a writer whose answer was lost that it was written after all. */
  readonly token: string;
  readonly sources: Readonly<Record<string, SourceEntry>>;
  readonly history: readonly HistoryEntry[];
}

/** Something to tell. Undefined: there was, or is, no such source. */
export interface Change {
  readonly source: string;
  readonly previous: SourceEntry | undefined;
  readonly next: SourceEntry | undefined;
}

/** The entries of a configuration's sources, by their id. */
export function entriesOf(sources: readonly SourceConfig[]): ReadonlyMap<string, SourceEntry> {
  return new Map(
    sources.map((source) => {
      const mfa = snapshotMfa(source);
      return [source.id, { hash: hashMfa(mfa), mfa, tenant: source.tenant }];
    }),
  );
}

/** The sources with the changes made. */
export function withChanges(
  sources: Readonly<Record<string, SourceEntry>>,
  changes: readonly Change[],
): Readonly<Record<string, SourceEntry>> {
  const merged = new Map(Object.entries(sources));
  for (const { source, next } of changes) {
    if (next === undefined) merged.delete(source);
    else merged.set(source, next);
  }
  return Object.fromEntries(merged);
}

/** Reads a record. Sealed by us, so it parses; only another version of us may have written another shape: undefined. */
export function readRecord(bytes: Buffer): TrailRecord | undefined {
  const record = JSON.parse(bytes.toString('utf8')) as Partial<TrailRecord>;
  return record.version === 1 ? (record as TrailRecord) : undefined;
}
