import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { RateCounter } from '../kernel/rate.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RefreshSession, RenderedResponse } from '../proxy/types.ts';
import type { OpenBearer } from '../signin/bearer.ts';
import type { SignInFlow } from '../signin/flow.ts';
import type { Ledger } from '../signin/ledger.ts';
import type { SignInDeps } from '../signin/types.ts';
import { refusalOfError } from './faults.ts';
import { renderRefusal, type RefusalContext } from './render.ts';

/** What the endpoints are made of. */
export interface EndpointDeps extends SignInDeps {
  /** The public keys of the assertion, as a JWK set (RFC 7517 section 5). */
  readonly jwks: () => { readonly keys: readonly object[] };
  /** Opens access tokens for the proxy too, so that both know the same of them; absent: forward auth has its own. */
  readonly openBearer?: OpenBearer;
  /** Without it, tokens are never refreshed. */
  readonly refreshSession?: RefreshSession;
  /** Counts for all processes on the port; absent: this one is all there is. */
  readonly rates?: RateCounter | undefined;
  /** How many processes share the port; default 1. */
  readonly workers?: number;
}

/** What each endpoint's plugin gets. */
export interface EndpointTools extends EndpointDeps {
  readonly flow: SignInFlow;
  /** What the status page shows. */
  readonly ledger: Ledger;
  /** A refusal when this client asks too often; counted. */
  readonly limit: (
    request: FastifyRequest,
    endpoint: string,
    sourceId: string | undefined,
  ) => Promise<Refusal | undefined>;
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** An endpoint's path below the prefix and what it does for which method; every other method is answered 405. */
export interface Endpoint {
  readonly path: string;
  readonly get?: Handler;
  readonly post?: Handler;
  /** How large a body may be, in bytes; default: small. */
  readonly bodyLimit?: number;
  /** Answers a body that could not be read. */
  readonly onBadBody?: Handler;
  /** Whether HEAD is answered as GET; default true. A callback is not: a HEAD must not use up a code. */
  readonly head?: boolean;
}

const otherMethods = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'];

/** Stands an endpoint up in its scope. */
export function addEndpoint(
  scope: FastifyInstance,
  deps: Pick<EndpointDeps, 'clock'>,
  endpoint: Endpoint,
): void {
  const { path, get, post, bodyLimit, onBadBody } = endpoint;
  const head = get !== undefined && endpoint.head !== false;
  const allowed = [
    ...(get === undefined ? [] : ['GET']),
    ...(head ? ['HEAD'] : []),
    ...(post === undefined ? [] : ['POST']),
  ];
  if (get !== undefined) scope.route({ method: 'GET', url: path, exposeHeadRoute: head, handler: get });
  if (post !== undefined) {
    scope.route({
      method: 'POST',
      url: path,
      handler: post,
      ...(bodyLimit === undefined ? {} : { bodyLimit }),
      ...(onBadBody === undefined ? {} : { errorHandler: orElse(onBadBody) }),
    });
  }
  const refusal: Refusal = {
    status: 405,
    code: 'method_not_allowed',
    headers: { allow: allowed.join(', ') },
  };
  // In onRequest: before any body is read or parsed.
  scope.route({
    method: otherMethods.filter((method) => !allowed.includes(method)),
    url: path,
    exposeHeadRoute: false,
    onRequest: (request, reply) => sendRefusal(deps, request, reply, refusal),
    handler: (_request, reply) => reply,
  });
}

/** Our own faults go on to the scope's error handler; the rest is the body's. */
function orElse(onBadBody: Handler) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    if (refusalOfError(error).status >= 500) throw error as Error;
    void onBadBody(request, reply);
  };
}

/** Sends a refusal as a page, JSON or redirect, by who asked. */
export function sendRefusal(
  deps: Pick<EndpointDeps, 'clock'>,
  request: FastifyRequest,
  reply: FastifyReply,
  refusal: Refusal,
  context: RefusalContext = {},
  setCookies: readonly string[] = [],
): Promise<FastifyReply> {
  const nowMs = deps.clock.nowMs();
  return send(reply, renderRefusal(refusal, request.facts, request.generation, context, nowMs), setCookies);
}

/** Sends a finished answer. */
export async function send(
  reply: FastifyReply,
  { status, headers, body }: RenderedResponse,
  setCookies: readonly string[] = [],
): Promise<FastifyReply> {
  reply.code(status).headers(headers);
  if (setCookies.length > 0) reply.header('set-cookie', setCookies);
  await reply.send(body);
  return reply;
}

/** The query string of a request as it came, without `?`. */
export function queryOf(request: FastifyRequest): string {
  const { rawTarget } = request.facts;
  const mark = rawTarget.indexOf('?');
  return mark === -1 ? '' : rawTarget.slice(mark + 1);
}
