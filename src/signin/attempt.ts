import { createHash, timingSafeEqual } from 'node:crypto';
import type { Source } from '../generation.ts';
import { nowSeconds, type Clock } from '../kernel/clock.ts';
import { randomToken, type Randomness } from '../kernel/randomness.ts';
import { attemptCookie } from '../session/cookie.ts';
import type { Sealing } from '../session/sealing.ts';
import type { CanaryOrigin } from './canary.ts';

/** What a trip to the IdP is for. */
export type Purpose = 'signin' | 'step_up' | 'canary';

/** A sign-in under way, as the browser carries it, sealed. */
export interface Attempt {
  readonly version: 1;
  readonly source: string;
  readonly purpose: Purpose;
  /** {@link policyFingerprint} of what was asked for. */
  readonly fingerprint: string;
  readonly nonce: string;
  /** PKCE code verifier (RFC 7636 section 4.1). */
  readonly verifier: string;
  readonly state: string;
  /** A local path. */
  readonly returnTo: string;
  /** The origin it was started at; its redirect URI stands there. */
  readonly origin: string;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  /** The same in milliseconds; the version before did not note it. */
  readonly createdAtMs?: number;
  /** A fresh authentication was asked for. */
  readonly fresh: boolean;
  /** It was started over already because the policy had changed: not a second time. */
  readonly restarted: boolean;
  /** Of a canary alone: who set it going, and with which one-time link. */
  readonly canary?: CanaryStart | undefined;
}

/** How a canary sign-in was set going. */
export interface CanaryStart {
  readonly origin: CanaryOrigin;
  /** The subject of the operator's session. */
  readonly startedBy?: string | undefined;
  readonly ticket?: string | undefined;
}

/** How long an attempt may take, in seconds. */
export const attemptLifeSeconds = 600;

/** How many attempts one browser may have under way. */
export const maxAttempts = 5;

/** The part of the sealing that attempts need: under the secret alone, in a key of their own. */
export type AttemptSealing = Pick<Sealing, 'sealShared' | 'openShared'>;

/** A new attempt with fresh state, nonce and verifier of 256 bits each. */
export function createAttempt(
  choice: Pick<
    Attempt,
    'source' | 'purpose' | 'fingerprint' | 'returnTo' | 'origin' | 'fresh' | 'restarted' | 'canary'
  >,
  { clock, randomness }: { readonly clock: Clock; readonly randomness: Randomness },
): Attempt {
  return {
    version: 1,
    ...choice,
    nonce: randomToken(randomness),
    verifier: randomToken(randomness),
    state: randomToken(randomness),
    createdAt: nowSeconds(clock),
    createdAtMs: clock.nowMs(),
  };
}

/** A digest of everything that a source's authorization request asks for, and of whom; another one means: ask again. */
export function policyFingerprint({ config, policy }: Pick<Source, 'config' | 'policy'>): string {
  const asked = [
    config.issuer,
    config.client_id,
    config.scopes,
    policy.acrValues,
    policy.requestedClaims,
    policy.maxAuthAgeSeconds ?? null,
  ];
  return createHash('sha256').update(JSON.stringify(asked)).digest('base64url').slice(0, 22);
}

/** A digest under which a state may stand in a cookie's name and in the store: it gives the state away to nobody. */
export function stateDigest(state: string): string {
  return createHash('sha256').update(state).digest('base64url');
}

/**
 * The name of the attempt's cookie: one per state, so that parallel tabs do not overwrite each other.
 *
 * @param sessionCookieName effective name, from session/cookie.ts
 */
export function attemptCookieName(sessionCookieName: string, state: string): string {
  return attemptCookie(sessionCookieName, stateDigest(state).slice(0, 16));
}

/** The attempt as its cookie's value; it opens under that cookie's name alone. */
export function sealAttempt(sealing: AttemptSealing, cookieName: string, attempt: Attempt): string {
  return sealing
    .sealShared('attempt', Buffer.from(JSON.stringify(attempt)), cookieName)
    .toString('base64url');
}

/** The attempt that a cookie of this name and value carries; undefined where it does not open or is of another shape. */
export function openAttempt(sealing: AttemptSealing, cookieName: string, value: string): Attempt | undefined {
  const plaintext = sealing.openShared('attempt', Buffer.from(value, 'base64url'), cookieName);
  if (plaintext === undefined) return undefined;
  // Sealed by us, so it parses; only another version of us may have written another shape.
  const attempt = JSON.parse(plaintext.toString('utf8')) as Partial<Attempt>;
  return attempt.version === 1 ? (attempt as Attempt) : undefined;
}

/** Whether the attempt is past its ten minutes (or from a future that no clock skew explains). */
export function isExpired(attempt: Attempt, nowSeconds: number): boolean {
  return nowSeconds >= attempt.createdAt + attemptLifeSeconds || attempt.createdAt > nowSeconds + 60;
}

/** Compares two states without telling by time how much of them agrees. */
export function sameState(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
