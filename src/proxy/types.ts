import type { FastifyInstance } from 'fastify';
import type { Generation, CurrentGeneration } from '../generation.ts';
import type { AccessEntry } from '../kernel/access-entry.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Meter } from '../kernel/meter.ts';
import type { Randomness } from '../kernel/randomness.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import type { BoundCookies } from '../session/bound-cookies.ts';
import type { OpenedSession, HeldRecord, Sessions, SessionWatch } from '../session/types.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the edge before any handler runs. */
    facts: RequestFacts;
    /** The generation this request captured. */
    generation: Generation;
  }
}

/** A finished answer to a refused request; written as it is, to a Fastify reply or to a raw socket. */
export interface RenderedResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Turns a refusal into a page, JSON or redirect, by who asked. Implemented in endpoints/render.ts. */
export type RenderRefusal = (
  refusal: Refusal,
  facts: RequestFacts,
  generation: Generation,
) => RenderedResponse;

/** What a browser is told when its session has been ended on the upstream's word. */
export interface SignedOut {
  /** Where a person goes next: to the IdP's sign-out, or to our own page. */
  readonly location: string;
  /** Whole `Set-Cookie` values. */
  readonly setCookies: readonly string[];
}

/** Ends a session because the upstream has signed its user out. @throws store_unavailable */
export type EndSession = (
  request: { readonly facts: RequestFacts; readonly generation: Generation },
  record: HeldRecord,
  cookieValue: string,
) => Promise<SignedOut>;

/** What an access token opens, or why it opens nothing. Implemented in signin/bearer.ts. */
export type OpenBearer = (
  token: string,
  facts: RequestFacts,
  generation: Generation,
) => BearerResult | Promise<BearerResult>;

/**
 * Told of a session whose tokens are due for refresh, by a request that found it so: see to it that they are refreshed. Never throws,
 * never rejects. Implemented in signin/token-refresh.ts.
 *
 * @returns something to wait for, where the request can't do without
 */
export type RefreshSession = (
  session: OpenedSession,
  facts: RequestFacts,
  generation: Generation,
) => Promise<void> | undefined;

/** See {@link OpenBearer}. */
export type BearerResult =
  | { readonly ok: true; readonly session: OpenedSession }
  | {
      readonly ok: false;
      readonly status: 401 | 403 | 429;
      readonly code: string;
      readonly hint: string;
      readonly retryAfterSeconds?: number;
    };

export interface PublicServerDeps {
  readonly generations: CurrentGeneration;
  readonly sessions: Sessions;
  /** Tells of sessions' ends, so that what runs under them is closed. */
  readonly sessionWatch?: SessionWatch;
  /** The upstream's cookies that are tied to the session that made them, if it has any. */
  readonly boundCookies?: BoundCookies | undefined;
  /** The same for each generation, where a reload may change them; instead of `boundCookies`. */
  readonly boundCookiesOf?: (generation: Generation) => BoundCookies | undefined;
  /** Without it, the upstream's sign-out is its own affair. */
  readonly endSession?: EndSession;
  /** Without it, no access token is taken. */
  readonly openBearer?: OpenBearer;
  /** Without it, tokens are never refreshed. */
  readonly refreshSession?: RefreshSession;
  readonly render: RenderRefusal;
  /** Registers everything under `server.path_prefix`; runs in its own Fastify scope, with that prefix. */
  readonly registerEndpoints: (scope: FastifyInstance) => Promise<void>;
  readonly accessLog: ((entry: AccessEntry) => void) | undefined;
  /** A fault that was answered with 5xx: logged with stack, never shown. */
  readonly logFault: (error: unknown, facts: RequestFacts | undefined) => void;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly randomness: Randomness;
}
