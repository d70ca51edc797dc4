import { isFault, SallyportError } from '../kernel/error.ts';
import type { AssertionSigner } from './assertion.ts';

/**
 * A signer whose key may not be there yet: a proxy must be able to start while the store is down. Nothing is signed without it; the
 * key is asked for again by whoever needs it next.
 *
 * @param load makes the real signer; rejects with `store_unavailable` while the store is down
 */
export function deferSigner(load: () => Promise<AssertionSigner>): AssertionSigner & {
  /** Loads the key now. @throws store_unavailable, config_invalid */
  prepare(): Promise<void>;
} {
  let ready: AssertionSigner | undefined;
  let loading: Promise<AssertionSigner> | undefined;

  function signer(): Promise<AssertionSigner> {
    if (ready !== undefined) return Promise.resolve(ready);
    loading ??= load().then(
      (loaded) => (ready = loaded),
      (error: unknown) => {
        loading = undefined;
        throw error;
      },
    );
    return loading;
  }

  return {
    async prepare() {
      await signer();
    },
    async sign(session, standing, origin, nowSeconds) {
      return (await signer()).sign(session, standing, origin, nowSeconds);
    },
    jwks() {
      if (ready !== undefined) return ready.jwks();
      signer().catch((error: unknown) => {
        if (!isFault(error, 'store_unavailable')) throw error;
      });
      throw new SallyportError('store_unavailable', 'the assertion key has not been read from the store yet');
    },
  };
}
