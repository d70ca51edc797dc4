import type { AssurancePolicy, Standing } from './assurance/types.ts';
import type { Config, SourceConfig } from './config/schema.ts';
import type { CanonicalTarget, RouteRule } from './policy/types.ts';
import type { Provider } from './provider/types.ts';
import type { HeldRecord, OpenedSession } from './session/types.ts';

/** A configured identity provider client, ready for use. */
export interface Source {
  readonly config: SourceConfig;
  readonly policy: AssurancePolicy;
  readonly provider: Provider;
}

/**
 * Everything that follows from one version of the configuration, frozen. Each request captures one generation and keeps it
 * to its end; a reload swaps the whole. Built in assembly/.
 */
export interface Generation {
  readonly config: Config;
  /** The origins in `server.public_url`; the first is the canonical one. */
  readonly publicOrigins: readonly string[];
  /** `Host` (lower-case, default port dropped) to its origin. Another Host is answered 421. */
  readonly originOfHost: ReadonlyMap<string, string>;
  readonly sources: ReadonlyMap<string, Source>;
  /** First match wins; the last rule is `{access: session}`, so there is always one. */
  matchRoute(method: string, target: CanonicalTarget & { ok: true }): RouteRule;
  /**
   * How the policy in force now judges this session's recorded claims; memoised per session, cheap on the hot path.
   * Undefined: its source is gone, or another issuer or client_id stands there now: the session opens nothing.
   */
  standing(session: OpenedSession, nowMs: number): Standing | undefined;
  /**
   * The identity headers for a session as a flat `[name, value, …]` list, made once per session and assertion life and
   * then returned synchronously.
   */
  identityHeaders(
    session: OpenedSession,
    origin: string,
    nowMs: number,
  ): readonly string[] | Promise<readonly string[]>;
}

/** The generation in force now; read once per request. */
export interface CurrentGeneration {
  current(): Generation;
}

/** The source of a session, if what stands under its id is still what the session has signed in with. */
export function sourceOf(record: HeldRecord, { sources }: Pick<Generation, 'sources'>): Source | undefined {
  const source = sources.get(record.source);
  return source?.config.issuer === record.issuer && source.config.client_id === record.clientId
    ? source
    : undefined;
}
