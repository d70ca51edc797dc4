import type { OpenedSession, SessionTokens } from './types.ts';

/** Tokens as an IdP brings them. */
export interface BroughtTokens {
  readonly idToken: string | undefined;
  readonly accessToken: string | undefined;
  /** Seconds since the epoch. */
  readonly accessTokenExpiresAt: number | undefined;
  readonly refreshToken: string | undefined;
}

/** An access token is due for refresh in the last part of its life, and within these bounds before its end. Seconds. */
const duePart = 0.2;
const leastLeadSeconds = 10;
const mostLeadSeconds = 60;

/**
 * Only what somebody will use: the ID token as the hint of sign-out, the access token where the upstream gets it, the refresh token where
 * it is known when it will be needed.
 *
 * @param passAccessToken `upstream.pass_access_token`
 * @param nowSeconds when they came, in seconds since the epoch
 */
export function keptTokens(
  { idToken, accessToken, accessTokenExpiresAt, refreshToken }: BroughtTokens,
  passAccessToken: boolean,
  nowSeconds: number,
): SessionTokens {
  const refreshable = refreshToken !== undefined && accessTokenExpiresAt !== undefined;
  return {
    idToken,
    accessToken: passAccessToken ? accessToken : undefined,
    accessTokenExpiresAt: passAccessToken || refreshable ? accessTokenExpiresAt : undefined,
    refreshToken: refreshable ? refreshToken : undefined,
    refreshDueAt: refreshable ? dueAt(nowSeconds, accessTokenExpiresAt) : undefined,
  };
}

/** Some time before the end; of a very short life, no more than half. */
function dueAt(nowSeconds: number, expiresAt: number): number {
  const lifeSeconds = Math.max(0, expiresAt - nowSeconds);
  const lead = Math.min(Math.max(lifeSeconds * duePart, leastLeadSeconds), mostLeadSeconds, lifeSeconds / 2);
  // However short: never more than one a second.
  return Math.max(expiresAt - lead, nowSeconds + 1);
}

/** The same tokens, once the refresh token is of no more use; what has expired goes too. */
export function spentTokens(tokens: SessionTokens, nowSeconds: number): SessionTokens {
  const { accessTokenExpiresAt } = tokens;
  const expired = accessTokenExpiresAt !== undefined && accessTokenExpiresAt <= nowSeconds;
  return {
    ...tokens,
    ...(expired ? { accessToken: undefined, accessTokenExpiresAt: undefined } : {}),
    refreshToken: undefined,
    refreshDueAt: undefined,
  };
}

/** Whether a request that comes now should start a refresh: one comparison, on the path of every request. */
export function isRefreshDue({ record }: Pick<OpenedSession, 'record'>, nowMs: number): boolean {
  const { refreshDueAt } = record.tokens;
  return refreshDueAt !== undefined && nowMs >= refreshDueAt * 1000;
}
