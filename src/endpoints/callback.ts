import type { FastifyInstance } from 'fastify';
import { sendCanary } from './canary.ts';
import { addEndpoint, queryOf, sendRefusal, type EndpointTools } from './endpoint.ts';
import { unknownSource } from './sign-in.ts';
import { sendSignInResult } from './sign-in-result.ts';

/** `GET callback/{source}`: the end of the flow. */
export function addCallback(scope: FastifyInstance, tools: EndpointTools): void {
  addEndpoint(scope, tools, {
    path: '/callback/:source',
    head: false,
    get: async (request, reply) => {
      const { generation, facts } = request;
      const source = generation.sources.get((request.params as { readonly source: string }).source);
      const limited = await tools.limit(request, 'callback', source?.config.id);
      if (limited !== undefined) return sendRefusal(tools, request, reply, limited);
      if (source === undefined) return sendRefusal(tools, request, reply, unknownSource);
      const cookieHeader = request.headers.cookie;
      const result = await tools.flow.complete({ facts, generation, source, cookieHeader }, queryOf(request));
      if (result.kind === 'canary') return sendCanary(request, reply, source, result);
      return sendSignInResult(tools, request, reply, source, result);
    },
  });
}
