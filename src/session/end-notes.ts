import type { Clock } from '../kernel/clock.ts';
import type { SessionCard } from './card.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './types.ts';

/*
 * A logout ends the sessions that it finds. A sign-in that is between the IdP and its session at that moment would not be found, and
 * would outlive a logout that came after it. So each logout leaves a note before it looks for sessions, and each sign-in looks for notes
 * after its session can be found: whichever of the two comes first, the other one sees it.
 */

/** Why sessions were ended without their cookies. */
export type NotedWhy = 'backchannel' | 'frontchannel' | 'revoked';

/** Whose sessions were ended: whoever all given members fit. */
export interface EndNote {
  readonly why: NotedWhy;
  readonly issuer?: string | undefined;
  readonly source?: string | undefined;
  readonly subject?: string | undefined;
  /** The IdP's id of its session. Beside a subject, a session that was not told its own is meant as well. */
  readonly sid?: string | undefined;
  /** Compared without case. */
  readonly email?: string | undefined;
  /** The logout token's `iat`, seconds since the epoch: by the clock that also dates ID tokens. Undefined: nobody but we dated it. */
  readonly issuedAt?: number | undefined;
}

/** A sign-in that may have been under way. */
export interface NotedSignIn {
  /** `iat` of its ID token, seconds since the epoch. */
  readonly tokenIssuedAt: number;
  /** Its `auth_time`, where it has one: an IdP may exchange a code from before the logout for an ID token dated after it. */
  readonly authenticatedAt?: number | undefined;
  /** When the browser was sent to the IdP, milliseconds since the epoch. */
  readonly begunAtMs: number;
}

/** The notes of all replicas. */
export interface EndNotes {
  /** Leaves a note; to be done before the sessions are looked for. @throws store_unavailable */
  leave(note: EndNote): Promise<void>;
  /**
   * Why a sign-in must not become a session after all; to be asked once its session is stored.
   * @throws store_unavailable
   */
  find(card: SessionCard, signIn: NotedSignIn): Promise<NotedWhy | undefined>;
}

/** Longer than a trip to the IdP may take, which is ten minutes. Milliseconds. */
export const noteLifeMs = 15 * 60_000;
/** Notes kept for one value: the latest. They date from the same minutes, so the latest say what the others said. */
const mostNotes = 16;
/** An IdP's clock may be ahead of ours by so much. Milliseconds. */
const skewMs = 60_000;

const purpose = 'end-note';

interface StoredNote extends EndNote {
  readonly version: 1;
  /** Milliseconds since the epoch. */
  readonly notedAtMs: number;
}

/** The notes in a store: sealed, under HMACs of what they are about. */
export function createEndNotes({
  store,
  sealing,
  clock,
}: {
  readonly store: Store;
  readonly sealing: Pick<Sealing, 'sealShared' | 'openShared' | 'indexKeys'>;
  readonly clock: Clock;
}): EndNotes {
  function placesOf(kind: 'sub' | 'sid' | 'email' | 'source' | 'all', value: string): readonly string[] {
    return sealing.indexKeys(purpose, JSON.stringify([kind, value])).map((hash) => `note:${hash}`);
  }

  async function read(place: string): Promise<readonly StoredNote[]> {
    const sealed = await store.list(place);
    return sealed.flatMap((each) => {
      const bytes = sealing.openShared(purpose, each, place);
      const note = bytes === undefined ? undefined : (JSON.parse(bytes.toString('utf8')) as StoredNote);
      return note?.version === 1 ? [note] : [];
    });
  }

  return {
    async leave(note) {
      const { subject, email, sid, source } = note;
      const [place = ''] =
        subject !== undefined
          ? placesOf('sub', subject)
          : email !== undefined
            ? placesOf('email', email.toLowerCase())
            : sid !== undefined
              ? placesOf('sid', sid)
              : source !== undefined
                ? placesOf('source', source)
                : placesOf('all', '');
      const stored: StoredNote = { version: 1, ...note, notedAtMs: clock.nowMs() };
      const sealed = sealing.sealShared(purpose, Buffer.from(JSON.stringify(stored), 'utf8'), place);
      await store.prepend(place, sealed, mostNotes, noteLifeMs);
    },

    async find(card, signIn) {
      const { subject, sid, email, source } = card;
      const places = [
        ...placesOf('sub', subject),
        ...(sid === undefined ? [] : placesOf('sid', sid)),
        ...(email === undefined ? [] : placesOf('email', email.toLowerCase())),
        ...placesOf('source', source),
        ...placesOf('all', ''),
      ];
      const notes = (await Promise.all(places.map(read))).flat();
      return notes.find((note) => fits(note, card) && isBefore(signIn, note))?.why;
    },
  };
}

function fits({ issuer, source, subject, sid, email }: EndNote, card: SessionCard): boolean {
  return (
    (issuer === undefined || card.issuer === issuer) &&
    (source === undefined || card.source === source) &&
    (subject === undefined || card.subject === subject) &&
    (email === undefined || card.email?.toLowerCase() === email.toLowerCase()) &&
    (sid === undefined || card.sid === sid || (subject !== undefined && card.sid === undefined))
  );
}

/** Whether the IdP had said who it is before it, or an operator, said that this is over. */
function isBefore(
  { tokenIssuedAt, authenticatedAt = tokenIssuedAt, begunAtMs }: NotedSignIn,
  { issuedAt, notedAtMs }: StoredNote,
): boolean {
  const saidAt = Math.min(tokenIssuedAt, authenticatedAt);
  const begunBefore = begunAtMs < notedAtMs;
  if (issuedAt === undefined) return begunBefore && saidAt * 1000 <= notedAtMs + skewMs;
  // Seconds do not always tell which came first, and single sign-on repeats an old auth_time: then the trip that began after the
  // logout was known here is another sign-in.
  return tokenIssuedAt < issuedAt || (saidAt <= issuedAt && begunBefore);
}
