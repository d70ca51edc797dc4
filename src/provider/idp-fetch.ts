import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Agent, ProxyAgent, request } from 'undici';
import type { Dispatcher } from 'undici';
import type { SourceConfig } from '../config/schema.ts';
import { SallyportError } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import { idpUnavailable } from './idp-fault.ts';
import { isLoopbackHost } from './loopback.ts';

/** An IdP's endpoint, as `sallyport_idp_requests_total` names it. */
export type IdpEndpoint = 'discovery' | 'jwks' | 'par' | 'token' | 'userinfo';

/** Bounds on one request to the IdP (SPEC section 12). */
export interface IdpFetchLimits {
  /** From the first byte sent to the last byte read; default 10 s. */
  readonly timeoutMs?: number;
  /** After decompression; default 1 MiB. */
  readonly maxBytes?: number;
}

/** What a request to the IdP may carry. */
export interface IdpRequest {
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
}

/** One source's way out to its IdP. */
export interface IdpFetch {
  /**
   * One bounded request. Redirects are not followed; a success must be JSON.
   * @throws idp_unavailable (`detail` says why)
   * @returns a Response that carries the status, the content type and the whole (JSON) body, and nothing else.
   */
  fetch(endpoint: IdpEndpoint, url: string, init?: IdpRequest): Promise<Response>;
  close(): Promise<void>;
}

const defaultTimeoutMs = 10_000;
const defaultMaxBytes = 1024 * 1024;

/**
 * The way out to a source's IdP: its CA file, its outbound proxy, our bounds, counted.
 * @throws config_invalid when the CA file can't be read
 */
export function createIdpFetch(
  source: Pick<SourceConfig, 'id' | 'issuer' | 'tls' | 'proxy'>,
  meter: Meter,
  limits: IdpFetchLimits = {},
): IdpFetch {
  const dispatcher = dispatcherOf(source);
  const timeoutMs = limits.timeoutMs ?? defaultTimeoutMs;
  const maxBytes = limits.maxBytes ?? defaultMaxBytes;
  const plainHttpAllowed = new URL(source.issuer).protocol === 'http:';

  async function fetchBounded(url: string, init: IdpRequest): Promise<Response> {
    checkUrl(url, plainHttpAllowed);
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), timeoutMs);
    try {
      const answer = await request(url, {
        dispatcher,
        method: init.method ?? 'GET',
        // No compression is asked for: there is nothing to gain on a few kilobytes, and one attack less.
        headers: { accept: 'application/json', ...init.headers, 'accept-encoding': 'identity' },
        body: init.body ?? null,
        signal: abort.signal,
      });
      return await readAnswer(answer, maxBytes);
    } catch (error) {
      if (error instanceof SallyportError) throw error;
      if (abort.signal.aborted)
        throw idpUnavailable('timeout', `no whole answer within ${timeoutMs} ms`, error);
      throw idpUnavailable('connection', connectionCause(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async fetch(endpoint, url, init = {}) {
      try {
        const response = await fetchBounded(url, init);
        meter.idpRequest(source.id, endpoint, response.status < 400 ? 'ok' : 'error');
        return response;
      } catch (error) {
        const timedOut = error instanceof SallyportError && error.detail === 'timeout';
        meter.idpRequest(source.id, endpoint, timedOut ? 'timeout' : 'error');
        throw error;
      }
    },
    close: () => dispatcher.destroy(),
  };
}

function dispatcherOf(source: Pick<SourceConfig, 'id' | 'tls' | 'proxy'>): Dispatcher {
  const tls = source.tls.ca_file === undefined ? {} : { ca: readCa(source.id, source.tls.ca_file) };
  // No connection is kept: sign-ins are rare, and one that the IdP had closed meanwhile would cost a user the code.
  const pipelining = 0;
  if (source.proxy !== undefined) return new ProxyAgent({ uri: source.proxy, requestTls: tls, pipelining });
  return new Agent({ connect: tls, pipelining });
}

function readCa(sourceId: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new SallyportError('config_invalid', `source ${sourceId}: tls.ca_file can't be read`, { cause });
  }
}

/** Metadata names URLs of the IdP's choice: none of them may lead tokens or secrets over plain http. */
function checkUrl(text: string, plainHttpAllowed: boolean): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url?.protocol === 'http:' && plainHttpAllowed && isLoopbackHost(url.hostname);
  if (url?.protocol !== 'https:' && !plain)
    throw idpUnavailable('insecure_url', 'an endpoint of the IdP is not https');
}

async function readAnswer(answer: Dispatcher.ResponseData, maxBytes: number): Promise<Response> {
  const { statusCode: status, headers, body } = answer;
  const contentType = String(headers['content-type'] ?? '');
  const refuse = (fault: SallyportError): never => {
    // Nothing more is read: the socket goes with it.
    body.on('error', () => undefined).destroy();
    throw fault;
  };
  if (status >= 300 && status < 400)
    refuse(idpUnavailable('redirected', `answered with a redirect (${status})`));
  if (status < 200 || status >= 500) refuse(idpUnavailable('status', `answered with status ${status}`));
  // A success must say that it is JSON; what an error says is only looked at by its status and `error` member.
  if (status < 300 && status !== 204 && !isJson(contentType)) {
    refuse(
      idpUnavailable(
        'content_type',
        `answered with content type ${JSON.stringify(contentType.slice(0, 100))}`,
      ),
    );
  }
  if (Number(headers['content-length'] ?? 0) > maxBytes) refuse(tooLarge(maxBytes));
  const bytes = await readBounded(
    decoded(body, String(headers['content-encoding'] ?? 'identity')),
    body,
    maxBytes,
  );
  return new Response(status === 204 ? null : bytes, { status, headers: { 'content-type': contentType } });
}

const isJson = (contentType: string): boolean =>
  /^application\/([\w.-]+\+)?json$/i.test(contentType.split(';', 1)[0]?.trim() ?? '');

const tooLarge = (maxBytes: number) =>
  idpUnavailable('too_large', `answered with more than ${maxBytes} bytes`);

/** Some servers compress whatever was asked for; the bound is on what comes out. */
function decoded(body: Readable, encoding: string): Readable {
  const decoder = {
    gzip: createGunzip,
    'x-gzip': createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress,
  }[encoding.toLowerCase()];
  if (decoder !== undefined) {
    const out = decoder();
    body.on('error', (error) => out.destroy(error)).pipe(out);
    return out;
  }
  if (encoding.toLowerCase() === 'identity') return body;
  body.on('error', () => undefined).destroy();
  throw idpUnavailable('encoding', 'answered in an unknown content encoding');
}

async function readBounded(
  stream: Readable,
  source: Readable,
  maxBytes: number,
): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
  } finally {
    source.on('error', () => undefined).destroy();
  }
  return Buffer.concat(chunks);
}

/** A short cause for the operator: `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED` …, else the error's kind. */
function connectionCause(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  return `the connection failed (${code})`;
}
