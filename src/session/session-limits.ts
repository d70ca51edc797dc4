import type { HeldRecord } from './types.ts';

/** The limits of sessions. They are asked for at each use: a reload may change them. Milliseconds. */
export interface SessionLimits {
  /** `session.idle_timeout`: never earlier, at most 60 s later. */
  readonly idleTimeoutMs: number;
  /** `session.absolute_timeout`: a record's own `expiresAt` may only be shorter. */
  readonly absoluteTimeoutMs: number;
}

/** Idle time is written at most this often a session; so a session may outlive its idle limit by this much. Milliseconds. */
export const touchEveryMs = 60_000;

/** The store's answer takes less than this; so a key that is to last to the absolute limit is seen to last to it. Milliseconds. */
export const latencyMs = 1000;

/** When a session ends for good: its own limit, or the one in force now if that is sooner. Milliseconds since the epoch. */
export function endOf(
  { expiresAt, issuedAt }: Pick<HeldRecord, 'expiresAt' | 'issuedAt'>,
  limits: SessionLimits,
): number {
  return Math.min(expiresAt * 1000, issuedAt * 1000 + limits.absoluteTimeoutMs);
}

/** How long a key that is written now is to live in the store. Milliseconds. */
export function lifeInStore(endsAtMs: number, nowMs: number, limits: SessionLimits): number {
  return Math.min(limits.idleTimeoutMs + touchEveryMs, endsAtMs - nowMs + latencyMs);
}

/** From when on a use must lengthen the key's life in the store, or that would end before the idle limit. */
export function touchDueAt(endsAtMs: number, storedUntilMs: number, limits: SessionLimits): number {
  // Within the last stretch before the absolute limit there is nothing left to lengthen.
  return storedUntilMs >= endsAtMs ? Infinity : storedUntilMs - limits.idleTimeoutMs;
}
