import type { AuditSink } from '../audit/types.ts';
import type { SourceConfig } from '../config/schema.ts';
import { isFault } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import type { OpenedSession, Sessions } from '../session/types.ts';

/** Replicas' clocks may differ by so much. Milliseconds. */
const skewMs = 60_000;

/** Sessions whose source was removed, or is another issuer or client now. */
export interface ForeignSessions {
  /** The same sessions, with their cookie values remembered: ending one needs its own. */
  readonly sessions: Sessions;
  /** A session opens nothing: ends it, if it is to be ended. */
  seen(session: OpenedSession): void;
  /** These sources are in force from now on. @param sinceMs milliseconds since the epoch */
  inForce(sources: readonly SourceConfig[], sinceMs: number): void;
}

/** What {@link createForeignSessions} is made of. */
export interface ForeignSessionsDeps {
  readonly sessions: Sessions;
  readonly audit: AuditSink;
  readonly meter: Pick<Meter, 'sessionEnded'>;
  readonly logFault: (error: unknown) => void;
}

/**
 * Ends sessions of sources that are gone (SPEC section 1). One that this process does not know may as well be of a source that
 * the next version of the file brings, and that another replica has applied already: so it is ended only if this process had
 * that source itself, or if the session is older than the configuration in force.
 */
export function createForeignSessions(deps: ForeignSessionsDeps): ForeignSessions {
  const cookieValues = new WeakMap<OpenedSession, string>();
  const dealtWith = new WeakSet<OpenedSession>();
  const former = new Set<string>();
  let current: readonly string[] = [];
  let currentSinceMs = 0;

  async function end(cookieValue: string): Promise<void> {
    const ended = await deps.sessions.end(cookieValue);
    // Of several replicas, one has ended it.
    if (ended === undefined) return;
    const { identity, source, id } = ended;
    deps.audit.write({
      action: 'session.ended',
      requestId: undefined,
      clientIp: undefined,
      user: { id: identity.subject, email: identity.email, name: identity.username },
      authSource: source,
      tenant: undefined,
      fields: { why: 'source_removed', session_id: id },
    });
    deps.meter.sessionEnded('source_removed');
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
      for (const key of current) former.add(key);
      current = sources.map((source) => keyOf(source.id, source.issuer, source.client_id));
      for (const key of current) former.delete(key);
      currentSinceMs = sinceMs;
    },
  };
}

function keyOf(source: string, issuer: string, clientId: string): string {
  return JSON.stringify([source, issuer, clientId]);
}
