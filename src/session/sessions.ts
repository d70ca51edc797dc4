import { LRUCache } from 'lru-cache';
import { createForwardClock, type Clock } from '../kernel/clock.ts';
import { isFault } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import { randomToken } from '../kernel/randomness.ts';
import type { Randomness } from '../kernel/randomness.ts';
import { createDirectory, indexedOf } from './directory.ts';
import { announcementOf, createEndings, readAnnouncement } from './endings.ts';
import type { EndedSession } from './endings.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import { isCookieValue } from './sealing.ts';
import type { Sealing } from './sealing.ts';
import type {
  Judgement,
  OpenedSession,
  SessionRecord,
  Sessions,
  SessionWatch,
  Store,
  StoredRecord,
  StoreHealth,
} from './types.ts';

/** What {@link createSessions} is made of. The limits are asked for at each use: a reload may change them. */
export interface SessionsDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly meter: Meter;
  /** `session.idle_timeout`: never earlier, at most 60 s later. */
  readonly idleTimeoutMs: number;
  /** `session.absolute_timeout`: a record's own `expiresAt` may only be shorter. */
  readonly absoluteTimeoutMs: number;
  /** `session.cache`: how long memory serves a session without asking the store; 0: never. */
  readonly cacheMs: number;
  /** `session.outage_grace`: how long sessions in memory outlive an outage, counted from its beginning. */
  readonly outageGraceMs: number;
  /** How many opened sessions memory holds at most; the least recently used go first. */
  readonly maxCached: number;
  /** Told of a session that ended because its user has too many. */
  readonly onPushedOut?: (ended: EndedSession) => void;
}

/** Idle time is written at most this often a session; so a session may outlive its idle limit by this much. */
const touchEveryMs = 60_000;

/** The store's answer takes less than this; so a key that is to last to the absolute limit is seen to last to it. */
const latencyMs = 1000;

/**
 * What memory knows of an opened session. All times are milliseconds since the epoch, in the entry's own time: it began with the clock's,
 * and goes on when somebody sets that back.
 */
interface Entry {
  readonly session: OpenedSession;
  /** Its own time less the forward clock's. */
  readonly offsetMs: number;
  /** What the clock itself said when the store last answered. */
  confirmedAtClockMs: number;
  /** Tells one sealing from another without keeping its bytes. */
  readonly fingerprint: string;
  /** Until when memory may serve it without asking: `session.cache`. */
  freshUntilMs: number;
  /** From when on a use must lengthen the key's life in the store, or that would end before the idle limit. */
  touchDueAtMs: number;
  lastUsedMs: number;
}

interface Flight {
  readonly promise: Promise<OpenedSession | undefined>;
  /** Ended while it was on its way: what it found must not come back to life. */
  ended: boolean;
}

/**
 * Sessions over a store, with the opened ones in memory.
 *
 * Idle time is kept by the key's own life in the store: `idle + 60 s` at most, lengthened once it has sunk below `idle`.
 * So every use leaves the key at least `idle` to live (never early), a key is written at most once a minute, and it dies
 * at most 60 s late; this holds for any number of replicas, with nothing to agree on.
 */
export function createSessions(deps: SessionsDeps): Sessions & SessionWatch {
  const { store, sealing, clock, meter } = deps;
  const forward = createForwardClock(clock);
  const directory = createDirectory(deps);
  const endings = createEndings({ store, directory, clock });
  /** Cookie values by store key: of what is in memory, and of what is on its way there. */
  const cookieOf = new Map<string, string>();
  const memory = new LRUCache<string, Entry>({
    max: deps.maxCached,
    dispose: ({ session: { key = '' } }, cookieValue, reason) => {
      if (reason !== 'set' && !flights.has(cookieValue)) cookieOf.delete(key);
    },
  });
  const flights = new Map<string, Flight>();
  const endListeners = new Set<(keys: readonly string[]) => void>();
  const doubtListeners = new Set<() => void>();
  store.listen({
    heard(message) {
      const keys = readAnnouncement(message);
      if (keys.length > 0) drop(keys);
    },
    missed() {
      // What ended unheard must not be served: memory asks again for everything.
      for (const entry of memory.values()) entry.freshUntilMs = 0;
      for (const listener of doubtListeners) listener();
    },
  });

  /** Forgets ended sessions, and tells whoever holds something under them. */
  function drop(keys: readonly string[]): void {
    for (const key of keys) {
      const cookieValue = cookieOf.get(key);
      if (cookieValue === undefined) continue;
      const flight = flights.get(cookieValue);
      if (flight !== undefined) {
        flight.ended = true;
        flights.delete(cookieValue);
      }
      memory.delete(cookieValue);
      cookieOf.delete(key);
    }
    for (const listener of endListeners) listener(keys);
  }

  /** When a record ends for good: its own limit, or the one in force now if that is sooner. */
  function endOf(record: SessionRecord): number {
    return Math.min(record.expiresAt * 1000, record.issuedAt * 1000 + deps.absoluteTimeoutMs);
  }

  function lifeInStore(endsAtMs: number, nowMs: number): number {
    return Math.min(deps.idleTimeoutMs + touchEveryMs, endsAtMs - nowMs + latencyMs);
  }

  function touchDueAt(endsAtMs: number, storedUntilMs: number): number {
    // Within the last stretch before the absolute limit there is nothing left to lengthen.
    return storedUntilMs >= endsAtMs ? Infinity : storedUntilMs - deps.idleTimeoutMs;
  }

  function timeOf(entry: Entry): number {
    return forward.nowMs() + entry.offsetMs;
  }

  function isAlive(entry: Entry, nowMs: number): boolean {
    return nowMs < endOf(entry.session.record) && nowMs < entry.lastUsedMs + deps.idleTimeoutMs;
  }

  function isFresh(entry: Entry, nowMs: number): boolean {
    // A clock that says less than it did has been set back: nobody can say by how much more.
    const sinceMs = clock.nowMs() - entry.confirmedAtClockMs;
    return sinceMs >= 0 && sinceMs < deps.cacheMs && nowMs < entry.freshUntilMs && nowMs < entry.touchDueAtMs;
  }

  /** Whether an outage is younger than its grace; one that begins in the future, by a clock that was set back, is not. */
  function isWithinGrace({ sinceMs, sinceSteadyMs }: StoreHealth): boolean {
    const outMs = clock.nowMs() - sinceMs;
    const steadyMs = clock.steadyMs?.();
    const outSteadyMs =
      steadyMs === undefined || sinceSteadyMs === undefined ? outMs : steadyMs - sinceSteadyMs;
    return outMs >= 0 && Math.max(outMs, outSteadyMs) < deps.outageGraceMs;
  }

  /** While the store is down, staleness counts no more: the outage's own grace does. */
  function mayServe(entry: Entry, nowMs: number): boolean {
    if (!isAlive(entry, nowMs)) return false;
    const health = store.health();
    return health.up ? isFresh(entry, nowMs) : isWithinGrace(health);
  }

  function use(entry: Entry, nowMs: number): OpenedSession {
    entry.lastUsedMs = nowMs;
    return entry.session;
  }

  function peek(cookieValue: string): OpenedSession | undefined {
    const entry = memory.get(cookieValue);
    if (entry === undefined) return undefined;
    const nowMs = timeOf(entry);
    if (!mayServe(entry, nowMs)) return undefined;
    meter.sessionCache('hit');
    return use(entry, nowMs);
  }

  function open(cookieValue: string): Promise<OpenedSession | undefined> {
    // Anything may stand in the cookie: no hash, no round trip for what cannot be ours.
    if (!isCookieValue(cookieValue)) return Promise.resolve(undefined);
    const served = peek(cookieValue);
    if (served !== undefined) return Promise.resolve(served);
    meter.sessionCache(memory.has(cookieValue) ? 'stale' : 'miss');
    return (flights.get(cookieValue) ?? takeOff(cookieValue)).promise;
  }

  /** One question to the store for all who ask for the same session at once. */
  function takeOff(cookieValue: string): Flight {
    const isCurrent = (): boolean => !flight.ended;
    const promise = load(cookieValue, isCurrent).finally(() => {
      if (flights.get(cookieValue) === flight) flights.delete(cookieValue);
    });
    const flight: Flight = { promise, ended: false };
    flights.set(cookieValue, flight);
    return flight;
  }

  async function load(cookieValue: string, isCurrent: () => boolean): Promise<OpenedSession | undefined> {
    const key = sealing.sessionKey(cookieValue);
    // From now on, so that an end that is announced while the store is asked finds it.
    cookieOf.set(key, cookieValue);
    try {
      return await ask(cookieValue, key, isCurrent);
    } finally {
      if (!memory.has(cookieValue)) cookieOf.delete(key);
    }
  }

  async function ask(
    cookieValue: string,
    key: string,
    isCurrent: () => boolean,
  ): Promise<OpenedSession | undefined> {
    const askedAtMs = forward.nowMs();
    let stored: StoredRecord | undefined;
    try {
      stored = await store.get(key);
    } catch (error) {
      // The request that finds the outage is served from memory like those after it.
      const entry = memory.get(cookieValue);
      if (!isFault(error, 'store_unavailable') || entry === undefined || store.health().up) throw error;
      const nowMs = timeOf(entry);
      if (!mayServe(entry, nowMs)) throw error;
      return use(entry, nowMs);
    }
    if (!isCurrent()) return undefined;
    const entry = stored === undefined ? undefined : admit(cookieValue, key, stored);
    if (stored === undefined || entry === undefined) {
      memory.delete(cookieValue);
      return undefined;
    }
    const nowMs = timeOf(entry);
    if (nowMs >= endOf(entry.session.record)) {
      memory.delete(cookieValue);
      return undefined;
    }
    // Kept for longer than the limits in force now allow: a reload has shortened them since it was last written, and no use that
    // reached the store has come after that. So what memory knows of its last use is all there is to know.
    const outlives = stored.ttlMs > lifeInStore(endOf(entry.session.record), nowMs) + touchEveryMs;
    if (outlives && nowMs >= entry.lastUsedMs + deps.idleTimeoutMs) {
      memory.delete(cookieValue);
      await store.delete(key);
      return undefined;
    }
    memory.set(cookieValue, entry);
    confirm(entry, nowMs, askedAtMs + entry.offsetMs + stored.ttlMs);
    if (nowMs >= entry.touchDueAtMs || outlives) touch(cookieValue, key, entry, nowMs);
    return use(entry, nowMs);
  }

  /** The entry of what the store holds: the one in memory while the sealed bytes are the same, else opened anew. */
  function admit(cookieValue: string, key: string, stored: StoredRecord): Entry | undefined {
    const fingerprint = fingerprintOf(stored.sealed);
    const known = memory.get(cookieValue);
    if (known?.fingerprint === fingerprint) return known;
    const bytes = sealing.openSession(cookieValue, stored.sealed);
    const record = bytes === undefined ? undefined : decodeRecord(bytes);
    return record === undefined ? undefined : createEntry({ record, key }, fingerprint);
  }

  function createEntry(session: OpenedSession, fingerprint: string): Entry {
    // Nothing was made in the future: the clock has been set back since, by so much at least.
    const nowMs = Math.max(clock.nowMs(), session.record.issuedAt * 1000);
    return {
      session,
      offsetMs: nowMs - forward.nowMs(),
      confirmedAtClockMs: 0,
      fingerprint,
      freshUntilMs: 0,
      touchDueAtMs: 0,
      lastUsedMs: nowMs,
    };
  }

  function confirm(entry: Entry, nowMs: number, storedUntilMs: number): void {
    entry.confirmedAtClockMs = clock.nowMs();
    entry.freshUntilMs = nowMs + deps.cacheMs;
    entry.touchDueAtMs = touchDueAt(endOf(entry.session.record), storedUntilMs);
  }

  /** Lengthens the key's life; nobody waits for it. If it fails, the next use tries again. */
  function touch(cookieValue: string, key: string, entry: Entry, nowMs: number): void {
    const ttlMs = lifeInStore(endOf(entry.session.record), nowMs);
    const dueBeforeMs = entry.touchDueAtMs;
    entry.touchDueAtMs = touchDueAt(endOf(entry.session.record), nowMs + ttlMs);
    store.touch(key, ttlMs).then(
      (there) => {
        if (!there && memory.peek(cookieValue) === entry) memory.delete(cookieValue);
        if (there) keepEntered(key, entry.session.record, ttlMs, nowMs);
      },
      () => {
        entry.touchDueAtMs = dueBeforeMs;
      },
    );
  }

  /** The card lives as long as the record; a session of a version that made none is entered now. Nobody waits for it. */
  function keepEntered(key: string, record: SessionRecord, ttlMs: number, nowMs: number): void {
    directory
      .touch(key, ttlMs)
      .then(async (there) => {
        if (!there)
          await directory.enter(key, record, undefined, {
            recordMs: ttlMs,
            sessionMs: endOf(record) - nowMs + latencyMs,
          });
      })
      .catch(() => undefined);
  }

  async function create(record: SessionRecord, judgement?: Judgement): ReturnType<Sessions['create']> {
    const cookieValue = randomToken(deps.randomness, 256);
    const key = sealing.sessionKey(cookieValue);
    const sealed = sealing.sealSession(cookieValue, encodeRecord(record));
    const session: OpenedSession = Object.freeze({ record, key });
    const entry = createEntry(session, fingerprintOf(sealed));
    const nowMs = timeOf(entry);
    const ttlMs = lifeInStore(endOf(entry.session.record), nowMs);
    const pushedOut = await directory.enter(key, record, judgement, {
      recordMs: ttlMs,
      sessionMs: endOf(record) - nowMs + latencyMs,
    });
    await store.put(key, sealed, ttlMs);
    confirm(entry, nowMs, nowMs + ttlMs);
    cookieOf.set(key, cookieValue);
    memory.set(cookieValue, entry);
    meter.sessionCreated();
    if (pushedOut.length > 0)
      endings.end(pushedOut, (ended) => deps.onPushedOut?.(ended)).catch(() => undefined);
    return { cookieValue, session };
  }

  async function end(cookieValue: string): Promise<SessionRecord | undefined> {
    if (!isCookieValue(cookieValue)) return undefined;
    const key = sealing.sessionKey(cookieValue);
    let record: SessionRecord | undefined;
    try {
      // Sent together and answered in order: what it was, and its end.
      const [stored, deleted] = await Promise.all([store.get(key), store.delete(key)]);
      const bytes = stored === undefined ? undefined : sealing.openSession(cookieValue, stored.sealed);
      record = deleted && bytes !== undefined ? decodeRecord(bytes) : undefined;
    } finally {
      // Also when the store failed: it may have heard us, so this replica asks again before it serves.
      const flight = flights.get(cookieValue);
      if (flight !== undefined) {
        flight.ended = true;
        flights.delete(cookieValue);
      }
      memory.delete(cookieValue);
      cookieOf.delete(key);
    }
    drop([key]);
    // It has ended, whatever becomes of the rest: a replica that is not told sees it within session.cache, entries expire by themselves.
    await store.announce(announcementOf([key])).catch(() => undefined);
    if (record !== undefined) await directory.forget(key, indexedOf(record)).catch(() => undefined);
    return record;
  }

  function onEnded(listener: (keys: readonly string[]) => void): () => void {
    endListeners.add(listener);
    return () => endListeners.delete(listener);
  }

  function onDoubt(listener: () => void): () => void {
    doubtListeners.add(listener);
    return () => doubtListeners.delete(listener);
  }

  async function lives(key: string): Promise<boolean> {
    return (await store.life(key)) !== undefined;
  }

  return { peek, open, create, end, onEnded, onDoubt, lives };
}

/** Version, salt and tag: 24 random bytes and 16 that depend on every other one. */
function fingerprintOf(sealed: Buffer): string {
  return sealed.toString('latin1', 0, 25) + sealed.toString('latin1', sealed.length - 16);
}
