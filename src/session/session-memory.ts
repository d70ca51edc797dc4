import { LRUCache } from 'lru-cache';
import { createForwardClock, type Clock } from '../kernel/clock.ts';
import { createInterning } from './interning.ts';
import type { Interning } from './interning.ts';
import { endOf, touchDueAt } from './session-limits.ts';
import type { SessionLimits } from './session-limits.ts';
import type { HeldRecord, HeldTokens, OpenedSession, SessionRecord, Store, StoreHealth } from './types.ts';

/** What {@link createSessionMemory} is made of. The limits are asked for at each use: a reload may change them. */
export interface SessionMemoryDeps extends SessionLimits {
  readonly store: Pick<Store, 'health'>;
  readonly clock: Clock;
  /** `session.cache`: how long memory serves a session without asking the store; 0: never. */
  readonly cacheMs: number;
  /** `session.outage_grace`: how long sessions in memory outlive an outage, counted from its beginning. */
  readonly outageGraceMs: number;
  /** How many opened sessions memory holds at most; the least recently used go first. */
  readonly maxCached: number;
}

/**
 * What memory knows of an opened session. All times are milliseconds since the epoch, in the entry's own time: it began with the clock's,
 * and goes on when somebody sets that back.
 */
export interface Entry {
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

/** The opened sessions, bounded in number: by cookie value, and by store key. */
export interface SessionMemory {
  /** The entry of a cookie value, whether or not it may serve. */
  find(cookieValue: string): Entry | undefined;
  /** The same, without counting as a use. */
  look(cookieValue: string): Entry | undefined;
  has(cookieValue: string): boolean;
  /** Holds an entry: from now on it is found by its store key too. */
  hold(cookieValue: string, entry: Entry): void;
  forget(cookieValue: string): void;
  /** The session of this cookie value is on its way into memory: from now on it is found by its store key. */
  expect(key: string, cookieValue: string): void;
  /** It is no longer on its way; forgets the store key if memory holds nothing under it. */
  settle(key: string, cookieValue: string): void;
  /** The cookie value of a session that memory holds or expects. */
  cookieValueOf(key: string): string | undefined;
  /** Makes an entry, which nobody holds yet. */
  entryOf(record: SessionRecord, key: string, fingerprint: string): Entry;
  /** Milliseconds since the epoch, in the entry's own time. */
  nowOf(entry: Entry): number;
  /** Milliseconds that go only forward. */
  forwardMs(): number;
  /** Whether memory may serve an entry without the store; while the store is down, staleness counts no more: the outage's own grace does. */
  mayServe(entry: Entry, nowMs: number): boolean;
  /** Notes a use. */
  use(entry: Entry, nowMs: number): OpenedSession;
  /** Notes that the store has answered, and until when it will keep the session. */
  confirm(entry: Entry, nowMs: number, storedUntilMs: number): void;
  /** Nothing is served any more before the store has been asked. */
  doubtAll(): void;
  /** Whether the ends of sessions on other replicas go unheard from now on: an outage that begins after that has no grace. */
  setDeaf(deaf: boolean): void;
}

/** A server that goes down takes the link for announcements along: whichever of the two is noticed first, within so long. Milliseconds. */
const togetherMs = 2000;

/** An empty memory. */
export function createSessionMemory(deps: SessionMemoryDeps): SessionMemory {
  const { store, clock } = deps;
  const forward = createForwardClock(clock);
  const interning = createInterning();
  let deafSinceMs: number | undefined;
  const cookieOf = new Map<string, string>();
  /** How many are on their way to the same place. */
  const onTheWay = new Map<string, number>();
  const memory = new LRUCache<string, Entry>({
    max: deps.maxCached,
    dispose: ({ session: { key = '' } }, cookieValue, reason) => {
      if (reason !== 'set' && !onTheWay.has(cookieValue)) cookieOf.delete(key);
    },
  });

  function isAlive(entry: Entry, nowMs: number): boolean {
    return nowMs < endOf(entry.session.record, deps) && nowMs < entry.lastUsedMs + deps.idleTimeoutMs;
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
    const longestMs = Math.max(outMs, outSteadyMs);
    if (outMs < 0 || longestMs >= deps.outageGraceMs) return false;
    // What ended while nothing was heard may still stand here.
    return deafSinceMs === undefined || forward.nowMs() - deafSinceMs <= longestMs + togetherMs;
  }

  return {
    find: (cookieValue) => memory.get(cookieValue),
    look: (cookieValue) => memory.peek(cookieValue),
    has: (cookieValue) => memory.has(cookieValue),
    hold(cookieValue, entry) {
      const { key } = entry.session;
      const value = (key === undefined ? undefined : cookieOf.get(key)) ?? compact(cookieValue);
      if (key !== undefined) cookieOf.set(key, value);
      memory.set(value, entry);
    },
    forget(cookieValue) {
      memory.delete(cookieValue);
    },
    expect(key, cookieValue) {
      onTheWay.set(cookieValue, (onTheWay.get(cookieValue) ?? 0) + 1);
      if (!cookieOf.has(key)) cookieOf.set(compact(key), compact(cookieValue));
    },
    settle(key, cookieValue) {
      const others = (onTheWay.get(cookieValue) ?? 1) - 1;
      if (others > 0) {
        onTheWay.set(cookieValue, others);
        return;
      }
      onTheWay.delete(cookieValue);
      if (!memory.has(cookieValue)) cookieOf.delete(key);
    },
    cookieValueOf: (key) => cookieOf.get(key),
    entryOf(record, key, fingerprint) {
      // Nothing was made in the future: the clock has been set back since, by so much at least.
      const nowMs = Math.max(clock.nowMs(), record.issuedAt * 1000);
      return {
        session: Object.freeze({ record: heldOf(record, interning), key: compact(key) }),
        offsetMs: nowMs - forward.nowMs(),
        confirmedAtClockMs: 0,
        fingerprint: compact(fingerprint),
        freshUntilMs: 0,
        touchDueAtMs: 0,
        lastUsedMs: nowMs,
      };
    },
    nowOf: (entry) => forward.nowMs() + entry.offsetMs,
    forwardMs: () => forward.nowMs(),
    mayServe(entry, nowMs) {
      if (!isAlive(entry, nowMs)) return false;
      const health = store.health();
      // What may have ended unheard is not served in an outage that begins before the store was asked again.
      return health.up ? isFresh(entry, nowMs) : entry.freshUntilMs > 0 && isWithinGrace(health);
    },
    use(entry, nowMs) {
      entry.lastUsedMs = nowMs;
      return entry.session;
    },
    confirm(entry, nowMs, storedUntilMs) {
      entry.confirmedAtClockMs = clock.nowMs();
      entry.freshUntilMs = nowMs + deps.cacheMs;
      entry.touchDueAtMs = touchDueAt(endOf(entry.session.record, deps), storedUntilMs, deps);
    },
    doubtAll() {
      for (const entry of memory.values()) entry.freshUntilMs = 0;
    },
    setDeaf(deaf) {
      deafSinceMs = deaf ? (deafSinceMs ?? forward.nowMs()) : undefined;
    },
  };
}

/** Claims that tie a token to one sign-in and moment, or are for its issuer alone (Entra ID's): nothing asks for them after it. */
const spent = new Set(['nonce', 'at_hash', 'c_hash', 's_hash', 'exp', 'nbf', 'iat', 'aio', 'rh', 'uti']);

/** Most sessions hold none that memory needs. */
const noTokens: HeldTokens = Object.freeze({
  accessToken: undefined,
  accessTokenExpiresAt: undefined,
  refreshDueAt: undefined,
});

/**
 * What memory needs of a record: of its tokens, only what goes upstream; the others are asked of the store by the few who need them.
 * What it has in common with other sessions is shared with them: a hundred thousand are to fit into less than 200 MiB.
 */
function heldOf(record: SessionRecord, interning: Interning): HeldRecord {
  const { accessToken, accessTokenExpiresAt, refreshDueAt } = record.tokens;
  const isBare =
    accessToken === undefined && accessTokenExpiresAt === undefined && refreshDueAt === undefined;
  // Out of a parser once more: it shares the layout of objects that are alike, and what was given may be somebody else's.
  const { claims, refreshed, identity, lineage, ...rest } = JSON.parse(
    JSON.stringify({ ...record, tokens: undefined }, (name, value: unknown) =>
      spent.has(name) ? undefined : value,
    ),
  ) as Omit<HeldRecord, 'tokens'>;
  const { subject, username, name, email, emailVerified, preferredUsername, groups } =
    interning.value(identity);
  const { version, id, source, issuer, clientId, issuedAt, authenticatedAt, expiresAt, forced } =
    interning.value(rest);
  // Spelt out: objects that are put together by spreading have, each of them, a layout of their own. Nothing can be left out.
  const held: Every<HeldRecord> = {
    version,
    id,
    lineage: lineage === undefined ? undefined : interning.text(lineage),
    source,
    issuer,
    clientId,
    identity: { subject, username, name, email, emailVerified, preferredUsername, groups },
    claims: interning.value(claims),
    refreshed: refreshed === undefined ? undefined : interning.value(refreshed),
    issuedAt,
    authenticatedAt,
    expiresAt,
    forced,
    tokens: isBare ? noTokens : { accessToken, accessTokenExpiresAt, refreshDueAt },
  };
  return held as HeldRecord;
}

/** With every key, those that may be absent included. */
type Every<T> = { readonly [K in keyof Required<T>]: T[K] | undefined };

/** The same text without what it may have been cut out of or put together from: those live for as long as it does. */
function compact(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** Tells one sealing from another: eight bytes of salt, and a tag that depends on every other one. */
export function fingerprintOf(sealed: Buffer): string {
  return sealed.toString('latin1', 1, 9) + sealed.toString('latin1', sealed.length - 16);
}
