import type { FastifyInstance } from 'fastify';
import { appearanceOf } from './branding.ts';
import { addEndpoint, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import { answerHeaders, jsonHeaders } from './security-headers.ts';

/** `GET jwks.json`: the keys that the assertion verifies against. */
export function addJwks(scope: FastifyInstance, tools: EndpointTools): void {
  addEndpoint(scope, tools, {
    path: '/jwks.json',
    get: (_request, reply) => {
      const headers = { ...jsonHeaders, 'cache-control': 'public, max-age=300' };
      return send(reply, { status: 200, headers, body: JSON.stringify(tools.jwks()) });
    },
  });
}

/** `GET assets/*`: stylesheet, mark and logo, named by their content and so kept for ever. */
export function addAssets(scope: FastifyInstance, tools: EndpointTools): void {
  addEndpoint(scope, tools, {
    path: '/assets/:name',
    get: async (request, reply) => {
      const { name } = request.params as { readonly name: string };
      const asset = appearanceOf(request.generation).assets.get(name);
      if (asset === undefined) return sendRefusal(tools, request, reply, { status: 404, code: 'not_found' });
      reply.headers({
        ...answerHeaders,
        'cache-control': 'public, max-age=31536000, immutable',
        'content-type': asset.contentType,
        // A logo in SVG carries its own styles, and nothing else of it may run.
        'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
      });
      await reply.send(asset.body);
      return reply;
    },
  });
}
