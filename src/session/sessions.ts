import type { Clock } from '../kernel/clock.ts';
import { isFault } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import { randomToken } from '../kernel/randomness.ts';
import type { Randomness } from '../kernel/randomness.ts';
import { createDirectory, indexedOf } from './directory.ts';
import { announcementOf, readAnnouncement } from './announcements.ts';
import type { SessionNews } from './announcements.ts';
import { createEndings } from './endings.ts';
import type { EndedSession } from './endings.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import { isCookieValue } from './sealing.ts';
import type { Sealing } from './sealing.ts';
import { endOf, latencyMs, lifeInStore, touchDueAt, touchEveryMs } from './session-limits.ts';
import { createSessionMemory, fingerprintOf } from './session-memory.ts';
import type { Entry, SessionMemoryDeps } from './session-memory.ts';
import { createSessionRewriting } from './session-rewriting.ts';
import type {
  HeldRecord,
  Judgement,
  OpenedSession,
  SessionRecord,
  SessionRewriting,
  Sessions,
  SessionWatch,
  Store,
  StoredRecord,
} from './types.ts';

/** What {@link createSessions} is made of. The limits are asked for at each use: a reload may change them. */
export interface SessionsDeps extends SessionMemoryDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly randomness: Randomness;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Told of a session that ended because its user has too many. */
  readonly onPushedOut?: (ended: EndedSession) => void;
}

/** A question to the store, on its way. */
interface Flight {
  readonly promise: Promise<OpenedSession | undefined>;
  /** Ended while it was on its way: what it found must not come back to life. */
  ended: boolean;
  /** Changed while it was on its way: what it found may be older. */
  changed: boolean;
}

/**
 * Sessions over a store, with the opened ones in memory.
 *
 * Idle time is kept by the key's own life in the store: `idle + 60 s` at most, lengthened once it has sunk below `idle`.
 * So every use leaves the key at least `idle` to live (never early), a key is written at most once a minute, and it dies
 * at most 60 s late; this holds for any number of replicas, with nothing to agree on.
 */
export function createSessions(deps: SessionsDeps): Sessions & SessionWatch & SessionRewriting {
  const { store, sealing, clock, meter } = deps;
  const directory = createDirectory(deps);
  const endings = createEndings({ store, directory, clock });
  const memory = createSessionMemory(deps);
  const flights = new Map<string, Flight>();
  const endListeners = new Set<(keys: readonly string[]) => void>();
  const narrowListeners = new Set<(keys: readonly string[]) => void>();
  const doubtListeners = new Set<() => void>();
  const rewriting = createSessionRewriting({
    ...{ store, sealing, directory, hear },
    cookieValueOf: (key) => memory.cookieValueOf(key),
  });
  store.listen({
    heard(message) {
      const heard = readAnnouncement(message);
      if (heard !== undefined) hear(heard.news, heard.keys);
    },
    missed() {
      // What ended unheard must not be served: memory asks again for everything.
      memory.doubtAll();
      memory.setDeaf(false);
      for (const listener of doubtListeners) listener();
    },
    lost: () => memory.setDeaf(true),
  });

  function hear(news: SessionNews, keys: readonly string[]): void {
    if (news === 'ended') {
      drop(keys);
      return;
    }
    for (const key of keys) {
      const cookieValue = memory.cookieValueOf(key);
      if (cookieValue === undefined) continue;
      const flight = flights.get(cookieValue);
      if (flight !== undefined) flight.changed = true;
      memory.forget(cookieValue);
    }
    if (news === 'narrowed') for (const listener of narrowListeners) listener(keys);
  }

  /** Forgets ended sessions, and tells whoever holds something under them. */
  function drop(keys: readonly string[]): void {
    for (const key of keys) {
      const cookieValue = memory.cookieValueOf(key);
      if (cookieValue !== undefined) forget(cookieValue);
    }
    for (const listener of endListeners) listener(keys);
  }

  /** What memory holds and what is on its way there: it must not come back to life. */
  function forget(cookieValue: string): void {
    const flight = flights.get(cookieValue);
    if (flight !== undefined) {
      flight.ended = true;
      flights.delete(cookieValue);
    }
    memory.forget(cookieValue);
  }

  function peek(cookieValue: string): OpenedSession | undefined {
    const entry = memory.find(cookieValue);
    if (entry === undefined) return undefined;
    const nowMs = memory.nowOf(entry);
    if (!memory.mayServe(entry, nowMs)) return undefined;
    meter.sessionCache('hit');
    return memory.use(entry, nowMs);
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
    const state = { ended: false, changed: false };
    const promise = load(cookieValue, state).finally(() => {
      if (flights.get(cookieValue) === flight) flights.delete(cookieValue);
    });
    const flight: Flight = Object.assign(state, { promise });
    flights.set(cookieValue, flight);
    return flight;
  }

  async function load(
    cookieValue: string,
    flight: Omit<Flight, 'promise'>,
  ): Promise<OpenedSession | undefined> {
    const key = sealing.sessionKey(cookieValue);
    // From now on, so that an end that is announced while the store is asked finds it.
    memory.expect(key, cookieValue);
    try {
      return await ask(cookieValue, key, flight);
    } finally {
      memory.settle(key, cookieValue);
    }
  }

  async function ask(
    cookieValue: string,
    key: string,
    flight: Omit<Flight, 'promise'>,
  ): Promise<OpenedSession | undefined> {
    const askedAtMs = memory.forwardMs();
    let stored: StoredRecord | undefined;
    try {
      do {
        flight.changed = false;
        stored = await store.get(key);
      } while (wasChanged(flight));
    } catch (error) {
      // The request that finds the outage is served from memory like those after it.
      const entry = memory.find(cookieValue);
      if (!isFault(error, 'store_unavailable') || entry === undefined || store.health().up) throw error;
      const nowMs = memory.nowOf(entry);
      if (!memory.mayServe(entry, nowMs)) throw error;
      return memory.use(entry, nowMs);
    }
    if (flight.ended) return undefined;
    const entry = stored === undefined ? undefined : admit(cookieValue, key, stored);
    if (stored === undefined || entry === undefined) {
      memory.forget(cookieValue);
      return undefined;
    }
    const nowMs = memory.nowOf(entry);
    const endsAtMs = endOf(entry.session.record, deps);
    if (nowMs >= endsAtMs) {
      memory.forget(cookieValue);
      return undefined;
    }
    // Kept for longer than the limits in force now allow: a reload has shortened them since it was last written, and no use that
    // reached the store has come after that. So what memory knows of its last use is all there is to know.
    const outlives = stored.ttlMs > lifeInStore(endsAtMs, nowMs, deps) + touchEveryMs;
    if (outlives && nowMs >= entry.lastUsedMs + deps.idleTimeoutMs) {
      memory.forget(cookieValue);
      await store.delete(key);
      return undefined;
    }
    memory.hold(cookieValue, entry);
    memory.confirm(entry, nowMs, askedAtMs + entry.offsetMs + stored.ttlMs);
    if (nowMs >= entry.touchDueAtMs || outlives) touch(cookieValue, key, entry, nowMs);
    return memory.use(entry, nowMs);
  }

  /** The entry of what the store holds: the one in memory while the sealed bytes are the same, else opened anew. */
  function admit(cookieValue: string, key: string, stored: StoredRecord): Entry | undefined {
    // A secret that is listed no more opens nothing, in memory neither.
    const fingerprint = sealing.id + fingerprintOf(stored.sealed);
    const known = memory.find(cookieValue);
    if (known?.fingerprint === fingerprint) return known;
    const bytes = sealing.openSession(cookieValue, stored.sealed);
    const record = bytes === undefined ? undefined : decodeRecord(bytes);
    return record === undefined ? undefined : memory.entryOf(record, key, fingerprint);
  }

  /** Lengthens the key's life; nobody waits for it. If it fails, the next use tries again. */
  function touch(cookieValue: string, key: string, entry: Entry, nowMs: number): void {
    const endsAtMs = endOf(entry.session.record, deps);
    const ttlMs = lifeInStore(endsAtMs, nowMs, deps);
    const dueBeforeMs = entry.touchDueAtMs;
    entry.touchDueAtMs = touchDueAt(endsAtMs, nowMs + ttlMs, deps);
    store.touch(key, ttlMs).then(
      (there) => {
        if (!there && memory.look(cookieValue) === entry) memory.forget(cookieValue);
        if (there) keepEntered(key, entry.session.record, ttlMs, nowMs);
      },
      () => {
        entry.touchDueAtMs = dueBeforeMs;
      },
    );
  }

  /** The card lives as long as the record; a session of a version that made none is entered now. Nobody waits for it. */
  function keepEntered(key: string, record: HeldRecord, ttlMs: number, nowMs: number): void {
    directory
      .touch(key, ttlMs)
      .then(async (there) => {
        if (!there)
          await directory.enter(key, record, undefined, {
            recordMs: ttlMs,
            sessionMs: endOf(record, deps) - nowMs + latencyMs,
          });
      })
      .catch(() => undefined);
  }

  async function create(record: SessionRecord, judgement?: Judgement): ReturnType<Sessions['create']> {
    const cookieValue = randomToken(deps.randomness, 256);
    const key = sealing.sessionKey(cookieValue);
    const sealed = sealing.sealSession(cookieValue, encodeRecord(record));
    const entry = memory.entryOf(record, key, sealing.id + fingerprintOf(sealed));
    const nowMs = memory.nowOf(entry);
    const ttlMs = lifeInStore(endOf(record, deps), nowMs, deps);
    const pushedOut = await directory.enter(key, record, judgement, {
      recordMs: ttlMs,
      sessionMs: endOf(record, deps) - nowMs + latencyMs,
    });
    await store.put(key, sealed, ttlMs);
    memory.confirm(entry, nowMs, nowMs + ttlMs);
    memory.hold(cookieValue, entry);
    meter.sessionCreated();
    if (pushedOut.length > 0)
      endings.end(pushedOut, (ended) => deps.onPushedOut?.(ended)).catch(() => undefined);
    return { cookieValue, session: entry.session };
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
      forget(cookieValue);
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

  function onNarrowed(listener: (keys: readonly string[]) => void): () => void {
    narrowListeners.add(listener);
    return () => narrowListeners.delete(listener);
  }

  function onDoubt(listener: () => void): () => void {
    doubtListeners.add(listener);
    return () => doubtListeners.delete(listener);
  }

  async function lives(key: string): Promise<boolean> {
    return (await store.life(key)) !== undefined;
  }

  async function isNarrower({ key, record }: OpenedSession): Promise<boolean> {
    if (key === undefined) return false;
    const stored = await rewriting.read(key);
    // Memory has its cookie no more, and nobody can look: only a refresh could have changed it.
    if (stored === undefined) return record.tokens.refreshDueAt !== undefined;
    const { refreshed, identity, expiresAt } = stored.record;
    return (
      JSON.stringify(refreshed) !== JSON.stringify(record.refreshed) ||
      record.identity.groups?.some((group) => identity.groups?.includes(group) !== true) === true ||
      expiresAt < record.expiresAt
    );
  }

  return { peek, open, create, end, onEnded, onNarrowed, onDoubt, lives, isNarrower, ...rewriting };
}

/** Asked anew, since somebody else writes it. */
function wasChanged(flight: Omit<Flight, 'promise'>): boolean {
  return flight.changed;
}
