import type { SessionConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Randomness } from '../kernel/randomness.ts';
import { createForeignSessions, type ForeignSessions } from '../reload/foreign-sessions.ts';
import { createDirectory } from '../session/directory.ts';
import { createEndings } from '../session/endings.ts';
import type { Sealing } from '../session/sealing.ts';
import { createSessions } from '../session/sessions.ts';
import type { Sessions, SessionRewriting, SessionWatch, Store } from '../session/types.ts';
import type { Telling } from './telling.ts';

/** How many opened sessions are kept in memory, over all processes on the port; the least recently used go first. */
const maxCachedSessions = 100_000;

/** What {@link keepSessions} is made of. */
export interface SessionKeepingDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly telling: Pick<Telling, 'audit' | 'meter' | 'logOwnFault'>;
  /** The limits in force. */
  readonly limits: () => SessionConfig;
  /** How many processes share the port, and the sessions with it. */
  readonly workers: number;
}

/** The sessions of one process. */
export interface SessionKeeping {
  /** As the store has them: for what closes and rewrites them. */
  readonly opened: Sessions & SessionWatch & SessionRewriting;
  /** The same for requests; those of sources that are gone end. */
  readonly foreign: ForeignSessions;
}

/** Keeps sessions over a store, by the limits in force, and puts on record which of them end by themselves. */
export function keepSessions(deps: SessionKeepingDeps): SessionKeeping {
  const { store, sealing, clock, randomness, limits } = deps;
  const { audit, meter, logOwnFault } = deps.telling;
  const opened = createSessions({
    store,
    sealing,
    clock,
    randomness,
    meter,
    get idleTimeoutMs() {
      return limits().idle_timeout;
    },
    get absoluteTimeoutMs() {
      return limits().absolute_timeout;
    },
    get cacheMs() {
      return limits().cache;
    },
    get outageGraceMs() {
      return limits().outage_grace;
    },
    maxCached: Math.ceil(maxCachedSessions / deps.workers),
    onPushedOut: ({ card }) => {
      audit.write({
        action: 'session.ended',
        requestId: undefined,
        clientIp: undefined,
        user: card === undefined ? undefined : { id: card.subject, email: card.email, name: card.username },
        authSource: card?.source,
        tenant: undefined,
        fields: { why: 'replaced', session_id: card?.id ?? 'unknown' },
      });
      meter.sessionEnded('replaced');
    },
  });
  const directory = createDirectory({ store, sealing });
  return {
    opened,
    foreign: createForeignSessions({
      ...{ sessions: opened, directory, audit, meter, logFault: logOwnFault },
      endings: createEndings({ store, directory, clock }),
    }),
  };
}
