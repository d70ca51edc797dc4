import type { Clock } from '../kernel/clock.ts';
import type { Store } from './types.ts';

/** The store's sets, in this process's memory. */
export interface MemorySets extends Pick<Store, 'addMember' | 'members' | 'removeMember'> {
  clear(): void;
}

const sweepEveryMs = 30_000;

/** Sets whose members end by themselves. */
export function createMemorySets(clock: Clock): MemorySets {
  /** By key, each member with its end in milliseconds since the epoch. */
  const sets = new Map<string, Map<string, number>>();
  let sweptAtMs = clock.nowMs();

  function sweep(nowMs: number): void {
    if (nowMs - sweptAtMs < sweepEveryMs) return;
    sweptAtMs = nowMs;
    for (const [key, members] of sets) {
      for (const [member, endsAtMs] of members) if (endsAtMs <= nowMs) members.delete(member);
      if (members.size === 0) sets.delete(key);
    }
  }

  return {
    addMember(key, member, ttlMs, most) {
      const nowMs = clock.nowMs();
      sweep(nowMs);
      const members = sets.get(key) ?? new Map<string, number>();
      sets.set(key, members.set(member, nowMs + ttlMs));
      const living = [...members].filter(([, endsAtMs]) => endsAtMs > nowMs);
      const beyond = living
        .sort(([, one], [, other]) => one - other)
        .slice(0, Math.max(0, living.length - most))
        .map(([other]) => other)
        .filter((other) => other !== member);
      for (const other of beyond) members.delete(other);
      return Promise.resolve(beyond);
    },
    members(key) {
      const nowMs = clock.nowMs();
      const living = [...(sets.get(key) ?? [])].filter(([, endsAtMs]) => endsAtMs > nowMs);
      return Promise.resolve(living.map(([member]) => member));
    },
    removeMember(key, member) {
      const members = sets.get(key);
      members?.delete(member);
      if (members?.size === 0) sets.delete(key);
      return Promise.resolve();
    },
    clear: () => sets.clear(),
  };
}
