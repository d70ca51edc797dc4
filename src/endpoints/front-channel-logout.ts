import type { FastifyInstance } from 'fastify';
import type { Refusal } from '../kernel/refusal.ts';
import { addEndpoint, queryOf, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import type { Logouts } from './logouts.ts';
import { answerHeaders } from './security-headers.ts';
import { unknownSource } from './sign-in.ts';

const badRequest: Refusal = { status: 400, code: 'request_malformed' };

/**
 * `GET frontchannel-logout/{source}?iss=&sid=`: the IdP's sign-out page loads it in a frame. The session is found by what the IdP calls
 * it and not by its cookie, which no browser sends there; so what ends is what the IdP means, and `sid`, which nobody else can know,
 * is what keeps others from asking. The answer is the same whether or not there was anything to end.
 *
 * @see OpenID Connect Front-Channel Logout 1.0 section 2
 */
export function addFrontChannelLogout(scope: FastifyInstance, tools: EndpointTools, logouts: Logouts): void {
  addEndpoint(scope, tools, {
    path: '/frontchannel-logout/:source',
    head: false,
    get: async (request, reply) => {
      const source = request.generation.sources.get((request.params as { readonly source: string }).source);
      const limited = await tools.limit(request, 'frontchannel-logout', source?.config.id);
      if (limited !== undefined) return sendRefusal(tools, request, reply, limited);
      if (source === undefined) return sendRefusal(tools, request, reply, unknownSource);
      const query = new URLSearchParams(queryOf(request));
      const [iss, ...moreIssuers] = query.getAll('iss');
      const [sid = '', ...moreSids] = query.getAll('sid');
      const { issuer } = source.config;
      const odd = moreIssuers.length + moreSids.length > 0 || sid.length > 255;
      if (iss !== issuer || sid === '' || odd) return sendRefusal(tools, request, reply, badRequest);
      await logouts.end(request, source, { subject: undefined, sid }, 'frontchannel');
      return send(reply, { status: 200, headers: framedBy(issuer), body });
    },
  });
}

const body = '<!doctype html><html lang="en"><title>Signed out</title></html>\n';

/** The response headers of a page that the issuer's pages may frame, and no others. */
function framedBy(issuer: string): Readonly<Record<string, string>> {
  const framable = Object.entries(answerHeaders).filter(([name]) => name !== 'x-frame-options');
  return {
    ...Object.fromEntries(framable),
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `default-src 'none'; frame-ancestors ${new URL(issuer).origin}; base-uri 'none'`,
    'cross-origin-resource-policy': 'cross-origin',
    'referrer-policy': 'no-referrer',
  };
}
