import type { Clock } from '../kernel/clock.ts';
import { announcementOf } from './announcements.ts';
import type { SessionCard } from './card.ts';
import type { Directory } from './directory.ts';
import type { Store } from './types.ts';

/** A session that has been ended by its store key. */
export interface EndedSession {
  readonly key: string;
  /** Undefined: its card was gone, or did not open. */
  readonly card: SessionCard | undefined;
}

/** Ends sessions without their cookies. */
export interface Endings {
  /**
   * Ends the sessions at these store keys, and tells every replica. Idempotent: after a failure it may be called again with the same
   * keys, and tells again.
   *
   * @param onEnded called at once for each session that this call, and no other, has ended
   * @param belongs whether a session is meant, by its card; default: each is
   * @throws store_unavailable when one of them may live on, or some replica may not have been told
   */
  end(
    keys: readonly string[],
    onEnded: (ended: EndedSession) => void,
    belongs?: (card: SessionCard | undefined, key: string) => boolean,
  ): Promise<void>;
}

const batchSize = 100;

/** A sign-in notes its session before it stores it: an entry without a session is left alone for so long. Seconds. */
const unbornSeconds = 120;

/** Endings over a store and its directory. */
export function createEndings({
  store,
  directory,
  clock,
}: {
  readonly store: Store;
  readonly directory: Directory;
  readonly clock: Clock;
}): Endings {
  async function endOne(
    key: string,
    onEnded: (ended: EndedSession) => void,
    belongs: (card: SessionCard | undefined, key: string) => boolean,
  ): Promise<{ readonly key: string; readonly tidy: () => Promise<void> } | undefined> {
    const card = await directory.card(key);
    if (!belongs(card, key)) return undefined;
    const ended = await store.delete(key);
    if (ended) onEnded({ key, card });
    const stale = card !== undefined && clock.nowMs() / 1000 - card.issuedAt > unbornSeconds;
    return {
      key,
      async tidy() {
        if (ended || stale) await directory.forget(key, card);
      },
    };
  }

  return {
    async end(keys, onEnded, belongs = () => true) {
      for (let at = 0; at < keys.length; at += batchSize) {
        const batch = keys.slice(at, at + batchSize);
        const outcomes = await Promise.allSettled(batch.map((key) => endOne(key, onEnded, belongs)));
        const meant = outcomes.flatMap((outcome) =>
          outcome.status === 'fulfilled' && outcome.value !== undefined ? [outcome.value] : [],
        );
        // Those that had ended already too: an earlier call may have failed before it could tell.
        if (meant.length > 0) await store.announce(announcementOf(meant.map(({ key }) => key)));
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason as Error;
        // What is left over expires by itself.
        await Promise.allSettled(meant.map(({ tidy }) => tidy()));
      }
    },
  };
}
