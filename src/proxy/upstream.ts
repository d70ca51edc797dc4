import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { buildConnector, Pool } from 'undici';
import type { UpstreamConfig } from '../config/schema.ts';
import type { Refusal } from '../kernel/refusal.ts';

/** The upstream, ready for requests. */
export interface Upstream {
  readonly pool: Pool;
  close(): Promise<void>;
}

/** Marks failures of connections that have carried an answer before: closing one of these is the upstream's good right. */
const reusedConnection = Symbol('reusedConnection');

interface ConnectionFailure extends Error {
  code?: string;
  [reusedConnection]?: boolean;
}

/**
 * Connects to the upstream over TCP, TLS (always verified) or a Unix socket.
 *
 * @throws Error when a certificate or key file can't be read, or the URL is none
 */
export function connectUpstream(config: UpstreamConfig, maxHeaderSizeBytes: number): Upstream {
  const socketPath = config.url.startsWith('unix:') ? config.url.slice('unix:'.length) : undefined;
  const url = new URL(socketPath === undefined ? config.url : 'http://localhost');
  const tls = tlsOptions(config);
  const connector = buildConnector({
    ...tls,
    ...(socketPath === undefined ? {} : { socketPath }),
    timeout: config.connect_timeout,
  } as buildConnector.BuildOptions);
  // undici would check the certificate against the client's Host header, which names us and not the upstream.
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const servername = config.tls.server_name ?? (isIP(hostname) === 0 ? hostname : undefined);
  const pool = new Pool(url.origin, {
    connect(options, callback) {
      connector({ ...options, servername } as buildConnector.Options, (error, socket) => {
        if (error !== null) {
          callback(error, null);
          return;
        }
        socket.prependListener('error', (failure: ConnectionFailure) => {
          failure[reusedConnection] = socket.bytesRead > 0;
          // undici takes a reset for the regular end of an answer without length: a truncated one would pass for whole.
          if (failure.code === 'ECONNRESET') failure.code = 'UPSTREAM_RESET';
        });
        callback(null, socket);
      });
    },
    headersTimeout: config.response_timeout,
    bodyTimeout: config.idle_timeout,
    maxHeaderSize: Math.max(maxHeaderSizeBytes, 65_536),
    pipelining: 1,
    allowH2: false,
  });
  return { pool, close: () => pool.destroy() };
}

function tlsOptions({ tls }: UpstreamConfig): ConnectionOptions {
  const { ca_file, client_cert_file, client_key_file } = tls;
  return {
    rejectUnauthorized: true,
    ...(ca_file === undefined ? {} : { ca: readFileSync(ca_file) }),
    ...(client_cert_file === undefined ? {} : { cert: readFileSync(client_cert_file) }),
    ...(client_key_file === undefined ? {} : { key: readFileSync(client_key_file) }),
  };
}

export type UpstreamErrorKind = 'refused' | 'reset' | 'timeout' | 'tls' | 'other';

const kindOfCode: Readonly<Record<string, UpstreamErrorKind>> = {
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  EACCES: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  ENOTFOUND: 'refused',
  EAI_AGAIN: 'refused',
  UND_ERR_SOCKET: 'reset',
  ECONNRESET: 'reset',
  UPSTREAM_RESET: 'reset',
  EPIPE: 'reset',
};

/** OpenSSL's verification codes and Node's own, none of which share a prefix. */
const tlsCode =
  /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/;

/** What kind of failure an error of the upstream's connection is. */
export function kindOfError(error: unknown): UpstreamErrorKind {
  const code = codeOf(error);
  return kindOfCode[code] ?? (tlsCode.test(code) ? 'tls' : 'other');
}

/** The error's own code, or `''`. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

const refusals: Readonly<Record<UpstreamErrorKind, Refusal>> = {
  refused: { status: 502, code: 'upstream_unreachable' },
  reset: { status: 502, code: 'upstream_reset' },
  timeout: { status: 504, code: 'upstream_timeout' },
  tls: { status: 502, code: 'upstream_untrusted' },
  other: { status: 502, code: 'upstream_failed' },
};

/** What the client is told: never an address, never the error's text (SPEC section 12). */
export function refusalOfKind(kind: UpstreamErrorKind): Refusal {
  return refusals[kind];
}

/** Methods whose repetition changes nothing (RFC 9110 section 9.2.2 and RFC 4918). */
const idempotentMethods: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'PROPFIND',
  'PROPPATCH',
  'MKCOL',
  'COPY',
  'MOVE',
  'REPORT',
  'SEARCH',
  'QUERY',
]);

/**
 * Whether to try once more: the request is idempotent and has no body, and either nothing was sent, or a reused connection
 * was closed before the first byte of an answer (SPEC section 12; RFC 9112 section 9.3.1).
 */
export function isSafeToRetry(
  method: string,
  hasBody: boolean,
  error: unknown,
  sent: boolean,
  answerBegun: boolean,
): boolean {
  if (hasBody || answerBegun || !idempotentMethods.has(method)) return false;
  const kind = kindOfError(error);
  if (!sent) return kind === 'refused' || kind === 'reset';
  return kind === 'reset' && wasReused(error);
}

function wasReused(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (reusedConnection in error) return error[reusedConnection] === true;
  const socket: unknown = 'socket' in error ? error.socket : undefined;
  return (
    typeof socket === 'object' && socket !== null && 'bytesRead' in socket && Number(socket.bytesRead) > 0
  );
}
