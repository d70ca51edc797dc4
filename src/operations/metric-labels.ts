/*
 * Label values that are known beforehand. Those that other rooms define stand here again, since this room may not import
 * them; tests compare.
 */

/** What answers without a route rule: our own endpoints, and refusals before any rule was matched. */
export const ownRoutes = [
  { name: 'sallyport', access: 'sallyport' },
  { name: 'none', access: 'none' },
] as const;

/** `access` of policy/types.ts, and our own. */
export const accesses = [
  'session',
  'credentials',
  'bearer',
  'public',
  'upstream',
  'deny',
  'sallyport',
  'none',
] as const;

export const upstreamErrors = ['refused', 'reset', 'timeout', 'tls', 'other'] as const;
export const signInResults = ['succeeded', 'rejected', 'failed'] as const;
export const stepUpResults = ['satisfied', 'insufficient'] as const;
/** `RefreshResult` of signin/token-refresh.ts. */
export const refreshResults = ['refreshed', 'lowered', 'refused', 'rejected', 'failed'] as const;
export const cacheResults = ['hit', 'miss', 'stale'] as const;
export const endings = [
  'signout',
  'backchannel',
  'frontchannel',
  'revoked',
  'replaced',
  'expired',
  'subject_changed',
  'source_removed',
] as const;
export const logouts = ['local', 'rp_initiated', 'backchannel', 'frontchannel'] as const;
export const reloadResults = ['applied', 'refused'] as const;
export const limitedEndpoints = [
  'signin',
  'callback',
  'signout',
  'canary',
  'backchannel-logout',
  'frontchannel-logout',
  'bearer',
] as const;
/** The commands that session/redis-store.ts sends. */
export const storeCommands = [
  'get',
  'set',
  'setnx',
  'pexpire',
  'del',
  'ping',
  'scan',
  'hincrby',
  'hgetall',
  'lpush',
  'lrange',
  'pttl',
  'zadd',
  'zrange',
  'zrem',
  'publish',
  'eval',
] as const;
export const idpEndpoints = ['discovery', 'jwks', 'token', 'userinfo', 'par'] as const;
export const idpResults = ['ok', 'error', 'timeout'] as const;

/** `AssuranceReason` of assurance/types.ts. */
export const assuranceReasons = [
  'amr_malformed',
  'acr_malformed',
  'claim_malformed',
  'mfa_claims_absent',
  'evidence_not_in_required_claim',
  'amr_not_mfa',
  'acr_mismatch',
  'claim_mismatch',
  'auth_time_missing',
  'auth_too_old',
  'auth_time_in_future',
  'idp_refused',
] as const;

interface VerdictLabels {
  readonly aal: string;
  readonly outcome: string;
  readonly reason: string;
  readonly strength: string;
}

/** Every combination that a verdict and its outcome can have (SPEC section 3). */
export function verdicts(): readonly VerdictLabels[] {
  const verified = ['strict', 'weak'].map((strength) => ({
    aal: 'aal2',
    outcome: 'verified',
    reason: 'none',
    strength,
  }));
  const rest = ['rejected', 'would_reject', 'attested', 'none'].flatMap((outcome) =>
    assuranceReasons.map((reason) => ({ aal: 'aal1', outcome, reason, strength: 'none' })),
  );
  return [...verified, ...rest];
}

const methods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'CONNECT',
  'TRACE',
  'PROPFIND',
  'REPORT',
  'MKCOL',
  'COPY',
  'MOVE',
  'LOCK',
  'UNLOCK',
  'SEARCH',
]);

/** The label of every method that is none of those known. */
export const otherMethod = 'OTHER';

/** What a request that could not be read is answered with. */
export const unreadableCodes = ['400', '408', '431'] as const;

/** A method as a label: anybody can invent one. */
export function methodLabel(method: string): string {
  return methods.has(method) ? method : otherMethod;
}

/** A status code as a label. */
export function codeLabel(status: number): string {
  return Number.isInteger(status) && status >= 100 && status <= 599 ? String(status) : 'other';
}
