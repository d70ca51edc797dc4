import type { Standing } from '../assurance/types.ts';
import type { Generation, Source } from '../generation.ts';
import { canonicalTarget } from '../policy/canonical-target.ts';
import { decideGate } from '../policy/gate.ts';
import type { RouteRule } from '../policy/types.ts';
import type { SessionRecord } from '../session/types.ts';

/** The rule that a step-up is to satisfy: that of the page to which it leads back. Undefined where the path has no one reading. */
export function ruleOfReturn(
  { matchRoute }: Pick<Generation, 'matchRoute'>,
  returnTo: string,
): RouteRule | undefined {
  const target = canonicalTarget(returnTo);
  return target.ok ? matchRoute('GET', target) : undefined;
}

/**
 * The `max_age` of a step-up, in seconds: how old the route lets an authentication be, or 0 where it is about something else. It goes along
 * with `prompt=login`: an authentication that is young enough by a second would be too old when the browser is back.
 * @see OpenID Connect Core 1.0 section 3.1.2.1: with `max_age`, an ID token has to carry `auth_time`
 */
export function stepUpMaxAgeSeconds(
  generation: Pick<Generation, 'matchRoute'>,
  { policy }: Pick<Source, 'policy'>,
  returnTo: string,
): number {
  const route = ruleOfReturn(generation, returnTo)?.maxAuthAgeSeconds;
  if (route === undefined) return 0;
  return Math.min(route, policy.maxAuthAgeSeconds ?? route);
}

/** What a step-up has come to, by the gate's own judgement of the page it leads back to; undefined: that is satisfied. */
export function shortfallOf(
  generation: Pick<Generation, 'matchRoute' | 'publicOrigins'>,
  record: Pick<SessionRecord, 'source' | 'identity' | 'claims' | 'authenticatedAt'>,
  standing: Standing,
  returnTo: string,
  nowMs: number,
): string | undefined {
  const rule = ruleOfReturn(generation, returnTo);
  if (rule === undefined) return undefined;
  const { identity, claims } = record;
  const authTime = claims['auth_time'];
  const decision = decideGate(
    rule,
    {
      method: 'GET',
      navigation: true,
      upgrade: false,
      fetchSite: undefined,
      requestOrigin: undefined,
      publicOrigins: new Set(generation.publicOrigins),
      credential: undefined,
    },
    {
      sourceId: record.source,
      groups: identity.groups,
      verifiedEmail: identity.emailVerified ? identity.email : undefined,
      authTime: Number.isInteger(authTime) ? (authTime as number) : undefined,
      authenticatedAt: record.authenticatedAt,
      forced: true,
      standing,
    },
    nowMs,
  );
  return decision.kind === 'refuse' ? decision.code : undefined;
}
