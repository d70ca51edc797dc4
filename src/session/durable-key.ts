import { SallyportError } from '../kernel/error.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './types.ts';

const mostRounds = 3;

/** Everything that must outlive sessions and secrets stands under this prefix of the store. */
export const durablePrefix = 'durable:';
/** The purpose that the keys made here are sealed for. */
export const durableKeyPurpose = 'durable-key';

/**
 * A key that all replicas share for good: made once, kept in the store sealed under the secret alone, and the same for
 * whoever asks. What an older secret has sealed is sealed anew under the first, so that the older one can go.
 *
 * @param name e.g. `assertion`
 * @param make called when there is none yet; of several replicas at once, one's result is kept
 * @throws store_unavailable
 * @throws config_invalid when what is kept opens with none of the configured secrets
 */
export async function loadOrCreateSealed(
  store: Store,
  sealing: Sealing,
  name: string,
  make: () => Buffer | Promise<Buffer>,
): Promise<Buffer> {
  const key = `${durablePrefix}${name}`;
  for (let round = 0; round < mostRounds; round += 1) {
    const stored = await store.get(key);
    if (stored !== undefined) {
      const opened = sealing.openSharedDetailed(durableKeyPurpose, stored.sealed, key);
      // Not made anew: the replicas that can still open it would go on with another key than this one.
      if (opened === undefined) throw unreadable(key);
      if (!opened.sealedByFirst)
        await store.put(key, sealing.sealShared(durableKeyPurpose, opened.plaintext, key), Infinity);
      return opened.plaintext;
    }
    const made = await make();
    if (await store.putIfAbsent(key, sealing.sealShared(durableKeyPurpose, made, key), undefined))
      return made;
  }
  throw new SallyportError('store_unavailable', `the store does not keep ${key}`);
}

function unreadable(key: string): SallyportError {
  return new SallyportError(
    'config_invalid',
    `${key} in the session store opens with none of the configured secrets: list the secret that sealed it, or delete that key`,
    { detail: 'durable_key_unreadable' },
  );
}
