import type { Sealing } from './sealing.ts';

/** A sealing that is always today's: whoever holds it need not know of reloads. */
export function currentSealing(current: () => Sealing): Sealing {
  return {
    get id() {
      return current().id;
    },
    sessionKey: (cookieValue) => current().sessionKey(cookieValue),
    sealSession: (cookieValue, plaintext) => current().sealSession(cookieValue, plaintext),
    openSession: (cookieValue, sealed) => current().openSession(cookieValue, sealed),
    sealShared: (...given) => current().sealShared(...given),
    openShared: (purpose, sealed, aad) => current().openShared(purpose, sealed, aad),
    openSharedDetailed: (purpose, sealed, aad) => current().openSharedDetailed(purpose, sealed, aad),
    indexKeys: (purpose, value) => current().indexKeys(purpose, value),
  };
}
