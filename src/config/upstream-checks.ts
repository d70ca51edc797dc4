import { normalizeHeaderName } from '../policy/identity-header-names.ts';
import { parseUpstreamUrl } from './addresses.ts';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config } from './schema.ts';

/** RFC 9110 section 5.6.2: what a header name, a method or a cookie name is made of. */
export const tokenPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

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
  if (!upstream.username.bind) {
    judge.warn(
      ['upstream', 'username', 'bind'],
      'off: whoever can get a user name at one of the sources is that user upstream',
    );
  }
  for (const [index, name] of (upstream.bound_cookies ?? []).entries()) {
    if (!tokenPattern.test(name))
      judge.refuse(
        ['upstream', 'bound_cookies', index],
        `expected the name of a cookie, found ${quote(name)}`,
      );
  }
  checkIdentityHeaders(judge, upstream.identity_headers ?? []);
}

function checkIdentityHeaders(judge: Judge, headers: readonly { header: string; claim: string }[]): void {
  const seen = new Set<string>();
  for (const [index, { header, claim }] of headers.entries()) {
    const path: KeyPath = ['upstream', 'identity_headers', index, 'header'];
    // Servers read _ and other characters as - (CGI, WSGI, Go, PHP), so that all such spellings are one name.
    const folded = normalizeHeaderName(header);
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
    if (claim !== 'email' && emailHeader.test(folded))
      judge.warn(
        ['upstream', 'identity_headers', index, 'claim'],
        `${header} is filled from ${quote(claim)}: an upstream that finds users by their address believes it, though it is neither verified nor bound to its owner; write claim: email`,
      );
  }
}

/** What upstreams take for the user's address: X-WEBAUTH-EMAIL, X-Forwarded-Email, Remote-Email and their like. */
const emailHeader = /(?:^|-)e?-?mail(?:-?address)?$/;

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
