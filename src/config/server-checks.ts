import {
  isCidr,
  isLoopback,
  parseListen,
  parseOrigin,
  parseRateLimit,
  parseUpstreamUrl,
  parseWebUrl,
} from './addresses.ts';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config } from './schema.ts';

/** RFC 9110 section 5.6.2: what a header name, a method or a cookie name is made of. */
export const tokenPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** `server`, `operations`, `branding`. */
export function checkServer(judge: Judge, { server, operations, session, branding }: Config): void {
  checkPublicUrls(judge, server.public_url);
  checkListen(judge, ['server', 'listen'], server.listen);
  checkListen(judge, ['operations', 'listen'], operations.listen);
  const address = parseListen(server.listen);
  const fixed = address?.kind === 'unix' || (address?.kind === 'tcp' && address.port !== 0);
  if (fixed && server.listen === operations.listen) {
    judge.refuseTogether(
      ['operations', 'listen'],
      [['server', 'listen']],
      'server.listen and operations.listen are the same address',
      'give the operations another port: metrics are not for users',
    );
  }
  if (!/^(\/[A-Za-z0-9._~-]+)+$/.test(server.path_prefix) || /\/\.{1,2}(\/|$)/.test(server.path_prefix)) {
    judge.refuse(
      ['server', 'path_prefix'],
      `expected a path such as /_sallyport (begins with /, does not end with one), found ${quote(server.path_prefix)}`,
    );
  }
  for (const [index, block] of server.trusted_proxies.entries()) {
    const path: KeyPath = ['server', 'trusted_proxies', index];
    if (!isCidr(block)) {
      const single = isCidr(`${block}/32`)
        ? `${block}/32`
        : isCidr(`${block}/128`)
          ? `${block}/128`
          : undefined;
      judge.refuse(
        path,
        `expected a CIDR such as 10.42.0.0/16, found ${quote(block)}`,
        single && `write ${single}`,
      );
    } else if (block.endsWith('/0')) {
      judge.warn(path, 'everybody is believed about client addresses; name the ingress alone');
    }
  }
  if (server.tls !== undefined && server.public_url.every((url) => url.startsWith('http://'))) {
    judge.refuseTogether(
      ['server', 'tls'],
      [['server', 'public_url']],
      'TLS is served, but server.public_url is http',
      'write https in server.public_url, or remove server.tls',
    );
  }
  if (parseRateLimit(server.rate_limit.sign_in) === undefined) {
    judge.refuse(
      ['server', 'rate_limit', 'sign_in'],
      `expected count/duration such as 30/1m, found ${quote(server.rate_limit.sign_in)}`,
    );
  }
  if (server.max_header_size < 4096 || server.max_header_size > 1024 * 1024) {
    judge.refuse(['server', 'max_header_size'], 'expected a size from 4KiB to 1MiB');
  }
  if (operations.readiness_requires.includes('redis') && session.redis === undefined) {
    judge.refuseTogether(
      ['operations', 'readiness_requires'],
      [['session', 'redis']],
      'redis is required for readiness, but there is no session.redis',
      'add session.redis, or remove it here',
    );
  }
  const support = branding.support_url;
  if (
    support !== undefined &&
    parseWebUrl(support) === undefined &&
    !/^mailto:[^\s<>"]+@[^\s<>"]+$/.test(support)
  ) {
    judge.refuse(
      ['branding', 'support_url'],
      `expected an http, https or mailto URL, found ${quote(support)}`,
    );
  }
}

function checkListen(judge: Judge, path: KeyPath, listen: string): void {
  if (parseListen(listen) !== undefined) return;
  const cure = /^:?[0-9]+$/.test(listen) ? `write 0.0.0.0:${listen.replace(':', '')}` : undefined;
  judge.refuse(path, `expected host:port, "[::]:port" or unix:/path, found ${quote(listen)}`, cure);
}

function checkPublicUrls(judge: Judge, urls: readonly string[]): void {
  const whole: KeyPath = ['server', 'public_url'];
  const schemes = new Set<string>();
  const seen = new Set<string>();
  for (const [index, url] of urls.entries()) {
    const path: KeyPath = [...whole, index];
    const origin = parseOrigin(url);
    if (origin === undefined) {
      const bare = parseWebUrl(url)?.origin;
      judge.refuse(
        path,
        `expected an origin such as https://forge.example.com, found ${quote(url)}`,
        bare && `write ${bare}`,
      );
      continue;
    }
    const parsed = new URL(origin);
    if (parsed.protocol === 'http:' && !isLoopback(parsed)) {
      judge.refuse(
        path,
        `expected https, because ${parsed.hostname} is no loopback`,
        `write ${origin.replace('http:', 'https:')}`,
      );
    }
    if (parsed.hostname.includes('*')) judge.refuse(path, 'expected one host: there are no wildcards');
    if (seen.has(origin)) judge.refuseTogether(path, [], `${origin} is listed twice`, 'keep one of them');
    seen.add(origin);
    schemes.add(parsed.protocol);
  }
  if (schemes.size > 1) {
    judge.refuseTogether(whole, [], 'all origins must have the same scheme', 'write https in all of them');
  }
}

/** Headers that a proxy may not set by configuration: framing, hop-by-hop, credentials, and Sallyport's own. */
const forbiddenHeaders: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'content-type',
  'content-encoding',
  'expect',
  'host',
  'cookie',
  'set-cookie',
  'authorization',
  'origin',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-real-ip',
  'x-original-url',
  'x-rewrite-url',
  'x-http-method-override',
  'traceparent',
]);

/** `upstream`. */
export function checkUpstream(judge: Judge, { upstream }: Config): void {
  const address = parseUpstreamUrl(upstream.url);
  if (address === undefined) {
    const message =
      'expected http://host:port, https://host:port or unix:/path, without path, query or credentials';
    judge.refuse(['upstream', 'url'], message, 'for example http://127.0.0.1:3000');
  }
  const tlsKeys = Object.entries(upstream.tls).filter(([, value]) => value !== undefined);
  const [firstTlsKey] = tlsKeys[0] ?? [];
  if (firstTlsKey !== undefined && address !== undefined && !/^https:/i.test(upstream.url)) {
    judge.refuseTogether(
      ['upstream', 'tls', firstTlsKey],
      [['upstream', 'url']],
      'upstream.url is not https, so that upstream.tls has no effect',
      'write https in upstream.url, or remove upstream.tls',
    );
  }
  checkClientCertificate(judge, ['upstream', 'tls'], upstream.tls);
  for (const key of ['connect_timeout', 'response_timeout', 'idle_timeout'] as const) {
    if (upstream[key] === 0)
      judge.refuse(['upstream', key], 'expected more than 0: nothing would ever be answered');
  }
  const { pattern } = upstream.username;
  if (pattern !== undefined) {
    try {
      new RegExp(pattern, 'u');
    } catch {
      judge.refuse(
        ['upstream', 'username', 'pattern'],
        `expected a regular expression, found ${quote(pattern)}`,
      );
    }
  }
  checkIdentityHeaders(judge, upstream.identity_headers ?? []);
}

function checkIdentityHeaders(judge: Judge, headers: readonly { header: string; claim: string }[]): void {
  const seen = new Set<string>();
  for (const [index, { header }] of headers.entries()) {
    const path: KeyPath = ['upstream', 'identity_headers', index, 'header'];
    // Servers read _ and - alike (CGI, WSGI, Go), so that both spellings are one name.
    const folded = header.toLowerCase().replaceAll('_', '-');
    if (!tokenPattern.test(header)) {
      judge.refuse(path, `expected the name of a header, found ${quote(header)}`);
    } else if (
      forbiddenHeaders.has(folded) ||
      folded.startsWith('x-sallyport-') ||
      folded.startsWith('sec-')
    ) {
      judge.refuse(
        path,
        `${header} cannot carry an identity: it has a meaning of its own`,
        'choose another name',
      );
    } else if (seen.has(folded)) {
      judge.refuseTogether(path, [], `${header} is set twice`, 'keep one of them');
    }
    seen.add(folded);
  }
}

/** A client certificate and its key come together. */
export function checkClientCertificate(
  judge: Judge,
  path: KeyPath,
  tls: { readonly client_cert_file?: string | undefined; readonly client_key_file?: string | undefined },
): void {
  const cert: KeyPath = [...path, 'client_cert_file'];
  const key: KeyPath = [...path, 'client_key_file'];
  if (tls.client_cert_file !== undefined && tls.client_key_file === undefined) {
    judge.miss(key, [cert], 'client_cert_file needs client_key_file beside it');
  }
  if (tls.client_key_file !== undefined && tls.client_cert_file === undefined) {
    judge.miss(cert, [key], 'client_key_file needs client_cert_file beside it');
  }
}
