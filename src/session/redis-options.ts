import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { SallyportError } from '../kernel/error.ts';
import { Secret } from '../kernel/secret.ts';

/** `session.redis`, in the words of the configuration file; durations and secrets parsed. */
export interface RedisSettings {
  /** `redis://` or `rediss://`, `[user[:password]@]host[:port][/db]`. */
  readonly url?: string | undefined;
  readonly sentinel?:
    | {
        readonly name: string;
        /** `host[:port]`. */
        readonly nodes: readonly string[];
        readonly db?: number | undefined;
        readonly username?: string | undefined;
        readonly password?: Secret | undefined;
        readonly password_file?: string | undefined;
        readonly tls?: boolean | undefined;
      }
    | undefined;
  readonly cluster?: { readonly nodes: readonly string[] } | undefined;
  readonly username?: string | undefined;
  readonly password?: Secret | undefined;
  readonly password_file?: string | undefined;
  readonly tls?:
    | {
        readonly ca_file?: string | undefined;
        readonly client_cert_file?: string | undefined;
        readonly client_key_file?: string | undefined;
      }
    | undefined;
  readonly key_prefix: string;
}

/** Where a server listens. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

/** What a server wants to see of whoever connects. */
export interface RedisAccess {
  readonly db: number;
  readonly username: string | undefined;
  readonly password: Secret | undefined;
  /** Undefined: no TLS. The server's certificate is verified, always, for the host or address that is dialled. */
  readonly tls:
    | {
        readonly ca: Buffer | undefined;
        readonly cert: Buffer | undefined;
        readonly key: Secret | undefined;
      }
    | undefined;
}

/** How the server that holds the keys is found. */
export type RedisServers =
  | { readonly kind: 'single'; readonly address: RedisAddress }
  | {
      readonly kind: 'sentinel';
      /** The name that the sentinels know the master by. */
      readonly name: string;
      readonly sentinels: readonly RedisAddress[];
      readonly access: RedisAccess;
    }
  | { readonly kind: 'cluster'; readonly seeds: readonly RedisAddress[] };

/** Where and how to reach Redis. */
export interface RedisStoreOptions {
  readonly servers: RedisServers;
  readonly access: RedisAccess;
  readonly keyPrefix: string;
}

/**
 * Reads `session.redis`. What stands in the URL may hold a password, so no message repeats it.
 *
 * @throws config_invalid
 */
export function readRedisOptions(settings: RedisSettings): RedisStoreOptions {
  const { url, sentinel, cluster, key_prefix: keyPrefix } = settings;
  if ([url, sentinel, cluster].filter((each) => each !== undefined).length > 1)
    throw invalid('url, sentinel and cluster exclude one another');
  if (sentinel !== undefined) return readSentinel(settings, sentinel);
  if (cluster === undefined) return readSingle(settings);
  const access = { ...readUser(settings), db: 0, tls: settings.tls && readTls(settings.tls) };
  return { servers: { kind: 'cluster', seeds: parseNodes(cluster.nodes, 6379) }, access, keyPrefix };
}

function readSingle(settings: RedisSettings): RedisStoreOptions {
  const url = parseRedisUrl(settings.url);
  const secure = url.protocol === 'rediss:';
  if (settings.tls !== undefined && !secure) {
    throw invalid(
      'tls is set, but the url does not begin with rediss://: the connection would not be encrypted',
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const user = readUser(settings);
  return {
    servers: { kind: 'single', address: { host, port: url.port === '' ? 6379 : Number(url.port) } },
    access: {
      db: parseDb(url.pathname),
      username: user.username ?? (url.username === '' ? undefined : decode(url.username)),
      password: user.password ?? (url.password === '' ? undefined : new Secret(decode(url.password))),
      tls: secure ? readTls(settings.tls) : undefined,
    },
    keyPrefix: settings.key_prefix,
  };
}

function readSentinel(
  settings: RedisSettings,
  sentinel: NonNullable<RedisSettings['sentinel']>,
): RedisStoreOptions {
  const tls = settings.tls && readTls(settings.tls);
  if (sentinel.tls === true && tls === undefined) throw invalid('sentinel.tls needs tls');
  return {
    servers: {
      kind: 'sentinel',
      name: sentinel.name,
      sentinels: parseNodes(sentinel.nodes, 26379),
      access: {
        ...readUser(sentinel, 'sentinel.'),
        db: 0,
        tls: (sentinel.tls ?? true) ? tls : undefined,
      },
    },
    access: { ...readUser(settings), db: sentinel.db ?? 0, tls },
    keyPrefix: settings.key_prefix,
  };
}

/** `host:port`, `host`, `[v6]:port`; undefined for anything else, which may hold a password and is not to be repeated. */
export function parseNode(text: string, defaultPort: number): RedisAddress | undefined {
  const [, v6, name, port] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?$/.exec(text) ?? [];
  const host = v6 ?? name;
  const number = port === undefined ? defaultPort : Number(port);
  if (host === undefined || number < 1 || number > 65_535) return undefined;
  return v6 !== undefined && isIP(v6) !== 6 ? undefined : { host, port: number };
}

function parseNodes(texts: readonly string[], defaultPort: number): readonly RedisAddress[] {
  if (texts.length === 0) throw invalid('nodes names no server');
  return texts.map((text) => {
    const address = parseNode(text, defaultPort);
    if (address === undefined) throw invalid('a node cannot be read as host:port');
    return address;
  });
}

function parseRedisUrl(text: string | undefined): URL {
  if (text === undefined) throw invalid('url is missing');
  // Not `new URL` in a try: its error carries the input, and that would carry the password.
  if (!URL.canParse(text)) throw invalid('url cannot be read as a URL');
  const url = new URL(text);
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    throw invalid('url must begin with redis:// or rediss://');
  if (url.hostname === '') throw invalid('url names no host');
  if (url.search !== '' || url.hash !== '') throw invalid('url must not have a query or a fragment');
  return url;
}

function parseDb(path: string): number {
  if (path === '' || path === '/') return 0;
  const match = /^\/(0|[1-9][0-9]{0,5})$/.exec(path);
  if (match === null) throw invalid('the path of url must be a database number, such as /0');
  return Number(match[1]);
}

function readUser(
  { username, password, password_file: file }: Pick<RedisSettings, 'username' | 'password' | 'password_file'>,
  under = '',
): Pick<RedisAccess, 'username' | 'password'> {
  if (password !== undefined || file === undefined) return { username, password };
  const text = read(file, `${under}password_file`)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  return { username, password: new Secret(text) };
}

function readTls(tls: RedisSettings['tls']): RedisAccess['tls'] {
  const { ca_file, client_cert_file, client_key_file } = tls ?? {};
  if ((client_cert_file === undefined) !== (client_key_file === undefined)) {
    throw invalid('tls.client_cert_file and tls.client_key_file go together');
  }
  return {
    ca: ca_file === undefined ? undefined : read(ca_file, 'tls.ca_file'),
    cert: client_cert_file === undefined ? undefined : read(client_cert_file, 'tls.client_cert_file'),
    key:
      client_key_file === undefined
        ? undefined
        : new Secret(read(client_key_file, 'tls.client_key_file').toString()),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('user name or password in url is not percent-encoded correctly');
  }
}

function read(file: string, key: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new SallyportError('config_invalid', `session.redis.${key}: cannot be read`, { cause });
  }
}

function invalid(message: string): SallyportError {
  return new SallyportError('config_invalid', `session.redis: ${message}`);
}
