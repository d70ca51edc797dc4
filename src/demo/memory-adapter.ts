import type { Adapter, AdapterPayload } from 'oidc-provider';

/** More entries than a demo ever makes; the oldest go first, so that memory stays bounded all the same. */
const maxEntries = 5000;

/**
 * Where the demo identity provider keeps its codes, tokens and sessions: memory, gone with the process.
 *
 * node-oidc-provider brings one of its own, but warns on standard error about using it.
 */
export function createMemoryAdapter(): (model: string) => Adapter {
  const entries = new Map<string, AdapterPayload>();
  return (model) => {
    const keyOf = (id: string): string => `${model}:${id}`;
    const findBy = (member: 'uid' | 'userCode', value: string): AdapterPayload | undefined => {
      for (const [key, payload] of entries) {
        if (key.startsWith(`${model}:`) && payload[member] === value) return payload;
      }
      return undefined;
    };
    return {
      upsert: (id, payload) => {
        entries.delete(keyOf(id));
        entries.set(keyOf(id), payload);
        const oldest = entries.keys().next();
        if (entries.size > maxEntries && oldest.done !== true) entries.delete(oldest.value);
        return Promise.resolve();
      },
      find: (id) => Promise.resolve(entries.get(keyOf(id))),
      findByUid: (uid) => Promise.resolve(findBy('uid', uid)),
      findByUserCode: (userCode) => Promise.resolve(findBy('userCode', userCode)),
      consume: (id) => {
        const payload = entries.get(keyOf(id));
        // Only whether it is set matters: a code that was used once is refused.
        if (payload !== undefined) payload.consumed = 1;
        return Promise.resolve();
      },
      destroy: (id) => {
        entries.delete(keyOf(id));
        return Promise.resolve();
      },
      revokeByGrantId: (grantId) => {
        for (const [key, payload] of entries) if (payload.grantId === grantId) entries.delete(key);
        return Promise.resolve();
      },
    };
  };
}
