import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Source } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import { chooserPage, continuePage } from '../pages/sign-in-pages.ts';
import type { RenderedResponse } from '../proxy/types.ts';
import { localReturnTo } from '../signin/return-to.ts';
import { appearanceOf } from './branding.ts';
import { findSession } from './current-session.ts';
import { addEndpoint, queryOf, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import { nameOf } from './refusal-page.ts';
import { pageHeaders } from './security-headers.ts';
import { signInPath, type SignInAsk } from './sign-in-path.ts';
import { sendSignInResult } from './sign-in-result.ts';

/** `GET signin`: the chooser, or straight to the IdP (SPEC section 4). */
export function addSignIn(scope: FastifyInstance, tools: EndpointTools): void {
  addEndpoint(scope, tools, {
    path: '/signin',
    get: async (request, reply) => {
      const query = new URLSearchParams(queryOf(request));
      const { generation } = request;
      const ask = askOf(query, generation.config.server.path_prefix);
      const limited = await tools.limit(request, 'signin', knownSource(request, ask.source)?.config.id);
      if (limited !== undefined) return sendRefusal(tools, request, reply, limited);
      if (ask.source !== undefined && knownSource(request, ask.source) === undefined) {
        return sendRefusal(tools, request, reply, unknownSource);
      }
      const source = await pickSource(request, ask, tools);
      if (source !== undefined) {
        const { facts } = request;
        const cookieHeader = request.headers.cookie;
        const result = await tools.flow.begin(
          { facts, generation, source, cookieHeader },
          {
            returnTo: ask.returnTo,
            fresh: ask.fresh === true,
            selectAccount: ask.selectAccount === true,
            stepUp: ask.stepUp === true,
            loginHint: ask.loginHint,
          },
        );
        return sendSignInResult(tools, request, reply, source, result);
      }
      return send(reply, choose(request, ask, textIn(query, 'email')));
    },
  });
}

/** The refusal of a source that is not configured. */
export const unknownSource: Refusal = { status: 404, code: 'source_unknown' };

function askOf(query: URLSearchParams, pathPrefix: string): SignInAsk {
  const loginHint = textIn(query, 'email') ?? textIn(query, 'login_hint');
  return {
    source: textIn(query, 'source'),
    returnTo: localReturnTo(query.get('return_to') ?? '/', pathPrefix),
    fresh: query.get('fresh') === '1',
    selectAccount: query.get('account') === 'select',
    stepUp: query.get('step_up') === '1',
    // Only what can be an account's name goes on to the IdP.
    loginHint: loginHint !== undefined && /^[^\p{C}]{1,254}$/u.test(loginHint) ? loginHint : undefined,
  };
}

/** A parameter's value; an empty one is as good as none. */
function textIn(query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name)?.trim();
  return value === '' ? undefined : value;
}

function knownSource({ generation }: FastifyRequest, id: string | undefined): Source | undefined {
  return id === undefined ? undefined : generation.sources.get(id);
}

/** The named source, else the only one, else, for a step-up, the session's own. */
async function pickSource(
  request: FastifyRequest,
  ask: SignInAsk,
  tools: EndpointTools,
): Promise<Source | undefined> {
  const { sources } = request.generation;
  if (ask.source !== undefined) return sources.get(ask.source);
  if (sources.size === 1) return sources.values().next().value;
  if (ask.stepUp !== true) return undefined;
  const session = await findSession(tools, request);
  return session === undefined ? undefined : sources.get(session.opened.record.source);
}

/** The chooser; or, for a typed address whose domain belongs to a source, the way on to that source. */
function choose(request: FastifyRequest, ask: SignInAsk, email: string | undefined): RenderedResponse {
  const { generation } = request;
  const { branding } = appearanceOf(generation);
  const sources = [...generation.sources.values()];
  const chosen = email === undefined ? undefined : sourceOfEmail(sources, email);
  if (chosen !== undefined) {
    const href = signInPath(generation, { ...ask, source: chosen.config.id });
    return {
      status: 200,
      headers: pageHeaders(),
      body: continuePage(branding, { name: nameOf(chosen), href }),
    };
  }
  // An address that led nowhere is not carried along.
  const others = { ...ask, loginHint: undefined };
  const body = chooserPage(branding, {
    choices: sources.map((source) => ({
      name: nameOf(source),
      href: signInPath(generation, { ...others, source: source.config.id }),
      available: source.provider.status().available,
    })),
    email: sources.some(({ config }) => config.email_domains.length > 0)
      ? {
          action: `${generation.config.server.path_prefix}/signin`,
          hidden: Object.fromEntries(
            new URL(signInPath(generation, others), request.facts.origin).searchParams,
          ),
          unknown: email,
        }
      : undefined,
  });
  return { status: 200, headers: pageHeaders(), body };
}

function sourceOfEmail(sources: readonly Source[], email: string): Source | undefined {
  const domain = /^[^\s@]+@([^\s@]+)$/.exec(email)?.[1]?.toLowerCase();
  return sources.find(({ config }) =>
    config.email_domains.some((allowed) => allowed.toLowerCase() === domain),
  );
}
