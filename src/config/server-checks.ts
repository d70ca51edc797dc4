import { parseListen } from '../kernel/listen-address.ts';
import { isCidr, isLoopback, parseOrigin, parseRateLimit, parseWebUrl } from './addresses.ts';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config } from './schema.ts';

const maxWorkers = 256;

/** `server`, `operations`, `branding`. */
export function checkServer(judge: Judge, { server, operations, session, branding }: Config): void {
  checkPublicUrls(judge, server.public_url);
  checkListen(judge, ['server', 'listen'], server.listen);
  checkListen(judge, ['operations', 'listen'], operations.listen);
  const address = parseListen(server.listen);
  const fixed = address !== undefined && ('path' in address || address.port !== 0);
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
  if (server.workers !== 1 && session.redis === undefined) {
    judge.refuseTogether(
      ['server', 'workers'],
      [['session', 'redis']],
      'several workers need session.redis: without it each would have sessions of its own',
      'add session.redis, or write workers: 1',
    );
  }
  if (typeof server.workers === 'number' && server.workers > maxWorkers) {
    judge.refuse(['server', 'workers'], `expected at most ${maxWorkers}: one for each core is enough`);
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
