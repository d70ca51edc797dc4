import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { SallyportError } from '../kernel/error.ts';
import { Secret } from '../kernel/secret.ts';

/** `session.redis`, in the words of the configuration file; durations and secrets parsed. */
export interface RedisSettings {
  /** `redis://` or `rediss://`, `[user[:password]@]host[:port][/db]`. */
  readonly url?: string | undefined;
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

/** Where and how to reach a Redis server. */
export interface RedisStoreOptions {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username: string | undefined;
  readonly password: Secret | undefined;
  /** Undefined: no TLS. The server's certificate is verified, always. */
  readonly tls:
    | {
        readonly servername: string | undefined;
        readonly ca: Buffer | undefined;
        readonly cert: Buffer | undefined;
        readonly key: Secret | undefined;
      }
    | undefined;
  readonly keyPrefix: string;
}

/**
 * Reads `session.redis`. What stands in the URL may hold a password, so no message repeats it.
 *
 * @throws config_invalid
 */
export function readRedisOptions(settings: RedisSettings): RedisStoreOptions {
  const url = parseRedisUrl(settings.url);
  const secure = url.protocol === 'rediss:';
  if (settings.tls !== undefined && !secure) {
    throw invalid(
      'tls is set, but the url does not begin with rediss://: the connection would not be encrypted',
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return {
    host,
    port: url.port === '' ? 6379 : Number(url.port),
    db: parseDb(url.pathname),
    username: settings.username ?? (url.username === '' ? undefined : decode(url.username)),
    password: readPassword(settings, url),
    tls: secure ? readTls(settings.tls, host) : undefined,
    keyPrefix: settings.key_prefix,
  };
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

function readPassword(settings: RedisSettings, url: URL): Secret | undefined {
  if (settings.password !== undefined) return settings.password;
  if (settings.password_file !== undefined) {
    return new Secret(
      read(settings.password_file, 'password_file')
        .toString('utf8')
        .replace(/\r?\n$/, ''),
    );
  }
  return url.password === '' ? undefined : new Secret(decode(url.password));
}

function readTls(tls: RedisSettings['tls'], host: string): RedisStoreOptions['tls'] {
  const { ca_file, client_cert_file, client_key_file } = tls ?? {};
  if ((client_cert_file === undefined) !== (client_key_file === undefined)) {
    throw invalid('tls.client_cert_file and tls.client_key_file go together');
  }
  return {
    servername: isIP(host) === 0 ? host : undefined,
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
