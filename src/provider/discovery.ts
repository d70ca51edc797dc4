import type { ServerMetadata } from 'openid-client';
import type { Clock } from '../kernel/clock.ts';
import { isFault, SallyportError } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import type { Randomness } from '../kernel/randomness.ts';
import { idpUnavailable } from './idp-fault.ts';
import type { ProviderStatus } from './types.ts';

/** How often discovery is tried. */
export interface DiscoveryPace {
  /** The first wait after a failure, doubled up to `maxRetryMs`; default 1 s. */
  readonly firstRetryMs?: number;
  /** Default 60 s. */
  readonly maxRetryMs?: number;
  /** How long a document serves before it is fetched again; default 1 h. */
  readonly refreshMs?: number;
}

/** What discovery needs of the world. */
export interface DiscoveryDeps {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly meter: Meter;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly limits?: DiscoveryPace;
  /** Called with each document that differs from the last. */
  readonly onChange: (metadata: ServerMetadata) => void;
}

/** A source's discovery document, kept fresh in the background. */
export interface Discovery {
  /** The first attempt; settles with it, whatever came of it. Retries go on in the background. Never rejects. */
  start(): Promise<void>;
  /** The document; where there is none yet, one attempt is made at once. @throws idp_unavailable */
  metadata(): Promise<ServerMetadata>;
  /** The document, if there is one. */
  known(): ServerMetadata | undefined;
  status(): ProviderStatus;
  /** Another request to the IdP failed: shown as unavailable until discovery works again, which is tried soon. */
  doubt(cause: SallyportError): void;
  close(): void;
}

/** Faults that are the network's or the server's: what discovery, tried again, can tell to be over. */
const outages = new Set(['connection', 'timeout', 'status']);

/** Sets up the background discovery of one source; nothing happens before `start()` or `metadata()`. */
export function createDiscovery(
  sourceId: string,
  discover: () => Promise<ServerMetadata>,
  deps: DiscoveryDeps,
): Discovery {
  const { clock, limits } = deps;
  const firstRetryMs = limits?.firstRetryMs ?? 1000;
  const maxRetryMs = limits?.maxRetryMs ?? 60_000;
  const refreshMs = limits?.refreshMs ?? 3_600_000;
  let metadata: ServerMetadata | undefined;
  let status: ProviderStatus = {
    available: false,
    sinceMs: clock.nowMs(),
    cause: 'discovery has not run yet',
  };
  let failures = 0;
  let lastFault: { readonly fault: SallyportError; readonly atMs: number } | undefined;
  let flight: Promise<ServerMetadata> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function schedule(delayMs: number): void {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => void attempt().catch(() => undefined), delayMs);
    timer.unref();
  }

  function retryDelayMs(): number {
    const full = Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(failures - 1, 20));
    // Half of it at random: replicas that lost their IdP together do not come back together.
    return full / 2 + (full / 2) * ((deps.randomness.bytes(1)[0] ?? 0) / 255);
  }

  function show(available: boolean, cause?: string): void {
    const sinceMs = status.available === available ? status.sinceMs : clock.nowMs();
    status = { available, sinceMs, ...(cause === undefined ? {} : { cause }) };
    deps.meter.idpUp(sourceId, available);
  }

  function failed(error: SallyportError): void {
    failures += 1;
    lastFault = { fault: error, atMs: clock.nowMs() };
    show(false, `${error.detail ?? error.code}: ${error.message}`);
    if (failures === 1) {
      deps.logWarning('the identity provider is unavailable', {
        auth_source: sourceId,
        detail: error.detail,
        cause: error.message,
      });
    }
    schedule(retryDelayMs());
  }

  function attempt(): Promise<ServerMetadata> {
    flight ??= (async () => {
      try {
        const found = await discover();
        if (JSON.stringify(found) !== JSON.stringify(metadata)) deps.onChange(found);
        metadata = found;
        failures = 0;
        show(true);
        schedule(refreshMs);
        return found;
      } catch (error) {
        const fault = isFault(error, 'idp_unavailable')
          ? error
          : idpUnavailable('metadata_unusable', 'discovery failed unexpectedly', error);
        if (!closed) failed(fault);
        throw fault;
      } finally {
        flight = undefined;
      }
    })();
    return flight;
  }

  return {
    async start() {
      await attempt().catch(() => undefined);
    },
    async metadata() {
      if (closed) throw idpUnavailable('closed', 'the source has been closed');
      if (metadata !== undefined) return metadata;
      // A crowd that wants to sign in while the IdP hangs is not made to wait for it one after the other.
      const waitedMs = lastFault === undefined ? Infinity : clock.nowMs() - lastFault.atMs;
      if (lastFault !== undefined && flight === undefined && waitedMs >= 0 && waitedMs < firstRetryMs)
        throw lastFault.fault;
      return attempt();
    },
    known: () => metadata,
    status: () => status,
    doubt(cause) {
      if (closed || !outages.has(cause.detail ?? '')) return;
      failed(cause);
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
