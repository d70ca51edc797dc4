import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Source } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import { texts } from '../pages/texts.ts';
import type { SentOn, SignInRefused } from '../signin/types.ts';
import { sendRefusal, send, type EndpointTools } from './endpoint.ts';
import { refusalOfFault } from './faults.ts';
import { nameOf } from './refusal-page.ts';
import { answerHeaders } from './security-headers.ts';
import { SallyportError } from '../kernel/error.ts';

/** Answers with what a step of the sign-in came to. */
export function sendSignInResult(
  tools: EndpointTools,
  request: FastifyRequest,
  reply: FastifyReply,
  source: Source,
  result: SentOn | SignInRefused,
): Promise<FastifyReply> {
  if (result.kind !== 'refused') {
    const headers = { ...answerHeaders, location: result.location };
    return send(reply, { status: 302, headers, body: '' }, result.setCookies);
  }
  const { detail, mfa, idp, returnTo, setCookies } = result;
  const context = {
    source,
    detail: result.code === 'state_invalid' ? detail : undefined,
    mfa,
    idp,
    signInFor: returnTo,
  };
  return sendRefusal(tools, request, reply, refusalOfSignIn(result, source), context, setCookies);
}

/** A refused sign-in as the refusal that answers it. */
export function refusalOfSignIn({ status, code, mfa }: SignInRefused, source: Source): Refusal {
  const body = {
    source: source.config.id,
    ...(mfa === undefined ? {} : { reason: mfa.reason, observed: mfa.observed }),
  };
  if (code === 'idp_unavailable') {
    const fault = refusalOfFault(new SallyportError('idp_unavailable', code));
    return { ...fault, message: texts.sourceDown(nameOf(source)), body };
  }
  return { status, code, body };
}
