import { isIdentityHeader, normalizeHeaderName } from './identity-header-names.ts';

const noNames: ReadonlySet<string> = new Set();

/** What becomes of one header of the client's. */
export type HeaderFate = 'keep' | 'drop' | 'cookie' | 'credential' | 'tracestate';

/** Hop-by-hop (RFC 9110 section 7.6.1) and what belongs to one hop in practice. `expect` is answered by us. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** What tells an upstream another client, host, path or method than the one that we judged (SPEC section 7). */
const misleading: ReadonlySet<string> = new Set([
  'cf-connecting-ip',
  'forwarded',
  // CGI turns it into HTTP_PROXY, which clients behind take for their outbound proxy (httpoxy, CVE-2016-5385).
  'proxy',
  'true-client-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-envoy-original-path',
  'x-forwarded',
  'x-host',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-host',
  'x-original-method',
  'x-original-uri',
  'x-original-url',
  'x-real-ip',
  'x-rewrite-url',
]);

/** Ours to set: the host, the tracing ids. */
const ours: ReadonlySet<string> = new Set(['cookie2', 'host', 'traceparent', 'x-request-id']);

/**
 * What becomes of a header by this name.
 *
 * @param configured folded names of the operator's own identity headers
 * @param credentials folded names that some route takes for a credential, beside `Authorization`
 */
export function fateOfHeader(
  rawName: string,
  configured: ReadonlySet<string>,
  credentials: ReadonlySet<string> = noNames,
): HeaderFate {
  const name = normalizeHeaderName(rawName);
  if (
    hopByHop.has(name) ||
    misleading.has(name) ||
    ours.has(name) ||
    configured.has(name) ||
    name.startsWith('x-forwarded-') ||
    name.startsWith('x-sallyport') ||
    isIdentityHeader(name)
  ) {
    return 'drop';
  }
  if (name === 'authorization' || credentials.has(name)) return 'credential';
  if (name === 'cookie') return 'cookie';
  if (name === 'tracestate') return 'tracestate';
  // `Content_Length` beside `Content-Length` is how two parsers come to see two requests.
  if (name === 'content-length' && rawName.toLowerCase() !== name) return 'drop';
  return 'keep';
}
