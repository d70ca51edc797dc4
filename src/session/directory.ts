import { cardOf, decodeCard, encodeCard, sidOf } from './card.ts';
import type { SessionCard } from './card.ts';
import type { Sealing } from './sealing.ts';
import type { Judgement, HeldRecord, Store } from './types.ts';

/** By what a session is found without its cookie. */
export type IndexKind = 'sub' | 'sid' | 'email';

/** How long a session's record, and how long the session at most, will live. Milliseconds. */
export interface Lives {
  readonly recordMs: number;
  readonly sessionMs: number;
}

/** Finds sessions by who they belong to. A session is named by its store key. */
export interface Directory {
  /**
   * Notes a session under everything by which it may have to be found. To be done before its record is stored: there is never a
   * session that can't be revoked, only, for a while, an entry whose session never came to be.
   *
   * @returns sessions that the bounds of an index pushed out: to be ended, since nothing finds them any more
   * @throws store_unavailable
   */
  enter(
    key: string,
    record: HeldRecord,
    judgement: Judgement | undefined,
    lives: Lives,
  ): Promise<readonly string[]>;
  /** Lengthens a card's life along with its record's; false when there is none. @throws store_unavailable */
  touch(key: string, ttlMs: number): Promise<boolean>;
  /** Sessions of an issuer by a value; some may have ended. @throws store_unavailable */
  find(kind: IndexKind, issuer: string, value: string): Promise<readonly string[]>;
  /** A session's card, if it has one that opens. @throws store_unavailable */
  card(key: string): Promise<SessionCard | undefined>;
  /** Notes on its card, if it has one, how a session is judged now. @throws store_unavailable */
  judged(key: string, judgement: Judgement): Promise<void>;
  /** Every session that has a card; `card` undefined: it does not open. @throws store_unavailable */
  cards(): AsyncIterable<{ readonly key: string; readonly card: SessionCard | undefined }>;
  /** Strikes out what {@link Directory.enter} noted. @throws store_unavailable */
  forget(key: string, entry: IndexedSession | undefined): Promise<void>;
}

/** What of a session the indexes are made of. */
export interface IndexedSession {
  readonly issuer: string;
  readonly subject: string;
  readonly sid: string | undefined;
  readonly email: string | undefined;
}

/** Sessions that one value of one index may hold: whoever signs in more often ends their oldest sessions. */
export const mostPerIndex = 1000;

/** Where sessions and their cards stand in the store, and what cards are sealed for. */
export const sessionPrefix = 'session:';
export const cardPrefix = 'card:';
export const cardPurpose = 'session-card';
/** Cards asked for at once while all are listed. */
const batchSize = 100;

/** What of a record the indexes are made of. */
export function indexedOf(record: HeldRecord): IndexedSession {
  const { issuer, identity } = record;
  return { issuer, subject: identity.subject, sid: sidOf(record), email: identity.email };
}

/**
 * The directory over a store. Every operation touches one key, so that a Redis Cluster may keep each wherever it likes.
 * Indexes are sets of store keys under HMACs of (issuer, value): found only by whoever knows the secret and the value.
 */
export function createDirectory({
  store,
  sealing,
}: {
  readonly store: Store;
  readonly sealing: Sealing;
}): Directory {
  function indexKeys(kind: IndexKind, issuer: string, value: string): readonly [string, ...string[]] {
    // An operator types an address as they please; whom it also finds has the same address but for its case.
    const text = kind === 'email' ? value.toLowerCase() : value;
    const [first, ...rest] = sealing.indexKeys(`session-${kind}`, JSON.stringify([issuer, text]));
    return [`index:${first}`, ...rest.map((hash) => `index:${hash}`)];
  }

  function entriesOf(session: IndexedSession): readonly (readonly [string, ...string[]])[] {
    const { issuer, subject, sid, email } = session;
    return [
      indexKeys('sub', issuer, subject),
      ...(sid === undefined ? [] : [indexKeys('sid', issuer, sid)]),
      ...(email === undefined ? [] : [indexKeys('email', issuer, email)]),
    ];
  }

  async function openCard(key: string): Promise<SessionCard | undefined> {
    const cardKey = cardKeyOf(key);
    const stored = await store.get(cardKey);
    const bytes = stored === undefined ? undefined : sealing.openShared(cardPurpose, stored.sealed, cardKey);
    return bytes === undefined ? undefined : decodeCard(bytes);
  }

  return {
    async enter(key, record, judgement, lives) {
      const cardKey = cardKeyOf(key);
      const member = key.slice(sessionPrefix.length);
      const card = sealing.sealShared(cardPurpose, encodeCard(cardOf(record, judgement)), cardKey);
      const [, ...pushed] = await Promise.all([
        store.put(cardKey, card, lives.recordMs),
        ...entriesOf(indexedOf(record)).map(([first]) =>
          store.addMember(first, member, lives.sessionMs, mostPerIndex),
        ),
      ]);
      const gone = new Set(pushed.flat());
      gone.delete(member);
      return [...gone].map((other) => `${sessionPrefix}${other}`);
    },
    touch: (key, ttlMs) => store.touch(cardKeyOf(key), ttlMs),
    async find(kind, issuer, value) {
      const found = await Promise.all(indexKeys(kind, issuer, value).map((key) => store.members(key)));
      return [...new Set(found.flat())].map((member) => `${sessionPrefix}${member}`);
    },
    card: openCard,
    async judged(key, judgement) {
      const cardKey = cardKeyOf(key);
      const stored = await store.get(cardKey);
      const bytes =
        stored === undefined ? undefined : sealing.openShared(cardPurpose, stored.sealed, cardKey);
      const card = bytes === undefined ? undefined : decodeCard(bytes);
      if (stored === undefined || card === undefined) return;
      const next = sealing.sealShared(cardPurpose, encodeCard({ ...card, judgement }), cardKey);
      await store.replace(cardKey, stored.sealed, next);
    },
    async *cards() {
      let batch: string[] = [];
      const openBatch = (): Promise<{ key: string; card: SessionCard | undefined }[]> =>
        Promise.all(
          batch.splice(0).map(async (cardKey) => {
            const key = `${sessionPrefix}${cardKey.slice(cardPrefix.length)}`;
            return { key, card: await openCard(key) };
          }),
        );
      for await (const cardKey of store.keys(cardPrefix)) {
        batch.push(cardKey);
        if (batch.length === batchSize) yield* await openBatch();
      }
      yield* await openBatch();
      batch = [];
    },
    async forget(key, session) {
      const member = key.slice(sessionPrefix.length);
      const keys = session === undefined ? [] : entriesOf(session).flat();
      await Promise.all([
        store.delete(cardKeyOf(key)),
        ...keys.map((index) => store.removeMember(index, member)),
      ]);
    },
  };
}

function cardKeyOf(key: string): string {
  return `${cardPrefix}${key.slice(sessionPrefix.length)}`;
}
