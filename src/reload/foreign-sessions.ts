import { setImmediate } from 'node:timers/promises';
import type { AuditSink, AuditUser } from '../audit/types.ts';
import type { SourceConfig } from '../config/schema.ts';
import { isFault } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import type { SessionCard } from '../session/card.ts';
import type { Directory } from '../session/directory.ts';
import type { EndedSession, Endings } from '../session/endings.ts';
import type { OpenedSession, Sessions } from '../session/types.ts';

/** Replicas' clocks may differ by so much. Milliseconds. */
const skewMs = 60_000;
/** Sessions that are looked at, or ended, at once. */
const batchSize = 100;

/** Sessions whose source was removed, or is another issuer or client now. */
export interface ForeignSessions {
  /** The same sessions, with their cookie values remembered: ending one needs its own. */
  readonly sessions: Sessions;
  /** A session opens nothing: ends it, if it is to be ended. */
  seen(session: OpenedSession): void;
  /**
   * These sources are in force from now on; the sessions of those that were until now, and are no more, end behind it.
   * @param sinceMs milliseconds since the epoch
   */
  inForce(sources: readonly SourceConfig[], sinceMs: number): void;
  /** Looks no further for sessions to end. */
  close(): Promise<void>;
}

/** What {@link createForeignSessions} is made of. */
export interface ForeignSessionsDeps {
  readonly sessions: Sessions;
  readonly directory: Pick<Directory, 'cards'>;
  readonly endings: Endings;
  readonly audit: AuditSink;
  readonly meter: Pick<Meter, 'sessionEnded'>;
  readonly logFault: (error: unknown) => void;
  /** Milliseconds until a store that was down is asked again. */
  readonly retryMs?: number;
}

/**
 * Ends sessions of sources that are gone (SPEC section 1). One that this process does not know may as well be of a source that
 * the next version of the file brings, and that another replica has applied already: so it is ended only if this process had
 * that source itself, or if the session is older than the configuration in force. Those that nobody uses meanwhile are looked for:
 * else they would be there again with their source.
 */
export function createForeignSessions(deps: ForeignSessionsDeps): ForeignSessions {
  const cookieValues = new WeakMap<OpenedSession, string>();
  const dealtWith = new WeakSet<OpenedSession>();
  const former = new Set<string>();
  let current: readonly string[] = [];
  let currentSinceMs = 0;
  let isSweepDue = false;
  let sweeping: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function end(cookieValue: string): Promise<void> {
    const ended = await deps.sessions.end(cookieValue);
    // Of several replicas, one has ended it.
    if (ended === undefined) return;
    const { identity, source, id } = ended;
    tell({ id: identity.subject, email: identity.email, name: identity.username }, source, id);
  }

  function tell(user: AuditUser | undefined, source: string | undefined, id: string): void {
    deps.audit.write({
      action: 'session.ended',
      requestId: undefined,
      clientIp: undefined,
      user,
      authSource: source,
      tenant: undefined,
      fields: { why: 'source_removed', session_id: id },
    });
    deps.meter.sessionEnded('source_removed');
  }

  function tellEnded({ card }: EndedSession): void {
    const user = card && { id: card.subject, email: card.email, name: card.username };
    tell(user, card?.source, card?.id ?? 'unknown');
  }

  const isOfFormer = (card: SessionCard | undefined): boolean =>
    card !== undefined && former.has(keyOf(card.source, card.issuer, card.clientId));

  async function sweep(): Promise<void> {
    const batch: string[] = [];
    let looked = 0;
    const endBatch = (): Promise<void> => deps.endings.end(batch.splice(0), tellEnded, isOfFormer);
    for await (const { key, card } of deps.directory.cards()) {
      if (closed) return;
      if (isOfFormer(card)) batch.push(key);
      if (batch.length === batchSize) await endBatch();
      // A store in memory answers at once: without a turn for others, no request and no line of the audit trail would get through.
      looked += 1;
      if (looked % batchSize === 0) await setImmediate();
    }
    await endBatch();
  }

  async function sweepWhileDue(): Promise<void> {
    try {
      while (isSweepDue && !closed) {
        isSweepDue = false;
        await sweep();
      }
    } catch (error) {
      if (!isFault(error, 'store_unavailable')) {
        deps.logFault(error);
      } else if (!closed) {
        isSweepDue = true;
        timer = setTimeout(startSweep, deps.retryMs ?? 3000);
        timer.unref();
      }
    }
  }

  function startSweep(): void {
    clearTimeout(timer);
    sweeping ??= sweepWhileDue().finally(() => (sweeping = undefined));
  }

  return {
    sessions: {
      ...deps.sessions,
      async open(cookieValue) {
        const session = await deps.sessions.open(cookieValue);
        if (session !== undefined) cookieValues.set(session, cookieValue);
        return session;
      },
      async create(...given) {
        const created = await deps.sessions.create(...given);
        cookieValues.set(created.session, created.cookieValue);
        return created;
      },
    },
    seen(session) {
      const { source, issuer, clientId, issuedAt } = session.record;
      const isRemoved = former.has(keyOf(source, issuer, clientId));
      if (!isRemoved && issuedAt * 1000 >= currentSinceMs - skewMs) return;
      const cookieValue = cookieValues.get(session);
      if (cookieValue === undefined || dealtWith.has(session)) return;
      dealtWith.add(session);
      end(cookieValue).catch((error: unknown) => {
        // It opens nothing meanwhile, and is ended when it is seen again.
        dealtWith.delete(session);
        if (!isFault(error, 'store_unavailable')) deps.logFault(error);
      });
    },
    inForce(sources, sinceMs) {
      const before = current;
      for (const key of before) former.add(key);
      current = sources.map((source) => keyOf(source.id, source.issuer, source.client_id));
      for (const key of current) former.delete(key);
      currentSinceMs = sinceMs;
      if (before.every((key) => current.includes(key))) return;
      isSweepDue = true;
      startSweep();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await sweeping;
    },
  };
}

function keyOf(source: string, issuer: string, clientId: string): string {
  return JSON.stringify([source, issuer, clientId]);
}
