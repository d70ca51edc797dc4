import type { Pool } from 'undici';
import { digestOf } from '../config/comparison.ts';
import type { Generation } from '../generation.ts';
import { SharedParts } from '../kernel/shared-parts.ts';
import type { AddressTest } from './edge.ts';
import { trustTest } from './edge.ts';
import type { BuildUpstreamHeaders } from './headers.ts';
import { createUpstreamHeaders, ownCookieNames } from './headers.ts';
import type { ExchangeContext } from './http.ts';
import type { PublicServerDeps } from './types.ts';
import { connectUpstream } from './upstream.ts';

/** What the requests of one generation run on, and how many of them there are. */
export class Lane {
  readonly context: ExchangeContext;
  readonly buildHeaders: BuildUpstreamHeaders;
  readonly isTrusted: AddressTest;
  #running = 0;
  #onEmpty: (() => void) | undefined;

  constructor(context: ExchangeContext, buildHeaders: BuildUpstreamHeaders, isTrusted: AddressTest) {
    this.context = context;
    this.buildHeaders = buildHeaders;
    this.isTrusted = isTrusted;
  }

  enter(): void {
    this.#running += 1;
  }

  /** To be called once for each {@link enter}. */
  leave(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#onEmpty?.();
  }

  /** Resolves when no request runs here; nothing may enter any more. */
  emptied(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#running === 0) resolve();
      else this.#onEmpty = resolve;
    });
  }
}

/** The lanes of the generation in force and of those that have requests left. */
export interface Lanes {
  /** The generation's lane, made when it is first asked for. @throws when its files can't be read or used */
  of(generation: Generation): Lane;
  /**
   * The generation is in force no more: when its last request has ended, its connections to the upstream close, unless another
   * generation uses the same. Resolves then.
   */
  retire(generation: Generation): Promise<void>;
  /** Closes every connection to the upstream. */
  close(): Promise<void>;
}

/** Makes lanes. @param maxHeaderSizeBytes `server.max_header_size`, which no reload changes */
export function createLanes(
  deps: Pick<PublicServerDeps, 'meter' | 'boundCookies' | 'boundCookiesOf'>,
  maxHeaderSizeBytes: number,
): Lanes {
  const lanes = new WeakMap<Generation, { readonly lane: Lane; readonly poolKey: string }>();
  const closing = new Set<Pool>();
  const pools = new SharedParts<Pool>((pool) => {
    closing.add(pool);
    // Gracefully: tunnels have left it, and no request is left on it but those that nobody waits for.
    void pool.close().finally(() => closing.delete(pool));
  });
  let lastGeneration: Generation | undefined;
  let lastLane: Lane | undefined;

  function make(generation: Generation): { readonly lane: Lane; readonly poolKey: string } {
    const { config } = generation;
    const { upstream } = config;
    const { url, tls, connect_timeout, response_timeout, idle_timeout } = upstream;
    const poolKey = digestOf({ url, tls, connect_timeout, response_timeout, idle_timeout });
    const isTrusted = trustTest(config.server.trusted_proxies);
    const boundCookies =
      deps.boundCookiesOf === undefined ? deps.boundCookies : deps.boundCookiesOf(generation);
    const buildHeaders = createUpstreamHeaders(config, boundCookies);
    const pool = pools.take(poolKey, () => connectUpstream(upstream, maxHeaderSizeBytes).pool);
    const context: ExchangeContext = {
      pool,
      meter: deps.meter,
      ownCookies: ownCookieNames(config),
      boundCookies,
      idleTimeoutMs: idle_timeout,
    };
    return { lane: new Lane(context, buildHeaders, isTrusted), poolKey };
  }

  function entryOf(generation: Generation): { readonly lane: Lane; readonly poolKey: string } {
    let entry = lanes.get(generation);
    if (entry === undefined) lanes.set(generation, (entry = make(generation)));
    return entry;
  }

  return {
    of(generation) {
      if (generation === lastGeneration && lastLane !== undefined) return lastLane;
      const { lane } = entryOf(generation);
      lastGeneration = generation;
      lastLane = lane;
      return lane;
    },
    async retire(generation) {
      const entry = lanes.get(generation);
      if (entry === undefined) return;
      await entry.lane.emptied();
      pools.release(entry.poolKey);
    },
    async close() {
      await Promise.all([...pools.drain(), ...closing].map((pool) => pool.destroy()));
    },
  };
}
