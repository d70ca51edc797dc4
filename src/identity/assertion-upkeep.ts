import { isFault } from '../kernel/error.ts';
import type { Store } from '../session/types.ts';
import type { AssertionSigner } from './assertion.ts';

/** What {@link keepAssertionKey} is made of. */
export interface AssertionUpkeepDeps {
  readonly store: Pick<Store, 'listen'>;
  /** The signer in force; undefined while there is none yet. */
  readonly signer: () => Pick<AssertionSigner, 'restore'> | undefined;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly logFault: (error: unknown) => void;
  /** Milliseconds. */
  readonly retryMs?: number;
}

/**
 * Looks after the assertion key whenever the store comes back: one that was started again without its data gets the key back, and
 * the operator is told what else is gone with them.
 *
 * @returns ends it
 */
export function keepAssertionKey(deps: AssertionUpkeepDeps): () => void {
  const { logWarning, logFault, retryMs = 1000 } = deps;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function restore(): Promise<void> {
    clearTimeout(timer);
    try {
      if ((await deps.signer()?.restore()) !== true) return;
      logWarning(
        'the session store came back without its data: users sign in again, and user names are free until they are bound anew or imported',
        {},
      );
    } catch (error) {
      if (!isFault(error, 'store_unavailable')) logFault(error);
      // What is heard and what is asked go over links of their own, of which one may stand before the other.
      else if (!stopped) timer = setTimeout(() => void restore(), retryMs).unref();
    }
  }

  const stopListening = deps.store.listen({ heard: () => undefined, missed: () => void restore() });
  return () => {
    stopped = true;
    clearTimeout(timer);
    stopListening();
  };
}
