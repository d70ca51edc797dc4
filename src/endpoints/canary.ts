import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { describeModeReason, describeOutcome, describeResult } from '../assurance/words.ts';
import type { ModeInForce } from '../assurance/outcome.ts';
import type { Outcome } from '../assurance/types.ts';
import type { Generation, Source } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import { canaryPage, type CanaryView } from '../pages/canary-page.ts';
import { texts } from '../pages/texts.ts';
import type { CanaryStart } from '../signin/attempt.ts';
import type { CanaryDecision, CanaryReport } from '../signin/canary.ts';
import { createCanaryTickets } from '../signin/canary-ticket.ts';
import type { CanaryDone } from '../signin/types.ts';
import { appearanceOf } from './branding.ts';
import { addEndpoint, queryOf, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import { requireOperator } from './operators.ts';
import { nameOf } from './refusal-page.ts';
import { answerHeaders, pageHeaders } from './security-headers.ts';
import { unknownSource } from './sign-in.ts';
import { refusalOfSignIn } from './sign-in-result.ts';

/**
 * `GET canary/{source}`: a fresh sign-in that starts no session and shows what the IdP sent. For operators, for whoever has a
 * one-time link, or for everyone, by `canary`.
 */
export function addCanary(scope: FastifyInstance, tools: EndpointTools): void {
  const tickets = createCanaryTickets(tools);

  async function startOf(request: FastifyRequest, source: Source): Promise<CanaryStart | Refusal> {
    const { canary } = request.generation.config;
    if (canary === 'off') return { status: 404, code: 'canary_off' };
    const ticket = new URLSearchParams(queryOf(request)).get('ticket');
    if (ticket !== null) {
      const found = await tickets.find(ticket);
      if (found === undefined || found.source !== source.config.id || found.report !== undefined) {
        return { status: 403, code: 'canary_link_invalid' };
      }
      return { origin: 'link', ticket };
    }
    if (canary === 'anyone') return { origin: 'anyone' };
    const operator = await requireOperator(tools, request);
    if (!operator.ok) return operator.refusal;
    return { origin: 'operator', startedBy: operator.session.opened.record.identity.subject };
  }

  addEndpoint(scope, tools, {
    path: '/canary/:source',
    // A HEAD must not set a sign-in going.
    head: false,
    get: async (request, reply) => {
      const { generation, facts } = request;
      const source = generation.sources.get((request.params as { readonly source: string }).source);
      const limited = await tools.limit(request, 'canary', source?.config.id);
      if (limited !== undefined) return sendRefusal(tools, request, reply, limited);
      if (source === undefined) return sendRefusal(tools, request, reply, unknownSource);
      const canary = await startOf(request, source);
      if ('status' in canary) return sendRefusal(tools, request, reply, canary, { source });
      const result = await tools.flow.begin(
        { facts, generation, source, cookieHeader: request.headers.cookie },
        {
          returnTo: '/',
          fresh: true,
          selectAccount: false,
          stepUp: false,
          loginHint: undefined,
          canary,
        },
      );
      if (result.kind === 'refused') {
        const refusal = refusalOfSignIn(result, source);
        return sendRefusal(tools, request, reply, refusal, { source }, result.setCookies);
      }
      const headers = { ...answerHeaders, location: result.location };
      return send(reply, { status: 302, headers, body: '' }, result.setCookies);
    },
  });
}

/** The path of a source's canary. */
export function canaryPath({ config }: Pick<Generation, 'config'>, sourceId: string): string {
  return `${config.server.path_prefix}/canary/${encodeURIComponent(sourceId)}`;
}

/** Answers a canary's callback with its page. */
export function sendCanary(
  request: FastifyRequest,
  reply: FastifyReply,
  source: Source,
  { report, delivered, setCookies }: CanaryDone,
): Promise<FastifyReply> {
  const { generation } = request;
  const notices = {
    no: undefined,
    delivered: texts.canary.delivered,
    link_used: texts.canary.linkUsed,
    link_open: texts.canary.linkOpen,
  };
  const view: CanaryView = {
    sourceName: nameOf(source),
    notice: notices[delivered],
    ...describeReport(report),
    actions:
      delivered === 'no'
        ? [
            { label: texts.canary.again, href: canaryPath(generation, report.source), primary: true },
            ...(generation.config.operators.length > 0
              ? [{ label: texts.canary.status, href: `${generation.config.server.path_prefix}/status` }]
              : []),
          ]
        : [],
  };
  const body = canaryPage(appearanceOf(generation).branding, view);
  return send(reply, { status: 200, headers: pageHeaders(), body }, setCookies);
}

/** What a canary's page says of its report. */
export function describeReport(report: CanaryReport): Omit<CanaryView, 'sourceName' | 'notice' | 'actions'> {
  const { decision, failure, result } = report;
  return {
    policy: `${report.preset}, mode ${report.mode}`,
    required: report.required,
    idpSaid:
      failure?.error === undefined
        ? undefined
        : [failure.error, failure.error_description].filter((words) => words !== undefined).join(': '),
    failure: decision === undefined ? { result, detail: failure?.detail } : undefined,
    decision: decision === undefined ? undefined : viewOf(decision),
    hint: report.hint === '' ? undefined : report.hint,
  };
}

function viewOf(decision: CanaryDecision): NonNullable<CanaryView['decision']> {
  const { evidence, outcome, mode_in_force: mode, mode_why: why, suggestion } = decision;
  const because =
    decision.aal === 'aal2' ? '' : ` (${describeModeReason(why as ModeInForce['why']) ?? `mode ${mode}`})`;
  return {
    aal: decision.aal,
    weak: decision.weak,
    reason: decision.reason,
    reasonText: decision.reason_text,
    evidence: evidence === undefined ? undefined : `${evidence.claim} = ${JSON.stringify(evidence.value)}`,
    outcome: `${describeOutcome(outcome as Outcome['status'])}${because}`,
    observed: decision.observed,
    otherClaims: decision.other_claims,
    steps: decision.steps.map((step) => ({ ...step, result: describeResult(step.result) })),
    suggestion: { note: suggestion.note, yaml: suggestion.yaml },
    identity: decision.identity,
  };
}
