import { unsupportedIssuer } from '../../assurance/issuers.ts';
import { resolvePolicy } from '../../assurance/policy.ts';
import { canBeMet } from '../../assurance/requirement.ts';
import type { Config } from '../../config/schema.ts';
import { presetRoutes } from '../../policy/forge-routes.ts';
import { warnAboutRoutes } from '../../policy/route-warnings.ts';
import { ruleOfConfig } from '../../policy/routes.ts';
import { ok, warn, type Area } from './finding.ts';

/** What is doubtful about the operator's routes; undefined where there are none. */
export function checkRoutes({ routes, sources, upstream }: Config): Area | undefined {
  if (routes.length === 0) return undefined;
  const abilities = sources.map((source) => {
    const { policy } = resolvePolicy(source.mfa, source);
    return {
      id: source.id,
      reachesAal2: canBeMet(policy) && unsupportedIssuer(source.issuer, policy) === undefined,
      attests: policy.mode === 'trust_idp',
      emailDomains: source.email_domains,
    };
  });
  const found = warnAboutRoutes(routes.map(ruleOfConfig), presetRoutes(upstream.preset), abilities);
  return {
    name: 'routes',
    findings:
      found.length === 0
        ? [ok('every rule can match, and lets in what it says')]
        : found.map(({ message, cure }) => warn(message, cure)),
  };
}

/** The operator's routes with `max_auth_age` that users of this source may open. */
export function freshRoutesOf({ routes }: Config, sourceId: string): readonly string[] {
  return routes
    .map(ruleOfConfig)
    .filter(
      ({ maxAuthAgeSeconds, sources }) =>
        maxAuthAgeSeconds !== undefined && sources?.includes(sourceId) !== false,
    )
    .map(({ name }) => name);
}
