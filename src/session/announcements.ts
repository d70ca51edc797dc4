import { sessionPrefix } from './directory.ts';

/** What replicas tell each other of sessions. `narrowed`: changed, and may do less than before. */
export type SessionNews = 'ended' | 'changed' | 'narrowed';

/** An announcement as it was heard. */
export interface Announcement {
  readonly news: SessionNews;
  /** Store keys. */
  readonly keys: readonly string[];
}

/**
 * The first word of each: releases that know one only are told nothing by the others. One that does not know of changes asks the store
 * again within `session.cache`.
 */
const words: Readonly<Record<SessionNews, string>> = { ended: '1', changed: '2', narrowed: '3' };

/** What to announce: a word, and hashes that open nothing. */
export function announcementOf(keys: readonly string[], news: SessionNews = 'ended'): string {
  return [words[news], ...keys.map((key) => key.slice(sessionPrefix.length))].join(' ');
}

/** What an announcement says; undefined when it is none, or of a kind that this release does not know. */
export function readAnnouncement(message: string): Announcement | undefined {
  const [word, ...members] = message.split(' ');
  const news = (['ended', 'changed', 'narrowed'] as const).find((each) => words[each] === word);
  const keys = members
    .filter((member) => memberPattern.test(member))
    .map((member) => `${sessionPrefix}${member}`);
  return news === undefined || keys.length === 0 ? undefined : { news, keys };
}

const memberPattern = /^[A-Za-z0-9_-]{43}$/;
