import type { AuditSink } from '../audit/types.ts';
import type { SourceConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { isFault } from '../kernel/error.ts';
import { randomToken, type Randomness } from '../kernel/randomness.ts';
import { durableKeyPurpose } from '../session/durable-key.ts';
import type { Sealing } from '../session/sealing.ts';
import type { Store } from '../session/types.ts';
import { entriesOf, keptHistory, readRecord, recordKey, withChanges } from './mfa-record.ts';
import type { Change, SourceEntry, TrailRecord } from './mfa-record.ts';

/*
 * Each change of a source's `mfa` makes one audit event, however many replicas apply it (SPEC section 9). What was applied last
 * stands in the store, sealed, with a number that grows; a replica that has something new to tell claims the next number, and
 * only the one that gets it writes record and event. A short history lets a replica that applies the same change later, or the
 * same change there and back again, know that it has been told.
 */

/** A claim that was not followed by its record in this time is another's to make. */
const claimLifeMs = 10_000;
/** Replicas get the same file within this time of each other (a ConfigMap reaches its last node after a minute or two). */
const sameChangeMs = 180_000;

/** Who changed the configuration, and where that is known from. */
export interface Author {
  readonly actor: string;
  readonly actorFrom: 'command' | 'change' | 'file_owner' | 'unknown';
  /** `change.ref`. */
  readonly ref: string | undefined;
}

/** Tells the audit trail of changed `mfa` settings. */
export interface MfaTrail {
  /**
   * A configuration is in force now.
   * @param before the one before in this process; undefined at start: then it is compared with what was applied last by anyone
   */
  applied(
    sources: readonly SourceConfig[],
    before: readonly SourceConfig[] | undefined,
    author: Author,
  ): void;
  /** The secrets have changed: brings what is kept under the first of them. */
  reseal(author: Author): void;
  /** Resolves when nothing is left to tell, or while the store is down. */
  settled(): Promise<void>;
  stop(): void;
}

/** What {@link createMfaTrail} is made of. */
export interface MfaTrailDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly audit: AuditSink;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly logFault: (error: unknown) => void;
  /** Without a lasting store nobody can know what was applied before a start: nothing is told of it. */
  readonly lasting: boolean;
  /** Milliseconds until a store that was down is asked again. */
  readonly retryMs?: number;
}

/** Something applied, with which of its sources are worth a look. */
interface Work {
  readonly atMs: number;
  readonly author: Author;
  readonly atStart: boolean;
  /** Undefined: the source is gone. */
  readonly wanted: ReadonlyMap<string, SourceEntry | undefined>;
  /** Sources not named in `wanted` went before this process began. */
  readonly whole: boolean;
  /** Written, but nobody has heard yet whether. */
  unsure?: { readonly token: string; readonly changes: readonly Change[] } | undefined;
}

/** A source, and the number up to which its changes are known. */
type Known = readonly [source: string, seq: number];

/** Creates the trail over a store. */
export function createMfaTrail(deps: MfaTrailDeps): MfaTrail {
  const { store, sealing, audit, clock, randomness, retryMs = 3000 } = deps;
  const replica = randomToken(randomness, 96);
  /** By source: up to this number, what was told is known here, told by this replica or the same as something applied here. */
  const knownUpTo = new Map<string, number>();
  const queue: Work[] = [];
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  function run(): void {
    if (stopped) return;
    running ??= drain().finally(() => (running = undefined));
  }

  async function drain(): Promise<void> {
    for (let work = queue[0]; work !== undefined && !stopped; work = queue[0]) {
      try {
        if (!(await attempt(work))) {
          again(250);
          return;
        }
        queue.shift();
      } catch (error) {
        if (isFault(error, 'store_unavailable')) {
          again(retryMs);
          return;
        }
        deps.logFault(error);
        queue.shift();
      }
    }
  }

  function again(delayMs: number): void {
    clearTimeout(timer);
    timer = setTimeout(run, delayMs);
    timer.unref();
  }

  /** False: another replica is at it, so later. */
  async function attempt(work: Work): Promise<boolean> {
    const stored = await store.get(recordKey);
    const opened =
      stored === undefined
        ? undefined
        : sealing.openSharedDetailed(durableKeyPurpose, stored.sealed, recordKey);
    const record = opened === undefined ? undefined : readRecord(opened.plaintext);
    if (stored !== undefined && record === undefined) {
      deps.logWarning(
        'what was applied last of mfa can not be read: every source is told of as if it were new',
        {},
      );
    }
    if (work.unsure !== undefined) {
      const { token, changes } = work.unsure;
      work.unsure = undefined;
      if (record?.token === token) {
        learn(changes.map(({ source }) => [source, record.seq]));
        tell(changes, work.author);
        return true;
      }
    }

    const { changes, told } = findChanges(work, record);
    const silent = work.atStart && !deps.lasting;
    const stale = opened?.sealedByFirst === false;
    if (changes.length === 0 && !stale) {
      learn(told);
      return true;
    }

    const seq = (record?.seq ?? 0) + 1;
    const token = randomToken(randomness, 96);
    const claim = `mfa-claim:${seq}:${record?.token ?? 'first'}`;
    if (!(await store.putIfAbsent(claim, Buffer.from(token), claimLifeMs))) return false;
    const next: TrailRecord = {
      version: 1,
      seq,
      token,
      sources: withChanges(record?.sources ?? {}, changes),
      history: [
        ...(record?.history ?? []),
        ...changes.map(({ source, next: entry }) => ({
          seq,
          source,
          hash: entry?.hash ?? 'none',
          atMs: work.atMs,
          by: replica,
        })),
      ].slice(-keptHistory),
    };
    try {
      await store.put(
        recordKey,
        sealing.sealShared(durableKeyPurpose, Buffer.from(JSON.stringify(next)), recordKey),
        Infinity,
      );
    } catch (error) {
      work.unsure = { token, changes };
      throw error;
    }
    learn(told);
    learn(changes.map(({ source }) => [source, seq]));
    if (!silent) tell(changes, work.author);
    return true;
  }

  function findChanges(
    work: Work,
    record: TrailRecord | undefined,
  ): { readonly changes: readonly Change[]; readonly told: readonly Known[] } {
    const known = record?.sources ?? {};
    const wanted = new Map(work.wanted);
    if (work.whole) for (const id of Object.keys(known)) if (!wanted.has(id)) wanted.set(id, undefined);
    const changes: Change[] = [];
    const told: Known[] = [];
    const last = record?.seq ?? 0;
    for (const [source, next] of wanted) {
      const previous = Object.hasOwn(known, source) ? known[source] : undefined;
      if (previous?.hash === next?.hash) {
        told.push([source, last]);
        continue;
      }
      // A start compares with what holds now, not with what held a minute ago.
      const toldAs = work.atStart ? undefined : findTold(work, record, source, next?.hash ?? 'none');
      if (toldAs === undefined) changes.push({ source, previous, next });
      else told.push([source, toldAs]);
    }
    return { changes, told };
  }

  /** Under what number another replica has told of this very change already, and of the way back since. */
  function findTold(
    work: Work,
    record: TrailRecord | undefined,
    source: string,
    hash: string,
  ): number | undefined {
    return record?.history.find(
      (each) =>
        each.source === source &&
        each.hash === hash &&
        each.by !== replica &&
        each.seq > (knownUpTo.get(source) ?? 0) &&
        Math.abs(each.atMs - work.atMs) <= sameChangeMs,
    )?.seq;
  }

  function learn(all: readonly Known[]): void {
    for (const [source, seq] of all) knownUpTo.set(source, Math.max(seq, knownUpTo.get(source) ?? 0));
  }

  function tell(changes: readonly Change[], { actor, actorFrom, ref }: Author): void {
    for (const { source, previous, next } of changes) {
      audit.write({
        action: 'sso.auth-source.oidc-mfa-config.update',
        requestId: undefined,
        clientIp: undefined,
        user: undefined,
        authSource: source,
        tenant: next?.tenant ?? previous?.tenant,
        fields: {
          previous: previous?.mfa ?? null,
          next: next?.mfa ?? null,
          actor,
          actor_from: actorFrom,
          ref: ref ?? null,
        },
      });
    }
  }

  return {
    applied(sources, before, author) {
      const now = entriesOf(sources);
      const then = before === undefined ? undefined : entriesOf(before);
      const wanted = new Map<string, SourceEntry | undefined>();
      for (const [id, entry] of now) if (then?.get(id)?.hash !== entry.hash) wanted.set(id, entry);
      for (const id of then?.keys() ?? []) if (!now.has(id)) wanted.set(id, undefined);
      const atStart = before === undefined;
      if (!atStart && wanted.size === 0) return;
      queue.push({ atMs: clock.nowMs(), author, atStart, wanted, whole: atStart });
      run();
    },
    async settled() {
      while (running !== undefined) await running;
    },
    reseal(author) {
      const wanted = new Map<string, undefined>();
      queue.push({ atMs: clock.nowMs(), author, atStart: false, wanted, whole: false });
      run();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
