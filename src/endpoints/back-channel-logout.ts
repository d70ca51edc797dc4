import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Source } from '../generation.ts';
import { isFault } from '../kernel/error.ts';
import type { RenderedResponse } from '../proxy/types.ts';
import { claimOnce, wasClaimed } from '../session/single-use.ts';
import { createBadTokenBound } from '../signin/bad-token-bound.ts';
import { addEndpoint, send, type EndpointTools } from './endpoint.ts';
import { refusalOfError } from './faults.ts';
import type { Logouts } from './logouts.ts';
import { renderRefusal } from './render.ts';
import { answerHeaders, jsonHeaders } from './security-headers.ts';
import { unknownSource } from './sign-in.ts';

/** Far above any logout token; bytes. */
const mostBodyBytes = 32 * 1024;

/** In one minute, from one address and for one source. */
const mostBadTokens = 300;

/** How long a token's id is remembered: it is believed for 10 minutes from its `iat`, and two clocks may differ. Milliseconds. */
const replayLifeMs = 15 * 60_000;

/**
 * `POST backchannel-logout/{source}`: the IdP itself says that sessions are to end. Told to machines: always JSON, never a page.
 *
 * @see OpenID Connect Back-Channel Logout 1.0 sections 2.5 to 2.8
 */
export function addBackChannelLogout(scope: FastifyInstance, tools: EndpointTools, logouts: Logouts): void {
  const bound = createBadTokenBound(tools.clock, mostBadTokens, tools.workers);

  async function judge(request: FastifyRequest, source: Source): Promise<RenderedResponse> {
    const waitSeconds = bound.wait(request.facts.clientIp, source.config.id);
    if (waitSeconds !== undefined) {
      tools.meter.rateLimited('backchannel-logout');
      return refusal(request, {
        status: 429,
        code: 'rate_limited',
        headers: { 'retry-after': String(waitSeconds) },
      });
    }
    try {
      const token = isForm(request) ? tokenIn(request.body) : undefined;
      if (token === undefined) return bad(request, source, 'logout_token_missing');
      const logout = await source.provider.verifyLogoutToken(token);
      const id = JSON.stringify([source.config.id, source.config.issuer, logout.jti]);
      if (await wasClaimed(tools.store, 'logout', id)) return bad(request, source, 'jti_replayed');
      await logouts.end(request, source, logout, 'backchannel');
      // Only now: had ending failed, the IdP would have to come again with the same token. Ending twice does no harm.
      if (!(await claimOnce(tools.store, 'logout', id, replayLifeMs)))
        return bad(request, source, 'jti_replayed');
      return { status: 200, headers: answerHeaders, body: '' };
    } catch (error) {
      if (isFault(error, 'token_invalid')) {
        tools.logFault(error, request.facts);
        return bad(request, source, error.detail ?? 'token_invalid');
      }
      const found = refusalOfError(error);
      tools.logFault(error, request.facts);
      return refusal(request, found);
    }
  }

  function refusal(request: FastifyRequest, found: Parameters<typeof renderRefusal>[0]): RenderedResponse {
    const facts = { ...request.facts, navigation: false, formNavigation: false };
    return renderRefusal(found, facts, request.generation, {}, tools.clock.nowMs());
  }

  function bad(request: FastifyRequest, source: Source | undefined, why: string): RenderedResponse {
    if (source !== undefined) bound.count(request.facts.clientIp, source.config.id);
    return badRequest(why);
  }

  addEndpoint(scope, tools, {
    path: '/backchannel-logout/:source',
    bodyLimit: mostBodyBytes,
    post: async (request, reply) => {
      const source = sourceOf(request);
      return send(
        reply,
        source === undefined ? refusal(request, unknownSource) : await judge(request, source),
      );
    },
    // A body that is no form, or too large a one: whatever is the matter with it, the token is not good.
    onBadBody: (request, reply) => send(reply, bad(request, sourceOf(request), 'body_malformed')),
  });
}

function sourceOf({ generation, params }: FastifyRequest): Source | undefined {
  return generation.sources.get((params as { readonly source: string }).source);
}

/** The only way in which a logout token is sent (section 2.5). */
function isForm({ headers }: FastifyRequest): boolean {
  return /^application\/x-www-form-urlencoded *(;|$)/i.test(headers['content-type'] ?? '');
}

function tokenIn(body: unknown): string | undefined {
  const token =
    typeof body === 'object' && body !== null && 'logout_token' in body ? body.logout_token : undefined;
  return typeof token === 'string' && token !== '' ? token : undefined;
}

/** @see OpenID Connect Back-Channel Logout 1.0 section 2.8 */
function badRequest(description: string): RenderedResponse {
  const body = JSON.stringify({ error: 'invalid_request', error_description: description });
  return { status: 400, headers: jsonHeaders, body };
}
