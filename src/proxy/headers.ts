import type { Config } from '../config/schema.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { presetRoutes } from '../policy/forge-routes.ts';
import { fateOfHeader } from '../policy/header-fate.ts';
import type { HeaderFate } from '../policy/header-fate.ts';
import { normalizeHeaderName } from '../policy/identity-header-names.ts';
import type { BoundCookies } from '../session/bound-cookies.ts';
import { sessionCookie, stripOwnCookies } from '../session/cookie.ts';
import type { OpenedSession } from '../session/types.ts';

/*
 * The one function that makes the upstream's header list, for HTTP and WebSocket alike. Upstreams believe these headers:
 * whoever gets one past this file is that user. So names are judged by the loosest reading any upstream could make of
 * them (docs/adr/0005-header-trust.md), and ours are appended last. Allocation is kept low: it runs once a request.
 */

/** Never dropped for being listed in `Connection`: without them the request would mean something else. */
const notConnectionOptions: ReadonlySet<string> = new Set(['content-length', 'host']);

/** Values of `Connection` that name no header worth looking for. */
const plainConnections: ReadonlySet<string> = new Set([
  'keep-alive',
  'close',
  'upgrade',
  'keep-alive, upgrade',
]);

/** What one request's header list is made from. */
export interface UpstreamHeaderInput {
  readonly rawHeaders: readonly string[];
  /** The joined value of `Connection`, as Node has it. */
  readonly connection: string | undefined;
  readonly facts: RequestFacts;
  /** The session that the request runs under: its cookies go along. Undefined: none do. */
  readonly session: OpenedSession | undefined;
  /** Whether the client's own credential goes along (SPEC section 5): never beside a session. */
  readonly withCredential: boolean;
  /** Flat `[name, value, …]`, values ready for the socket: the session's, or empty. The access token, if passed, is one. */
  readonly identityHeaders: readonly string[];
}

/** Makes the flat `[name, value, …]` list that the upstream gets. */
export type BuildUpstreamHeaders = (input: UpstreamHeaderInput) => string[];

interface OriginParts {
  readonly host: string;
  readonly scheme: string;
}

/** A spelling of a name, and what becomes of headers that are written so. */
interface KnownName {
  readonly name: string;
  readonly fate: HeaderFate;
}

/** How many spellings of names are remembered: beyond, they are judged anew each time (no memory for an attacker to fill). */
const rememberedNames = 512;

/** The names that some route takes for a credential, beside `Authorization`. */
export function credentialHeaders({
  routes,
  upstream,
}: Pick<Config, 'routes' | 'upstream'>): readonly string[] {
  return [
    ...routes.flatMap((route) => route.credential_headers ?? []),
    ...presetRoutes(upstream.preset).flatMap((rule) => rule.credentialHeaders ?? []),
  ];
}

/** The header function for one configuration. */
export function createUpstreamHeaders(
  config: Config,
  boundCookies: BoundCookies | undefined,
): BuildUpstreamHeaders {
  const configured = new Set(
    (config.upstream.identity_headers ?? []).map(({ header }) => normalizeHeaderName(header)),
  );
  const credentials = new Set(credentialHeaders(config).map(normalizeHeaderName));
  const ownCookies = ownCookieNames(config);
  const passHost = config.upstream.pass_host;
  const known = new Map<string, KnownName>();
  const origins = new Map<string, OriginParts>();

  function know(name: string): KnownName {
    const remembered = known.get(name);
    if (remembered !== undefined) return remembered;
    const judged = { name, fate: fateOfHeader(name, configured, credentials) };
    if (known.size < rememberedNames) known.set(name, judged);
    return judged;
  }

  function partsOf(origin: string): OriginParts {
    let parts = origins.get(origin);
    if (parts === undefined) {
      const url = new URL(origin);
      parts = { host: url.host, scheme: url.protocol.slice(0, -1) };
      origins.set(origin, parts);
    }
    return parts;
  }

  return function buildUpstreamHeaders(input) {
    const { rawHeaders, facts, session, identityHeaders } = input;
    const { host, scheme } = partsOf(facts.origin);
    const list: string[] = passHost ? ['Host', host] : [];
    const listed = connectionOptions(input.connection);
    for (let i = 0; i < rawHeaders.length; i += 2) {
      // Our own copy of the name goes on: undici looks names up, and finds one that it has met before at half the cost.
      const { name, fate } = know(rawHeaders[i] ?? '');
      if (fate === 'drop' || (listed !== undefined && isListed(name, listed))) continue;
      let value = rawHeaders[i + 1] ?? '';
      if (fate === 'cookie') {
        let kept = session === undefined ? undefined : withoutOwnCookies(value, ownCookies);
        if (kept !== undefined && session !== undefined && boundCookies !== undefined)
          kept = boundCookies.untie(kept, session);
        if (kept === undefined) continue;
        value = kept;
      } else if (fate === 'credential') {
        // An identity of ours and a credential of the client's never meet: the upstream would choose between two users.
        if (!input.withCredential || session !== undefined) continue;
      } else if (fate === 'tracestate' && facts.traceparent === undefined) {
        continue;
      }
      list.push(name, value);
    }
    for (let i = 0; i < identityHeaders.length; i += 1) list.push(identityHeaders[i] ?? '');
    list.push(
      'X-Forwarded-For',
      facts.clientIp,
      'X-Forwarded-Proto',
      scheme,
      'X-Forwarded-Host',
      host,
      'X-Real-IP',
      facts.clientIp,
      'X-Request-Id',
      facts.id,
    );
    if (facts.traceparent !== undefined) list.push('traceparent', facts.traceparent);
    return list;
  };
}

/** Every effective name that our session cookie has on the configured origins. */
export function ownCookieNames(config: Config): readonly string[] {
  return [
    ...new Set(
      config.server.public_url.map((origin) =>
        sessionCookie(config.session.cookie_name, origin.startsWith('https:')),
      ),
    ),
  ];
}

function withoutOwnCookies(header: string, ownCookies: readonly string[]): string | undefined {
  let kept: string | undefined = header;
  for (const name of ownCookies) kept = stripOwnCookies(kept, name);
  return kept;
}

/** Names listed in `Connection`, folded; undefined when it lists none but the usual. */
function connectionOptions(connection: string | undefined): ReadonlySet<string> | undefined {
  if (
    connection === undefined ||
    plainConnections.has(connection) ||
    plainConnections.has(connection.toLowerCase())
  ) {
    return undefined;
  }
  return new Set(connection.split(',').map((option) => normalizeHeaderName(option.trim())));
}

function isListed(rawName: string, listed: ReadonlySet<string>): boolean {
  const name = normalizeHeaderName(rawName);
  return listed.has(name) && !notConnectionOptions.has(name);
}
