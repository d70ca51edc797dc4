import { isIPv6 } from 'node:net';
import { quote } from './faults.ts';
import type { KeyPath } from './faults.ts';
import type { Judge } from './judge.ts';
import type { Config } from './schema.ts';
import { checkClientCertificate, tokenPattern } from './upstream-checks.ts';

type Redis = NonNullable<Config['session']['redis']>;

/** `session`. */
export function checkSession(judge: Judge, { session }: Config): void {
  checkSecrets(judge, session);
  if (session.redis !== undefined) checkRedis(judge, session.redis);
  else
    judge.warn(
      ['session', 'redis'],
      'absent: sessions live in memory, in one process, and are lost at restart',
    );
  for (const key of ['idle_timeout', 'absolute_timeout'] as const) {
    if (session[key] < 1000)
      judge.refuse(['session', key], 'expected 1s or more: nobody could stay signed in');
  }
  if (session.idle_timeout > session.absolute_timeout && session.absolute_timeout >= 1000) {
    judge.refuseTogether(
      ['session', 'idle_timeout'],
      [['session', 'absolute_timeout']],
      'idle_timeout is longer than absolute_timeout, so that it has no effect',
      'make idle_timeout at most as long as absolute_timeout',
    );
  }
  if (session.cache > 60_000) {
    judge.warn(['session', 'cache'], 'a sign-out may take so long to reach every replica');
  }
  checkCookieName(judge, session.cookie_name);
}

function checkSecrets(judge: Judge, { secrets, secret_files: files }: Config['session']): void {
  const inline: KeyPath = ['session', 'secrets'];
  const inFiles: KeyPath = ['session', 'secret_files'];
  const cure = 'openssl rand -base64 32 makes one';
  if (secrets !== undefined && files !== undefined) {
    judge.refuseTogether(inline, [inFiles], 'both secrets and secret_files are given', 'keep one of them');
  } else if (secrets === undefined && files === undefined) {
    judge.miss(inFiles, [inline], 'required: expected secret_files (or secrets)', cure);
  }
  if (secrets?.length === 0) judge.refuse(inline, 'expected at least one secret', cure);
  if (files?.length === 0) judge.refuse(inFiles, 'expected at least one file', cure);
  for (const [index, secret] of (secrets ?? []).entries()) {
    if (Buffer.byteLength(secret.reveal()) < 32) {
      judge.refuse([...inline, index], 'expected a secret of 32 bytes or more, this one is shorter', cure);
    }
  }
}

const redisPath: KeyPath = ['session', 'redis'];

function checkRedis(judge: Judge, redis: Redis): void {
  const { url, sentinel, cluster } = redis;
  const [first, ...others] = (['url', 'sentinel', 'cluster'] as const).filter(
    (key) => redis[key] !== undefined,
  );
  if (first === undefined) {
    const example = 'for example url: redis://redis:6379/0';
    judge.miss(
      [...redisPath, 'url'],
      [],
      'required: expected a redis:// or rediss:// URL (or sentinel, or cluster)',
      example,
    );
  }
  for (const other of others) {
    judge.refuseTogether(
      [...redisPath, other],
      [[...redisPath, first ?? 'url']],
      `both ${first} and ${other} are given`,
      'keep one of url, sentinel and cluster',
    );
  }
  if (url !== undefined) checkRedisUrl(judge, url, redis);
  if (sentinel !== undefined) checkSentinel(judge, sentinel, redis);
  if (cluster !== undefined) checkNodes(judge, [...redisPath, 'cluster', 'nodes'], cluster.nodes);
  checkPasswordOnce(judge, redisPath, redis);
  // In a url both may stand.
  if (url === undefined) checkUserHasPassword(judge, redisPath, redis);
  if (redis.tls !== undefined) checkClientCertificate(judge, [...redisPath, 'tls'], redis.tls);
}

function checkSentinel(judge: Judge, sentinel: NonNullable<Redis['sentinel']>, redis: Redis): void {
  const path: KeyPath = [...redisPath, 'sentinel'];
  checkNodes(judge, [...path, 'nodes'], sentinel.nodes);
  checkPasswordOnce(judge, path, sentinel);
  checkUserHasPassword(judge, path, sentinel);
  if (/\s/.test(sentinel.name))
    judge.refuse([...path, 'name'], 'expected the name of a master, without blanks', 'for example mymaster');
  if (sentinel.tls === true && redis.tls === undefined) {
    judge.refuseTogether(
      [...path, 'tls'],
      [[...redisPath, 'tls']],
      'the sentinels are to speak TLS, but session.redis.tls is absent',
      'add session.redis.tls; {} trusts the certificates of the system',
    );
  }
}

/** Never shows what stands there: whoever takes it for a URL may have put the password in. */
function checkNodes(judge: Judge, path: KeyPath, nodes: readonly string[]): void {
  const seen = new Map<string, number>();
  for (const [index, node] of nodes.entries()) {
    const match = /^(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?$/.exec(node);
    const port = Number(match?.[2] ?? 1);
    const fits =
      match !== null && port >= 1 && port <= 65_535 && (match[1] === undefined || isIPv6(match[1]));
    if (!fits) {
      const cure = node.includes('://')
        ? 'leave the scheme out; user, password and TLS have keys of their own in session.redis'
        : 'for example redis-0:6379';
      judge.refuse([...path, index], 'expected host:port', cure);
      continue;
    }
    const before = seen.get(node);
    if (before !== undefined) {
      const cure = 'list each node once';
      judge.refuseTogether([...path, index], [[...path, before]], 'this node is listed twice', cure);
    }
    seen.set(node, index);
  }
}

interface Credentials {
  readonly username?: string | undefined;
  readonly password?: unknown;
  readonly password_file?: string | undefined;
}

function checkPasswordOnce(
  judge: Judge,
  path: KeyPath,
  { password, password_file: file }: Credentials,
): void {
  if (password === undefined || file === undefined) return;
  judge.refuseTogether(
    [...path, 'password'],
    [[...path, 'password_file']],
    'both password and password_file are given',
    'keep one of them',
  );
}

/** A user without a password is not signed in at all: the client library sends none of both. */
function checkUserHasPassword(
  judge: Judge,
  path: KeyPath,
  { username, password, password_file: file }: Credentials,
): void {
  if (username === undefined || password !== undefined || file !== undefined) return;
  judge.miss(
    [...path, 'password_file'],
    [[...path, 'username']],
    'username needs password_file (or password) beside it',
    'write the password into a file, or remove username',
  );
}

/** Never shows the URL: it may hold the password. */
function checkRedisUrl(judge: Judge, written: string, redis: Redis): void {
  const path: KeyPath = ['session', 'redis', 'url'];
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const fits =
    url !== undefined &&
    /^rediss?:$/.test(url.protocol) &&
    url.hostname !== '' &&
    /^(\/[0-9]{0,5})?$/.test(url.pathname) &&
    url.search === '' &&
    url.hash === '';
  if (!fits) {
    judge.refuse(
      path,
      'expected redis://host:port/db or rediss://host:port/db',
      'for example redis://redis:6379/0',
    );
    return;
  }
  for (const [part, key] of [
    ['password', 'password'],
    ['password', 'password_file'],
    ['username', 'username'],
  ] as const) {
    if (url[part] !== '' && redis[key] !== undefined) {
      judge.refuseTogether(
        ['session', 'redis', key],
        [path],
        `the ${part} stands in the url and in ${key}`,
        'keep one of them',
      );
    }
  }
  if (redis.tls !== undefined && url.protocol === 'redis:') {
    judge.refuseTogether(
      ['session', 'redis', 'tls'],
      [path],
      'the url is redis://, so that tls has no effect',
      'write rediss:// in the url, or remove tls',
    );
  }
}

function checkCookieName(judge: Judge, name: string): void {
  const path: KeyPath = ['session', 'cookie_name'];
  if (!tokenPattern.test(name) || name.length > 64) {
    judge.refuse(
      path,
      `expected the name of a cookie (letters, digits, - and _; at most 64), found ${quote(name)}`,
    );
    return;
  }
  const [prefix] = /^__(host|secure|http|host-http)-/i.exec(name) ?? [];
  if (prefix === undefined) {
    judge.warn(path, 'without the prefix __Host- a sibling host could set this cookie');
  } else if (prefix !== '__Host-' || name === '__Host-') {
    judge.refuse(path, `expected the prefix __Host- (with a name after it) or none, found ${quote(name)}`);
  } else if (name.slice(prefix.length).startsWith('__')) {
    judge.refuse(path, 'expected one prefix');
  }
}
