import { isFault, SallyportError } from '../kernel/error.ts';
import type { Bindings } from './binding.ts';

/** The upkeep of the bindings, while it waits for a store that was down. */
export interface BindingUpkeep {
  /** Gives up waiting. */
  stop(): Promise<void>;
}

/** What {@link keepBindings} tells of itself with. */
export interface BindingUpkeepDeps {
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly logFault: (error: unknown) => void;
  /** Milliseconds. */
  readonly retryMs?: number;
}

/**
 * Brings every binding under the first secret: once at start, so that an older secret can leave the configuration. Where
 * the store is down, a start does not wait for it: it is tried again in the background until it is done.
 *
 * @throws config_invalid when bindings open with none of the secrets: their names would look free, and whoever signs in
 *   next could take an account that is not theirs. (A start that finds the store down learns of it later, and logs it.)
 */
export async function keepBindings(bindings: Bindings, deps: BindingUpkeepDeps): Promise<BindingUpkeep> {
  const { logWarning, logFault, retryMs = 5000 } = deps;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function renew(): Promise<void> {
    const { renewed, unreadable, disputed } = await bindings.renew();
    if (renewed > 0) logWarning('bindings were sealed anew under the first secret', { bindings: renewed });
    for (const { kind, issuer, subject } of disputed) {
      const holder = { kind, issuer, subject };
      logWarning(
        'a name was bound twice under two secrets: the binding under the first secret stands',
        holder,
      );
    }
    if (unreadable > 0) throw unreadableBindings(unreadable);
  }

  async function tryAgain(): Promise<void> {
    try {
      await renew();
    } catch (error) {
      if (!isFault(error, 'store_unavailable')) logFault(error);
      else if (!stopped) wait();
    }
  }

  function wait(): void {
    timer = setTimeout(() => void tryAgain(), retryMs);
    timer.unref();
  }

  try {
    await renew();
  } catch (error) {
    if (!isFault(error, 'store_unavailable')) throw error;
    wait();
  }
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      return Promise.resolve();
    },
  };
}

function unreadableBindings(count: number): SallyportError {
  return new SallyportError(
    'config_invalid',
    `${count} bindings of user names in the session store open with none of the configured secrets: list the secret that sealed them after the new one; if it is lost, sallyport users release --unreadable drops them`,
    { detail: 'binding_unreadable' },
  );
}
