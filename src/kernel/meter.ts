/**
 * What is counted, in the product's own words (SPEC section 9). Every label is bounded: route names, never paths.
 * Implemented by operations/metrics.ts; {@link silentMeter} where nobody counts.
 */
export interface Meter {
  httpRequest(route: string, access: string, method: string, status: number, seconds: number): void;
  /** Answered without having been understood: no route, no method, no duration. @param status 400, 408 or 431 */
  unreadableRequest(status: number): void;
  upstreamRequest(seconds: number): void;
  upstreamError(kind: 'refused' | 'reset' | 'timeout' | 'tls' | 'other'): void;
  signIn(source: string, result: 'succeeded' | 'rejected' | 'failed'): void;
  mfaVerdict(verdict: {
    readonly source: string;
    readonly aal: string;
    /** `verified | would_reject | none | attested | rejected` */
    readonly outcome: string;
    /** A reason code, or `none`. */
    readonly reason: string;
    readonly strength: 'strict' | 'weak' | 'none';
  }): void;
  stepUp(source: string, result: 'satisfied' | 'insufficient'): void;
  /** `refused`: by the IdP; `rejected`: its answer, by us; `failed`: no answer, to be tried again. */
  tokenRefresh(source: string, result: 'refreshed' | 'lowered' | 'refused' | 'rejected' | 'failed'): void;
  sessionCache(result: 'hit' | 'miss' | 'stale'): void;
  sessionCreated(): void;
  sessionEnded(why: string): void;
  storeCommand(command: string, seconds: number): void;
  storeUp(up: boolean): void;
  idpRequest(source: string, endpoint: string, result: 'ok' | 'error' | 'timeout'): void;
  idpUp(source: string, up: boolean): void;
  logout(kind: 'local' | 'rp_initiated' | 'backchannel' | 'frontchannel'): void;
  auditLost(): void;
  rateLimited(endpoint: string): void;
  /** A configuration was applied, or refused. @param atMs milliseconds since the epoch */
  configReload(result: 'applied' | 'refused', atMs: number): void;
}

const nothing = (): void => undefined;

/** Counts nothing. */
export const silentMeter: Meter = {
  httpRequest: nothing,
  unreadableRequest: nothing,
  upstreamRequest: nothing,
  upstreamError: nothing,
  signIn: nothing,
  mfaVerdict: nothing,
  stepUp: nothing,
  tokenRefresh: nothing,
  sessionCache: nothing,
  sessionCreated: nothing,
  sessionEnded: nothing,
  storeCommand: nothing,
  storeUp: nothing,
  idpRequest: nothing,
  idpUp: nothing,
  logout: nothing,
  auditLost: nothing,
  rateLimited: nothing,
  configReload: nothing,
};
