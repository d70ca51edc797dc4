import { METHODS } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Generation } from '../generation.ts';
import { assertionHeader } from '../identity/headers.ts';
import { headerPresets, headerRules } from '../identity/presets.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { upstreamTarget } from '../policy/canonical-target.ts';
import { boundCookieNames } from '../policy/forge-routes.ts';
import { trustTest, type AddressTest } from '../proxy/edge.ts';
import { createGate, type GateResult } from '../proxy/gate.ts';
import { credentialHeaders, ownCookieNames } from '../proxy/headers.ts';
import { dropBoundCookies } from '../session/bound-cookies.ts';
import { stripOwnCookies } from '../session/cookie.ts';
import { createBearer } from '../signin/bearer.ts';
import { addEndpoint, queryOf, send, sendRefusal, type EndpointTools } from './endpoint.ts';
import { renderRefusal } from './render.ts';
import { answerHeaders } from './security-headers.ts';

/**
 * `GET auth`: another proxy on the same host asks about each of its requests (nginx `auth_request`, Caddy `forward_auth`, Traefik
 * ForwardAuth). The same gate as everywhere judges the request that the proxy describes. `auth/<target>`, by any method, is the same
 * for Envoy's `ext_authz`, which describes a request by repeating it there: {@link Asker}.
 *
 * 202: it may pass, with the headers that the app is to get: who asks, and the client's `Cookie` and `Authorization` where they may go
 * along. A proxy that passes the client's own instead lets an old cookie of the app be a second way in. 401 and 403 otherwise, since
 * nginx knows no others; `Location` says where a person goes next, as a redirect with `?redirect=302`. 400: the proxy is not believed,
 * or says too little.
 */
export function addForwardAuth(scope: FastifyInstance, tools: EndpointTools): void {
  const openBearer = tools.openBearer ?? createBearer(tools);
  const judge = createGate(tools.sessions, tools.clock, openBearer, tools.refreshSession);
  const trust = new WeakMap<Generation, AddressTest>();

  const warned = new WeakSet<Generation>();
  /** Once for each configuration: nothing in it says that somebody asks, so that only the first question shows it. */
  function warnOfLooseCookies(generation: Generation): void {
    if (warned.has(generation)) return;
    warned.add(generation);
    const { preset } = generation.config.upstream;
    const cookies = boundCookieNames(generation.config.upstream);
    if (cookies.length > 0) {
      tools.logWarning?.(
        "forward auth cannot tie the app's own session cookies to a session, and keeps them from the app: prefer Sallyport as the proxy",
        { preset, cookies },
      );
    }
  }

  function isTrustedPeer({ generation, raw }: FastifyRequest): boolean {
    let test = trust.get(generation);
    if (test === undefined) {
      test = trustTest(generation.config.server.trusted_proxies);
      trust.set(generation, test);
    }
    // A Unix socket has no address; whoever may open it stands on this machine.
    return test(raw.socket.remoteAddress ?? '127.0.0.1');
  }

  addEndpoint(scope, tools, {
    path: '/auth',
    head: false,
    get: (request, reply) => {
      const asRedirect = new URLSearchParams(queryOf(request)).get('redirect') === '302';
      return answer(request, reply, { facts: forwardedFacts, passed: 202, asRedirect, repeats: false });
    },
  });

  // What the public server makes of every target below `auth` (proxy/server.ts). In onRequest: before any body is read or parsed.
  const methods = METHODS.filter((method) => method !== 'TRACE' && scope.supportedMethods.includes(method));
  scope.route({
    method: methods,
    url: '/auth/',
    exposeHeadRoute: false,
    onRequest: (request, reply) =>
      answer(request, reply, { facts: repeatedFacts, passed: 200, asRedirect: true, repeats: true }),
    handler: (_request, reply) => reply,
  });

  async function answer(request: FastifyRequest, reply: FastifyReply, asker: Asker): Promise<FastifyReply> {
    const { generation } = request;
    if (!isTrustedPeer(request))
      return sendRefusal(tools, request, reply, { status: 400, code: 'peer_not_trusted' });
    warnOfLooseCookies(generation);
    const facts = asker.facts(request);
    if ('status' in facts) return sendRefusal(tools, request, reply, facts);
    const result = await judge(request.raw, facts, generation);
    const refusal =
      result.refusal ?? (asker.repeats && comesFromNowhere(request, result) ? fromNowhere : undefined);
    if (refusal !== undefined) return sendForwarded(request, reply, facts, refusal, asker.asRedirect);
    const headers: Record<string, string> = { ...answerHeaders };
    for (const [name, value] of appHeaders(request, result)) headers[name] = value;
    if (result.withSession && result.session !== undefined) {
      const identity = await generation.identityHeaders(result.session, facts.origin, tools.clock.nowMs());
      for (let at = 0; at + 1 < identity.length; at += 2)
        headers[identity[at] ?? ''] = identity[at + 1] ?? '';
    }
    if (asker.repeats) headers[removalHeader] = namesToRemove(generation, headers).join(',');
    return send(reply, { status: asker.passed, headers, body: '' });
  }

  function sendForwarded(
    request: FastifyRequest,
    reply: FastifyReply,
    facts: RequestFacts,
    refusal: Refusal,
    asRedirect: boolean,
  ): Promise<FastifyReply> {
    const { generation } = request;
    // Absolute: a proxy completes a path with what it takes for its own name.
    const location = refusal.location === undefined ? undefined : `${facts.origin}${refusal.location}`;
    const rendered = renderRefusal(
      location !== undefined && asRedirect ? { ...refusal, location } : statusForProxy(refusal),
      facts,
      generation,
      {},
      tools.clock.nowMs(),
    );
    const headers = location === undefined ? rendered.headers : { ...rendered.headers, location };
    return send(reply, { ...rendered, headers });
  }
}

/**
 * How a proxy asks. nginx, Caddy and Traefik describe the request in headers, and take 202 for a yes. Envoy repeats it below `auth`
 * (its `path_prefix`), with its method, its target as it stands and those headers that its configuration names; it takes 200 alone for a
 * yes, hands everything else to the client as it is, and leaves what the answer does not hold as the client sent it, unless told.
 *
 * @see Envoy, extensions.filters.http.ext_authz.v3.HttpService
 */
interface Asker {
  readonly facts: (request: FastifyRequest) => RequestFacts | Refusal;
  readonly passed: 200 | 202;
  readonly asRedirect: boolean;
  readonly repeats: boolean;
}

/** Names that Envoy takes off the client's request. */
const removalHeader = 'x-envoy-auth-headers-to-remove';

/** Whatever the answer does not hold must not reach the app from the client either. Envoy knows no patterns: every name of every preset. */
function namesToRemove(
  { config }: Generation,
  answered: Readonly<Record<string, string>>,
): readonly string[] {
  const rules = [...headerRules(config.upstream), ...Object.values(headerPresets).flat()];
  const names = [
    'cookie',
    'authorization',
    assertionHeader,
    'x-forwarded-access-token',
    ...rules.map(({ header }) => header),
    ...credentialHeaders(config),
  ].map((name) => name.toLowerCase());
  const given = new Set(Object.keys(answered).map((name) => name.toLowerCase()));
  return [...new Set(names)].filter((name) => !given.has(name));
}

const fromNowhere: Refusal = { status: 403, code: 'cross_site_request' };

/**
 * Whether a changing request with a session says nothing of where it comes from. A browser always says so; an Envoy that was not told to
 * pass `origin` and `sec-fetch-site` on hides it, and another site's form would look like a request of no browser.
 */
function comesFromNowhere({ raw, method }: FastifyRequest, { withSession, withToken }: GateResult): boolean {
  if (!withSession || withToken === true || ['GET', 'HEAD', 'OPTIONS'].includes(method)) return false;
  return raw.headers['sec-fetch-site'] === undefined && raw.headers.origin === undefined;
}

/** A refusal without its redirect, in one of the few statuses that nginx's `auth_request` understands. */
function statusForProxy({ location, ...refusal }: Refusal): Refusal {
  if (location !== undefined) return { ...refusal, status: 401 };
  return refusal.status < 500 && refusal.status !== 401 ? { ...refusal, status: 403 } : refusal;
}

/**
 * What Envoy says when it asks (`headers_to_add` of its example). No script in a browser may send a header whose name begins so (Fetch
 * Standard, "forbidden request-header"): where something before Sallyport passes on whatever clients ask for, a script of the app's would
 * else read in the answer what is for the app alone, cookies that are `HttpOnly` and the access token included.
 */
const askerHeader = 'sec-sallyport-asker';

/**
 * The facts of the request that Envoy repeats: what stands behind `auth` is its target, byte for byte. No header can say otherwise.
 * Or why it is none of Envoy's.
 */
function repeatedFacts({ facts, raw, generation }: FastifyRequest): RequestFacts | Refusal {
  if (raw.headers[askerHeader] !== 'envoy') return { status: 400, code: 'asker_unknown' };
  const target = facts.rawTarget.slice(`${generation.config.server.path_prefix}/auth`.length);
  return {
    ...facts,
    rawTarget: upstreamTarget(target) === target ? target : '',
    upgrade: facts.method === 'GET' && asksForSocket(raw.headers),
  };
}

/** The facts of the request that the proxy describes, or why nobody can judge it. Host and scheme are in the edge's facts already. */
function forwardedFacts({ facts, raw }: FastifyRequest): RequestFacts | Refusal {
  const uri = onlyValue(raw.rawHeaders, 'x-forwarded-uri');
  if (uri === undefined || uri === '') return { status: 400, code: 'forwarded_uri_missing' };
  const method = onlyValue(raw.rawHeaders, 'x-forwarded-method');
  // Without it an unsafe method would be judged as a safe one.
  if (method === undefined || !METHODS.includes(method) || method === 'CONNECT' || method === 'TRACE')
    return { status: 400, code: 'forwarded_method_missing' };
  const safe = method === 'GET' || method === 'HEAD';
  return {
    ...facts,
    method,
    // Slashes that two readers take for different things, and that nobody here can rewrite: no target at all.
    rawTarget: upstreamTarget(uri) === uri ? uri : '',
    navigation: facts.navigation && safe,
    formNavigation: facts.navigation && !safe,
    upgrade: method === 'GET' && asksForSocket(raw.headers),
  };
}

/** Proxies leave out `Upgrade` when they ask, but not what else comes with a WebSocket handshake (RFC 6455 section 4.1). */
function asksForSocket(headers: FastifyRequest['headers']): boolean {
  return (
    headers['sec-websocket-key'] !== undefined ||
    headers['sec-websocket-version'] !== undefined ||
    headers['sec-fetch-mode'] === 'websocket' ||
    headers.upgrade?.toLowerCase() === 'websocket'
  );
}

/** The value of a header that stands exactly once: of two, one is the client's. */
function onlyValue(rawHeaders: readonly string[], name: string): string | undefined {
  let found: string | undefined;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() !== name) continue;
    if (found !== undefined) return undefined;
    found = rawHeaders[at + 1];
  }
  return found;
}

/**
 * Those of the client's own headers that the app may get: cookies beside a session, a credential where the route lets one in. None of
 * `upstream.bound_cookies`: the app's `Set-Cookie` never passes here, so nothing says in whose session such a cookie was made.
 */
function* appHeaders(
  { headers, generation, raw }: FastifyRequest,
  { rule, withSession, withCredential, withToken }: GateResult,
): Generator<readonly [string, string]> {
  if (withSession && withToken !== true) {
    let cookie: string | undefined = headers.cookie;
    for (const name of ownCookieNames(generation.config))
      cookie = cookie === undefined ? undefined : stripOwnCookies(cookie, name);
    if (cookie !== undefined) cookie = dropBoundCookies(cookie, boundCookieNames(generation.config.upstream));
    if (cookie !== undefined && cookie !== '') yield ['Cookie', cookie];
  }
  if (!withCredential) return;
  for (const name of ['authorization', ...(rule?.credentialHeaders ?? [])]) {
    const value = onlyValue(raw.rawHeaders, name);
    if (value !== undefined) yield [name, value];
  }
}
