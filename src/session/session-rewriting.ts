import { announcementOf } from './announcements.ts';
import type { SessionNews } from './announcements.ts';
import type { Directory } from './directory.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import type { Sealing } from './sealing.ts';
import type { SessionRewriting, Store } from './types.ts';

/** What {@link createSessionRewriting} is made of. */
export interface SessionRewritingDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly directory: Directory;
  /** The cookie value of a session that memory holds. */
  readonly cookieValueOf: (key: string) => string | undefined;
  /** This replica's memory is told at once, whether or not the store can tell the others. */
  readonly hear: (news: SessionNews, keys: readonly string[]) => void;
}

/** Writes records anew, over a store. */
export function createSessionRewriting(deps: SessionRewritingDeps): SessionRewriting {
  const { store, sealing, directory } = deps;
  return {
    async read(key, cookieValue = deps.cookieValueOf(key)) {
      const stored = cookieValue === undefined ? undefined : await store.get(key);
      if (cookieValue === undefined || stored === undefined) return undefined;
      const bytes = sealing.openSession(cookieValue, stored.sealed);
      const record = bytes === undefined ? undefined : decodeRecord(bytes);
      return record === undefined ? undefined : { key, cookieValue, record, sealed: stored.sealed };
    },
    async rewrite({ key, cookieValue, sealed }, record, judgement, narrowed) {
      const next = sealing.sealSession(cookieValue, encodeRecord(record));
      if (!(await store.replace(key, sealed, next))) return false;
      const news = narrowed ? 'narrowed' : 'changed';
      deps.hear(news, [key]);
      // It is done, whatever becomes of the rest: a replica that is not told asks within session.cache, the card is for show.
      await store.announce(announcementOf([key], news)).catch(() => undefined);
      if (judgement !== undefined) await directory.judged(key, judgement).catch(() => undefined);
      return true;
    },
    recheck: (key) => deps.hear('changed', [key]),
  };
}
