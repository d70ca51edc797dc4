import type { Standing } from '../assurance/types.ts';
import type { Generation, Source } from '../generation.ts';
import { canonicalTarget } from '../policy/canonical-target.ts';
import { decideGate } from '../policy/gate.ts';
import type { RouteRule } from '../policy/types.ts';
import type { SessionRecord } from '../session/types.ts';
import type { SignInDeps } from './types.ts';

/** Tells the operator of IdPs that do not do what `max_age` asks of them: an authentication that comes back is not fresh. */
export type FreshnessWatch = (sourceId: string, reason: string | undefined) => void;

const tellEveryMs = 3_600_000;

const staleReasons: Readonly<Record<string, string>> = {
  auth_too_old:
    'the identity provider ignores max_age: it was asked for a fresh authentication, and its auth_time is older',
  auth_time_missing: 'the identity provider was asked for max_age, and sends no auth_time',
  auth_time_in_future: "the identity provider's auth_time lies in the future: one of the two clocks is wrong",
};

/** A watch that tells of each source once an hour at most: who signs in at a busy hour would fill the log with it. */
export function createFreshnessWatch({
  clock,
  logWarning,
}: Pick<SignInDeps, 'clock' | 'logWarning'>): FreshnessWatch {
  const toldMs = new Map<string, number>();
  return (sourceId, reason) => {
    const message = reason === undefined ? undefined : staleReasons[reason];
    if (message === undefined || reason === undefined) return;
    const key = `${sourceId} ${reason}`;
    const nowMs = clock.nowMs();
    if (Math.abs(nowMs - (toldMs.get(key) ?? -Infinity)) < tellEveryMs) return;
    toldMs.set(key, nowMs);
    logWarning?.(message, { auth_source: sourceId, reason });
  };
}

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
