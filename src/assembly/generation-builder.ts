import { stand } from '../assurance/outcome.ts';
import { resolvePolicy } from '../assurance/policy.ts';
import type { AssurancePolicy, Standing } from '../assurance/types.ts';
import type { Config, SourceConfig } from '../config/schema.ts';
import { sourceOf, type Generation, type Source } from '../generation.ts';
import type { IdentityHeaders } from '../identity/headers.ts';
import { SallyportError } from '../kernel/error.ts';
import { createRecent, recentSessions } from '../kernel/recent.ts';
import { presetRoutes } from '../policy/forge-routes.ts';
import { compileRoutes, ruleOfConfig } from '../policy/routes.ts';
import type { RouteRule } from '../policy/types.ts';
import type { Provider } from '../provider/types.ts';
import type { OpenedSession } from '../session/types.ts';

/** What one version of the configuration is built from. */
export interface GenerationParts {
  readonly providerOf: (source: SourceConfig, policy: AssurancePolicy) => Provider;
  readonly identityHeaders: IdentityHeaders;
  /** Told of sessions whose source is not configured, or is another one now. */
  readonly onForeignSession?: (session: OpenedSession) => void;
}

/** Every route rule in force: the operator's, then the preset's. The matcher adds the last one, `{access: session}`. */
export function routeRules(config: Config): readonly RouteRule[] {
  return [...config.routes.map(ruleOfConfig), ...presetRoutes(config.upstream.preset)];
}

/**
 * Builds the frozen whole that follows from one configuration.
 * @throws SallyportError `config_invalid` when a policy has faults, which loading the file would have reported.
 */
export function buildGeneration(config: Config, parts: GenerationParts): Generation {
  const sources = new Map<string, Source>();
  for (const source of config.sources) {
    const { policy, faults } = resolvePolicy(source.mfa, source);
    if (faults.length > 0) {
      throw new SallyportError(
        'config_invalid',
        `sources ${source.id}: ${faults.map((f) => f.message).join('; ')}`,
      );
    }
    sources.set(source.id, { config: source, policy, provider: parts.providerOf(source, policy) });
  }
  const matchRoute = compileRoutes(routeRules(config));
  const standings = createRecent<OpenedSession, Standing>(recentSessions);

  return Object.freeze<Generation>({
    config,
    publicOrigins: config.server.public_url,
    originOfHost: new Map(config.server.public_url.map((origin) => [new URL(origin).host, origin])),
    sources,
    matchRoute,
    standing(session, nowMs) {
      const known = standings.get(session);
      if (known !== undefined && nowMs < known.validUntilMs) return known;
      const standing = judge(session, sources, nowMs);
      if (standing === undefined) parts.onForeignSession?.(session);
      else standings.set(session, standing);
      return standing;
    },
    identityHeaders(session, origin, nowMs) {
      const standing = this.standing(session, nowMs);
      // A session that opens nothing has no identity to show: the gate has refused it before.
      return standing === undefined ? [] : parts.identityHeaders.headersFor(session, standing, origin, nowMs);
    },
  });
}

/** Today's judgement of a session's recorded claims; undefined when its source is no longer the one it signed in with. */
function judge(
  { record }: OpenedSession,
  sources: ReadonlyMap<string, Source>,
  nowMs: number,
): Standing | undefined {
  const source = sourceOf(record, { sources });
  if (source === undefined) return undefined;
  const { identity } = record;
  return stand(
    record.claims,
    source.policy,
    {
      verifiedEmail: identity.emailVerified ? identity.email : undefined,
      groups: identity.groups,
    },
    record.authenticatedAt,
    nowMs,
    record.refreshed,
  );
}
