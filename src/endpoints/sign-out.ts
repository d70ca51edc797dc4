import { createHmac, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Generation } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import { signedOutPage, signOutPage } from '../pages/plain-pages.ts';
import { boundCookieNames } from '../policy/forge-routes.ts';
import type { SignedOut } from '../proxy/types.ts';
import { expiredBoundCookies } from '../session/bound-cookies.ts';
import { serializeExpiredCookie } from '../session/cookie.ts';
import type { HeldRecord } from '../session/types.ts';
import { cookieSite } from '../signin/attempt-cookies.ts';
import { recordSessionEnd } from '../signin/sign-in-audit.ts';
import { appearanceOf } from './branding.ts';
import { findSession } from './current-session.ts';
import { addEndpoint, queryOf, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import { nameOf } from './refusal-page.ts';
import { answerHeaders, pageHeaders } from './security-headers.ts';
import { signInPath } from './sign-in-path.ts';
import { makeSignOutState, readSignOutState } from './sign-out-state.ts';

/** `GET signout` asks, `POST signout` ends the session here and, where offered, at the IdP; `GET signed-out` says so. */
export function addSignOut(scope: FastifyInstance, tools: EndpointTools): void {
  addEndpoint(scope, tools, {
    path: '/signout',
    get: async (request, reply) => {
      const limited = await tools.limit(request, 'signout', undefined);
      if (limited !== undefined) return sendRefusal(tools, request, reply, limited);
      const session = await findSession(tools, request);
      if (session === undefined)
        return sendOn(reply, signedOutPath(request.generation), expiredSession(request));
      return askWhether(request, reply, session.opened.record, session.cookieValue);
    },
    post: async (request, reply) => {
      const limited = await tools.limit(request, 'signout', undefined);
      if (limited !== undefined) return sendRefusal(tools, request, reply, limited);
      if (!isFromHere(request)) return sendRefusal(tools, request, reply, crossSite);
      const session = await findSession(tools, request);
      if (session === undefined)
        return sendOn(reply, signedOutPath(request.generation), expiredSession(request));
      if (!isToken(request.body, session.cookieValue)) return sendRefusal(tools, request, reply, badToken);
      const { location, setCookies } = await endSession(
        tools,
        request,
        session.opened.record,
        session.cookieValue,
      );
      return sendOn(reply, location, setCookies);
    },
  });

  addEndpoint(scope, tools, {
    path: '/signed-out',
    get: (request, reply) => {
      const { generation } = request;
      const state = new URLSearchParams(queryOf(request)).get('state');
      const source = generation.sources.get(readSignOutState(state, tools) ?? '');
      const body = signedOutPage(appearanceOf(generation).branding, {
        signInHref: signInPath(generation, { returnTo: '/' }),
        ...(source === undefined ? {} : { idpName: nameOf(source) }),
      });
      return send(reply, { status: 200, headers: pageHeaders(), body });
    },
  });
}

/**
 * Signs a browser out: ends its session, says where it goes next, and makes it forget its cookies, the upstream's bound ones included.
 * @throws store_unavailable
 */
export async function endSession(
  tools: SignOutTools,
  request: Pick<FastifyRequest, 'facts' | 'generation'>,
  record: HeldRecord,
  cookieValue: string,
): Promise<SignedOut> {
  // What the store held knows the ID token, the hint for the IdP; whoever signs out twice at once gives it once.
  const ended = await tools.sessions.end(cookieValue);
  recordSessionEnd(tools, request, record, 'signout');
  const state = makeSignOutState(record.source, tools);
  const atIdp = endSessionUrl(request, record, state, ended?.tokens.idToken);
  tools.meter.logout(atIdp === undefined ? 'local' : 'rp_initiated');
  return { location: atIdp?.href ?? signedOutPath(request.generation), setCookies: expiredSession(request) };
}

type SignOutTools = Pick<EndpointTools, 'sessions' | 'audit' | 'meter' | 'sealing' | 'clock'>;

const crossSite: Refusal = { status: 403, code: 'cross_site_request' };
const badToken: Refusal = { status: 403, code: 'csrf_invalid' };

function askWhether(
  request: FastifyRequest,
  reply: FastifyReply,
  { identity, ...record }: HeldRecord,
  cookieValue: string,
): Promise<FastifyReply> {
  const { generation } = request;
  const idp = endSessionUrl(request, { identity, ...record }, '', undefined);
  const body = signOutPage(appearanceOf(generation).branding, {
    userName: identity.name ?? identity.username,
    action: `${generation.config.server.path_prefix}/signout`,
    csrf: csrfToken(cookieValue),
    stayHref: '/',
  });
  return send(reply, { status: 200, headers: pageHeaders(idp === undefined ? [] : [idp.origin]), body });
}

/** Bound to the session by its cookie, which is 256 random bits that no other site can read. */
function csrfToken(cookieValue: string): string {
  return createHmac('sha256', cookieValue).update('sallyport signout').digest('base64url');
}

function isToken(body: unknown, cookieValue: string): boolean {
  const sent = typeof body === 'object' && body !== null && 'csrf' in body ? body.csrf : undefined;
  if (typeof sent !== 'string') return false;
  const [a, b] = [Buffer.from(sent), Buffer.from(csrfToken(cookieValue))];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Whether a form was sent from one of our own pages; where the browser does not say, the token alone decides. */
function isFromHere({ headers, generation }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  return headers.origin === undefined || generation.publicOrigins.includes(headers.origin);
}

/** RP-initiated logout where the session's source, still the same, offers it. */
function endSessionUrl(
  { generation, facts }: Pick<FastifyRequest, 'facts' | 'generation'>,
  record: HeldRecord,
  state: string,
  idToken: string | undefined,
): URL | undefined {
  const source = generation.sources.get(record.source);
  if (source?.config.issuer !== record.issuer || source.config.client_id !== record.clientId)
    return undefined;
  return source.provider.endSessionUrl({
    idToken,
    returnTo: `${facts.origin}${signedOutPath(generation)}`,
    state,
  });
}

function signedOutPath({ config }: Generation): string {
  return `${config.server.path_prefix}/signed-out`;
}

function expiredSession({
  generation,
  facts,
}: Pick<FastifyRequest, 'facts' | 'generation'>): readonly string[] {
  const site = cookieSite(generation, facts.origin);
  const bound = boundCookieNames(generation.config.upstream);
  return [serializeExpiredCookie(site.name, site.secure), ...expiredBoundCookies(bound, site.secure)];
}

function sendOn(reply: FastifyReply, location: string, setCookies: readonly string[]): Promise<FastifyReply> {
  return send(reply, { status: 303, headers: { ...answerHeaders, location }, body: '' }, setCookies);
}
