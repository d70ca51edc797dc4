import type { FastifyRequest } from 'fastify';
import type { Generation } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import { decideOperator, type OperatorRule } from '../policy/operators.ts';
import { refusalOf } from '../proxy/gate-refusals.ts';
import { sessionFactsOf } from '../proxy/gate.ts';
import { findSession, type CurrentSession } from './current-session.ts';
import type { EndpointDeps } from './endpoint.ts';

/** An operator's session, or what the one who asks gets instead. */
export type OperatorResult =
  { readonly ok: true; readonly session: CurrentSession } | { readonly ok: false; readonly refusal: Refusal };

/** Whether an operator asks: the one decision for the status page and the canary. @throws store_unavailable */
export async function requireOperator(
  deps: Pick<EndpointDeps, 'sessions' | 'clock'>,
  request: FastifyRequest,
): Promise<OperatorResult> {
  const { facts, generation, headers } = request;
  const session = await findSession(deps, request);
  const known =
    session?.standing === undefined ? undefined : sessionFactsOf(session.opened, session.standing);
  const decision = decideOperator(
    operatorRules(generation),
    {
      method: facts.method,
      navigation: facts.navigation,
      upgrade: facts.upgrade,
      fetchSite: single(headers['sec-fetch-site'])?.toLowerCase(),
      requestOrigin: headers.origin,
      publicOrigins: new Set(generation.publicOrigins),
      credential: undefined,
    },
    known,
    deps.clock.nowMs(),
  );
  if (decision.kind === 'pass' && session !== undefined) return { ok: true, session };
  return {
    ok: false,
    refusal:
      decision.kind === 'pass'
        ? { status: 403, code: 'operators_only' }
        : refusalOf(decision, request.raw, facts, generation, known),
  };
}

/** The configured operators; without a source they are the only source's, and nobody's where there are several. */
export function operatorRules({
  config,
  sources,
}: Pick<Generation, 'config' | 'sources'>): readonly OperatorRule[] {
  const only = sources.size === 1 ? [...sources.keys()][0] : undefined;
  return config.operators.map(({ source, emails, groups }) => ({
    source: source ?? only,
    emails: emails ?? [],
    groups: groups ?? [],
  }));
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
