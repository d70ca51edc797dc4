/**
 * How many sessions in use are remembered with what was worked out of them: a large house in its busiest minute, and some five per cent of
 * the sessions that memory may hold. Working it out again costs half of what a whole request does (and twice that where the assertion has
 * to be signed again); twice as many would cost a hundred thousand sessions their 200 MiB (`npm run bench:memory`).
 */
export const recentSessions = 4096;

/** What has been worked out lately, by the object it was worked out of. */
export interface Recent<K extends object, V> {
  get(key: K): V | undefined;
  set(key: K, value: V): void;
}

/**
 * Remembers for the latest `most` objects at least, and for twice as many at most, as long as these live: what can be worked out
 * again need not be held for a hundred thousand sessions of which a few are in use. Looking up costs what a WeakMap costs.
 */
export function createRecent<K extends object, V>(most: number): Recent<K, V> {
  let younger = new WeakMap<K, V>();
  let elder = new WeakMap<K, V>();
  let count = 0;

  function set(key: K, value: V): void {
    if (!younger.has(key) && (count += 1) > most) {
      elder = younger;
      younger = new WeakMap();
      count = 1;
    }
    younger.set(key, value);
  }

  return {
    get(key) {
      const young = younger.get(key);
      if (young !== undefined) return young;
      const found = elder.get(key);
      if (found !== undefined) set(key, found);
      return found;
    },
    set,
  };
}
