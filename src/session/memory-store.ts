import { createForwardClock, type Clock } from '../kernel/clock.ts';
import { createMemorySets } from './memory-sets.ts';
import type { Store, StoredRecord, StoreHealth, StoreListener } from './types.ts';

interface Held {
  readonly value: Buffer;
  /** Milliseconds since the epoch; Infinity: never. */
  expiresAtMs: number;
}

/** Keys that nobody asks for again are swept out this often at most. */
const sweepEveryMs = 30_000;

/** A store in this process's memory: for one process, lost at restart, never down. */
export function createMemoryStore(wallClock: Clock): Store {
  // Everything here lasts for a while: for no longer because somebody sets the clock back.
  const clock = createForwardClock(wallClock);
  const held = new Map<string, Held>();
  const upSince: StoreHealth = Object.freeze({ up: true, sinceMs: wallClock.nowMs() });
  let sweptAtMs = clock.nowMs();

  const groups = createShelf<Map<string, { label: Buffer; count: number }>>(clock);
  const lists = createShelf<Buffer[]>(clock);
  const sets = createMemorySets(clock);
  const listeners = new Set<StoreListener>();

  function find(key: string): Held | undefined {
    const entry = held.get(key);
    if (entry === undefined || clock.nowMs() < entry.expiresAtMs) return entry;
    held.delete(key);
    return undefined;
  }

  function findAs(key: string, expected: Buffer): Held | undefined {
    const entry = find(key);
    return entry?.value.equals(expected) === true ? entry : undefined;
  }

  function keep(key: string, value: Buffer, ttlMs: number): void {
    const nowMs = clock.nowMs();
    if (nowMs - sweptAtMs >= sweepEveryMs) {
      sweptAtMs = nowMs;
      for (const [other, entry] of held) if (nowMs >= entry.expiresAtMs) held.delete(other);
    }
    held.set(key, { value: Buffer.from(value), expiresAtMs: nowMs + ttlMs });
  }

  return {
    get(key) {
      const entry = find(key);
      const record: StoredRecord | undefined =
        entry === undefined ? undefined : { sealed: entry.value, ttlMs: entry.expiresAtMs - clock.nowMs() };
      return Promise.resolve(record);
    },
    put(key, sealed, ttlMs) {
      keep(key, sealed, ttlMs);
      return Promise.resolve();
    },
    touch(key, ttlMs) {
      const entry = find(key);
      if (entry !== undefined) entry.expiresAtMs = clock.nowMs() + ttlMs;
      return Promise.resolve(entry !== undefined);
    },
    delete: (key) => Promise.resolve(find(key) !== undefined && held.delete(key)),
    replace(key, expected, next) {
      const entry = findAs(key, expected);
      if (entry !== undefined) held.set(key, { ...entry, value: Buffer.from(next) });
      return Promise.resolve(entry !== undefined);
    },
    touchIf(key, expected, ttlMs) {
      const entry = findAs(key, expected);
      if (entry !== undefined) entry.expiresAtMs = clock.nowMs() + ttlMs;
      return Promise.resolve(entry !== undefined);
    },
    deleteIf: (key, expected) => Promise.resolve(findAs(key, expected) !== undefined && held.delete(key)),
    putIfAbsent(key, value, ttlMs) {
      const absent = find(key) === undefined;
      if (absent) keep(key, value, ttlMs ?? Infinity);
      return Promise.resolve(absent);
    },
    // Not suspended by anything: an async generator all the same, as whoever reads it expects to wait.
    // eslint-disable-next-line @typescript-eslint/require-await -- the port's keys come asynchronously; memory has them at hand
    async *keys(wanted) {
      for (const key of [...held.keys()]) if (key.startsWith(wanted) && find(key) !== undefined) yield key;
    },
    count(key, field, label, ttlMs) {
      const counters = groups.get(key, ttlMs, () => new Map<string, { label: Buffer; count: number }>());
      const counter = counters.get(field) ?? { label: Buffer.from(label), count: 0 };
      counter.count += 1;
      counters.set(field, counter);
      return Promise.resolve();
    },
    counts: (key) =>
      Promise.resolve([...(groups.find(key) ?? [])].map(([field, counter]) => ({ field, ...counter }))),
    prepend(key, value, most, ttlMs) {
      const list = lists.get(key, ttlMs, () => []);
      list.unshift(Buffer.from(value));
      list.splice(most);
      return Promise.resolve();
    },
    list: (key) => Promise.resolve([...(lists.find(key) ?? [])]),
    life(key) {
      const entry = find(key);
      return Promise.resolve(entry === undefined ? undefined : entry.expiresAtMs - clock.nowMs());
    },
    addMember: (...added) => sets.addMember(...added),
    members: (key) => sets.members(key),
    removeMember: (key, member) => sets.removeMember(key, member),
    announce(message) {
      for (const listener of listeners) listener.heard(message);
      return Promise.resolve();
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    health: () => upSince,
    ping: () => Promise.resolve(),
    close() {
      held.clear();
      groups.clear();
      lists.clear();
      sets.clear();
      listeners.clear();
      return Promise.resolve();
    },
  };
}

/** Things that expire together, by key; few enough for a sweep at every new one. */
function createShelf<T>(clock: Clock) {
  const things = new Map<string, { thing: T; expiresAtMs: number }>();
  const find = (key: string): T | undefined => {
    const entry = things.get(key);
    return entry !== undefined && clock.nowMs() < entry.expiresAtMs ? entry.thing : undefined;
  };
  return {
    find,
    /** The thing at `key`, made where there is none; it lives `ttlMs` from now. */
    get(key: string, ttlMs: number, make: () => T): T {
      const nowMs = clock.nowMs();
      const found = find(key);
      if (found === undefined) {
        for (const [other, entry] of things) if (nowMs >= entry.expiresAtMs) things.delete(other);
      }
      const thing = found ?? make();
      things.set(key, { thing, expiresAtMs: nowMs + ttlMs });
      return thing;
    },
    clear: () => things.clear(),
  };
}
