import type { Claims } from '../assurance/types.ts';

/** Who the user is, as the pages, headers and audit show it. Resolved once, at sign-in. */
export interface Identity {
  readonly subject: string;
  /** The name under which the upstream knows the user (SPEC section 7). */
  readonly username: string;
  readonly name: string | undefined;
  readonly email: string | undefined;
  readonly emailVerified: boolean;
  readonly preferredUsername: string | undefined;
  /** `undefined`: the IdP sent none (or an overage marker); `[]`: it said there are none. */
  readonly groups: readonly string[] | undefined;
}

/** What memory holds of a session's tokens, never shown, never logged. Times are seconds since the epoch. */
export interface HeldTokens {
  /** Only where the upstream gets it. */
  readonly accessToken: string | undefined;
  readonly accessTokenExpiresAt: number | undefined;
  /** From when on a request that comes should start a refresh; undefined: there is nothing to refresh, or with. */
  readonly refreshDueAt?: number | undefined;
}

/** Tokens of the sign-in, or of the last refresh; kept sealed, never shown, never logged. */
export interface SessionTokens extends HeldTokens {
  readonly idToken: string | undefined;
  readonly refreshToken: string | undefined;
}

/** What memory holds of a session. Times are seconds since the epoch. */
export interface HeldRecord {
  readonly version: 1;
  /** Public id: shown in whoami and audit; it opens nothing. */
  readonly id: string;
  /** What the upstream's own cookies are tied to: random, kept by step-up of the same user, new at every other sign-in. */
  readonly lineage?: string;
  readonly source: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly identity: Identity;
  /** The verified ID token's claims of this session's own interactive sign-in, whole. */
  readonly claims: Claims;
  /** What refreshed ID tokens have said otherwise of the assurance since; it may take from the evidence, never add to it. */
  readonly refreshed?: Claims | undefined;
  readonly issuedAt: number;
  /** The moment of the callback: freshness of the sign-in is judged at this time. */
  readonly authenticatedAt: number;
  /** `issuedAt` + absolute_timeout. Nothing extends it. */
  readonly expiresAt: number;
  /** Whether this sign-in was forced fresh because a route found too little assurance: no second forcing. */
  readonly forced: boolean;
  readonly tokens: HeldTokens;
}

/** What Redis holds of a session, sealed. */
export interface SessionRecord extends HeldRecord {
  readonly tokens: SessionTokens;
}

/** A session opened from its cookie; the same object for as long as memory holds it (so: usable as a WeakMap key). */
export interface OpenedSession {
  readonly record: HeldRecord;
  /** Where the store keeps it: how replicas speak of it. It opens nothing. */
  readonly key?: string;
}

/** How a sign-in was judged, for those who list sessions. */
export interface Judgement {
  readonly aal: 'aal1' | 'aal2';
  /** `verified | attested | would_reject | none` */
  readonly status: string;
  readonly evidence: { readonly claim: string; readonly value: unknown } | undefined;
  readonly weak: boolean;
}

/** The sealed record beside how long the store will still keep it. */
export interface StoredRecord {
  readonly sealed: Buffer;
  /** Milliseconds. */
  readonly ttlMs: number;
}

/** A counter as the store holds it: what it counts is known from its label alone, which is sealed. */
export interface StoredCounter {
  readonly field: string;
  readonly label: Buffer;
  readonly count: number;
}

/**
 * Where records live: Redis, or memory. Keys are hashes, values are sealed: a store can read nothing.
 * Every method rejects with SallyportError `store_unavailable` when the store cannot answer, within a second.
 */
export interface Store {
  get(key: string): Promise<StoredRecord | undefined>;
  put(key: string, sealed: Buffer, ttlMs: number): Promise<void>;
  /** Lengthens or shortens a key's life; false when it is not there. */
  touch(key: string, ttlMs: number): Promise<boolean>;
  delete(key: string): Promise<boolean>;
  /** Puts `next` where `expected` stands, in one step for all replicas; its life stays as it is. False: something else stands there, or nothing. */
  replace(key: string, expected: Buffer, next: Buffer): Promise<boolean>;
  /** {@link Store.touch} where `expected` stands, in one step. */
  touchIf(key: string, expected: Buffer, ttlMs: number): Promise<boolean>;
  /** {@link Store.delete} where `expected` stands, in one step. */
  deleteIf(key: string, expected: Buffer): Promise<boolean>;
  /** Stores only if absent; true for the one caller that did. Single use of states, creation of keys once. */
  putIfAbsent(key: string, value: Buffer, ttlMs: number | undefined): Promise<boolean>;
  /** Every key that begins with `prefix` and stands during the whole enumeration, once; those that come or go, perhaps. */
  keys(prefix: string): AsyncIterable<string>;
  /**
   * Adds one to the counter `field` of `key`, in one step for all replicas; the first to count leaves `label` beside it.
   * The whole of `key` lives `ttlMs` from its last count.
   */
  count(key: string, field: string, label: Buffer, ttlMs: number): Promise<void>;
  /** Every counter of `key`, in no order; none where nobody counted. */
  counts(key: string): Promise<readonly StoredCounter[]>;
  /** Puts `value` first in the list of `key`, in one step for all replicas; beyond `most` the oldest go. */
  prepend(key: string, value: Buffer, most: number, ttlMs: number): Promise<void>;
  /** The list of `key`, the newest first; empty where there is none. */
  list(key: string): Promise<readonly Buffer[]>;
  /** Milliseconds that a key will still live, without its value; undefined when it is not there, Infinity when for good. */
  life(key: string): Promise<number | undefined>;
  /**
   * Adds a member, which ends by itself, to the set at `key`; the set ends with its last member. What is pushed out, so that no
   * more than `most` stay, are those that would end first.
   *
   * @returns the members pushed out
   */
  addMember(key: string, member: string, ttlMs: number, most: number): Promise<readonly string[]>;
  /** The members of the set at `key` that have not ended. */
  members(key: string): Promise<readonly string[]>;
  removeMember(key: string, member: string): Promise<void>;
  /** Tells every process that listens on the same store, this one included, now; whoever is cut off misses it. */
  announce(message: string): Promise<void>;
  /** Hears what is announced, from now on until the returned function is called; without the store it waits for the store. */
  listen(listener: StoreListener): () => void;
  /** Whether the store answered last; never throws, never waits. */
  health(): StoreHealth;
  /** Proves the connection by a round trip. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Who listens to what is announced. */
export interface StoreListener {
  heard(message: string): void;
  /** Announcements may have been missed until now: the link was cut, or is new. */
  missed(): void;
  /** From now on, until {@link StoreListener.missed}, nothing is heard. */
  lost?(): void;
}

/** Whether the store answers, and since when. */
export interface StoreHealth {
  readonly up: boolean;
  /** Milliseconds since the epoch: since when it has been so. */
  readonly sinceMs: number;
  /** The same by the clock that nobody sets, where there is one. */
  readonly sinceSteadyMs?: number;
  /** Up, but it was not always: what was written there last, and leases, may be gone or have ended meanwhile. */
  readonly again?: true;
  /** A short cause for the operator when down; never with a credential. */
  readonly cause?: string;
}

/** Sessions, as the proxy and the sign-in see them. */
export interface Sessions {
  /**
   * The session of this cookie value if memory may serve it now, synchronously: touches neither Redis, nor decryption, nor JSON.
   * Undefined says nothing: ask {@link open}.
   */
  peek(cookieValue: string): OpenedSession | undefined;
  /** The session of this cookie value, or undefined when there is none. @throws store_unavailable */
  open(cookieValue: string): Promise<OpenedSession | undefined>;
  /**
   * Seals and stores a new session; returns the cookie value that alone opens it.
   *
   * @param judgement for the card by which it is listed
   * @throws store_unavailable
   */
  create(
    record: SessionRecord,
    judgement?: Judgement,
  ): Promise<{ readonly cookieValue: string; readonly session: OpenedSession }>;
  /** Ends a session for good, on every replica; returns what it was, if it was. @throws store_unavailable */
  end(cookieValue: string): Promise<SessionRecord | undefined>;
}

/** A session's whole record as the store holds it, for whoever writes another in its place. */
export interface StoredSession {
  readonly key: string;
  readonly cookieValue: string;
  readonly record: SessionRecord;
  /** As it stands in the store: what is written takes this one's place, and no other's. */
  readonly sealed: Buffer;
}

/** Sessions, as a token refresh sees them. */
export interface SessionRewriting {
  /**
   * The whole record of a session, by its store key; undefined: the store holds it no longer.
   *
   * @param cookieValue where the caller knows it; else the session is found only while memory holds it
   * @throws store_unavailable
   */
  read(key: string, cookieValue?: string): Promise<StoredSession | undefined>;
  /**
   * Puts another record in a session's place, on every replica at once. It extends nothing: the session's life stays as it is, and one
   * that has ended stays so.
   *
   * @param judgement for its card; undefined: as it was
   * @param narrowed the session may do less than before: what runs under it is closed, to be judged anew
   * @returns false: the record is another one by now, or none; nothing was written
   * @throws store_unavailable
   */
  rewrite(
    stored: StoredSession,
    record: SessionRecord,
    judgement: Judgement | undefined,
    narrowed: boolean,
  ): Promise<boolean>;
  /** Memory's copy may be older than the store's: the next request asks. */
  recheck(key: string): void;
}

/** What others want to know of the sessions' ends: those who hold connections that run under a session. */
export interface SessionWatch {
  /** Tells the store keys of sessions that have ended, here or on another replica. @returns stops telling */
  onEnded(listener: (keys: readonly string[]) => void): () => void;
  /** Tells the store keys of sessions that may do less than before, here or on another replica. @returns stops telling */
  onNarrowed?(listener: (keys: readonly string[]) => void): () => void;
  /** Tells that ends may have gone unheard until now. @returns stops telling */
  onDoubt(listener: () => void): () => void;
  /** Whether a session is there still. @throws store_unavailable */
  lives(key: string): Promise<boolean>;
  /** Whether a session that is there still may do less than when it was opened so. @throws store_unavailable */
  isNarrower?(session: OpenedSession): Promise<boolean>;
}
