import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Dispatcher, Pool } from 'undici';
import type { Meter } from '../kernel/meter.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { upstreamTarget } from '../policy/canonical-target.ts';
import type { BoundCookies } from '../session/bound-cookies.ts';
import type { OpenedSession } from '../session/types.ts';
import { filterResponseHeaders, filterTrailers } from './response-headers.ts';
import { drainUpload, Upload, UploadStalled } from './upload.ts';
import { codeOf, isSafeToRetry, kindOfError, refusalOfKind } from './upstream.ts';
import type { UpstreamErrorKind } from './upstream.ts';

/** What an exchange needs from the server around it. */
export interface ExchangeContext {
  readonly pool: Pool;
  readonly meter: Meter;
  readonly ownCookies: readonly string[];
  readonly boundCookies: BoundCookies | undefined;
  /** Milliseconds between two bytes of a body. */
  readonly idleTimeoutMs: number;
}

/** The client's side of an exchange: a request that has passed the gate, and who is to be told of its end. */
export interface ExchangeClient {
  readonly raw: IncomingMessage;
  readonly res: ServerResponse;
  readonly facts: RequestFacts;
  /** The session that the request runs under, if its cookies and identity go along: cookies may come back to it. */
  readonly session: OpenedSession | undefined;
  /** Whether the client waits for `100 Continue` before it sends its body. */
  readonly awaitsContinue: boolean;
  /** Answers in the upstream's stead; called at most once, and only while nothing was answered. */
  refuse(refusal: Refusal, kind: UpstreamErrorKind | undefined, error: Error): void;
  /** Called once at the end; 499 when the client left before. */
  finished(status: number): void;
}

/** The client left before its answer was complete. nginx's number: no client ever sees it. */
export const clientClosedRequest = 499;

/**
 * One request's way to the upstream and back, as a dispatch handler of undici: streams both ways with back-pressure and
 * never buffers a body. Written against undici's raw handler interface, which hands over header bytes as they came and
 * costs least.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  protected readonly context: ExchangeContext;
  protected readonly client: ExchangeClient;
  protected readonly headers: string[];
  /** Flat `[name, value, …]`: ours, beside what the upstream answers. */
  protected added: readonly string[] | undefined;
  readonly #startedAt = performance.now();
  readonly #upload: Upload | undefined;
  #abort: ((error?: Error) => void) | undefined;
  #resume: (() => void) | undefined;
  #retried = false;
  #sent = false;
  #answerBegun = false;
  #answering = false;
  #bodyBegun = false;
  /** Everything that this exchange will say has been said, or the client is gone. */
  #over = false;
  #draining = false;
  #remaining = -1;
  #stall: NodeJS.Timeout | undefined;

  /** @param headers flat `[name, value, …]`: all that the upstream gets */
  constructor(context: ExchangeContext, client: ExchangeClient, headers: string[]) {
    this.context = context;
    this.client = client;
    this.headers = headers;
    this.#upload = hasBody(client.raw) ? new Upload(client.raw, context.idleTimeoutMs) : undefined;
    client.res.on('close', () => this.#onClientClose());
  }

  /** Sends the request to the upstream. */
  start(): void {
    this.context.pool.dispatch(this.options(), this);
  }

  protected options(): Dispatcher.DispatchOptions {
    const { method, rawTarget } = this.client.facts;
    return {
      path: upstreamTarget(rawTarget),
      // undici takes any token, its type only the usual ones.
      method: method,
      headers: this.headers,
      body: this.#upload ?? null,
      // Without it undici closes the connection after each HEAD and each body of an unusual method.
      reset: false,
      // Certificates are checked against the configured name (proxy/upstream.ts); a changing one would cost connections.
      servername: 'upstream',
    } as Dispatcher.DispatchOptions;
  }

  onConnect(abort: (error?: Error) => void): void {
    if (this.#over) {
      abort();
      return;
    }
    this.#abort = abort;
    this.#sent = true;
    // Only now: the gate has passed and the upstream is there, so the body will be wanted (RFC 9110 section 10.1.1).
    if (this.client.awaitsContinue && !this.#retried) this.client.res.writeContinue();
  }

  onResponseStarted(): void {
    this.#answerBegun = true;
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    if (this.#over) return true;
    if (status < 200) {
      this.#relayInformation(status, rawHeaders);
      return true;
    }
    const { res, raw, session, facts } = this.client;
    this.context.meter.upstreamRequest((performance.now() - this.#startedAt) / 1000);
    const bodiless = facts.method === 'HEAD' || status === 204 || status === 304;
    const { headers, contentLength } = filterResponseHeaders({
      rawHeaders,
      session,
      ownCookies: this.context.ownCookies,
      boundCookies: this.context.boundCookies,
      chunkable: !bodiless && raw.httpVersionMinor > 0,
    });
    if (this.added !== undefined) headers.push(...this.added);
    res.writeHead(status, reasonPhrase(status, statusText), headers);
    this.#answering = true;
    if (bodiless) {
      // Ended here and not in onComplete: undici takes a 304 with a length for a truncated answer.
      this.#end();
      return true;
    }
    this.#resume = resume;
    this.#remaining = contentLength;
    // A body's first bytes mostly come with the head and go out with it. If they don't, the head must not wait for them.
    flushSoon(this);
    return true;
  }

  /** Sends the head when no byte of the body came along with it. */
  flushHead(): void {
    if (!this.#bodyBegun && !this.#over) this.client.res.flushHeaders();
  }

  onData(chunk: Buffer): boolean {
    if (this.#over) return true;
    this.#bodyBegun = true;
    const { res } = this.client;
    if (this.#remaining >= 0) {
      this.#remaining -= chunk.length;
      if (this.#remaining === 0) {
        // The last bytes of a known length: one write for head, body and end.
        this.#end(chunk);
        return true;
      }
    }
    if (res.write(chunk)) return true;
    this.#pause();
    return false;
  }

  onComplete(rawTrailers: Buffer[] | string[] | null): void {
    if (this.#over) return;
    if (rawTrailers !== null && rawTrailers.length > 0) {
      this.client.res.addTrailers(filterTrailers(rawTrailers as Buffer[]));
    }
    this.#end();
  }

  onError(error: Error): void {
    if (this.#over) return;
    if (this.#answering) {
      this.context.meter.upstreamError(kindOfError(error));
      this.#cut();
      return;
    }
    if (
      !this.#retried &&
      isSafeToRetry(
        this.client.facts.method,
        this.#upload !== undefined,
        error,
        this.#sent,
        this.#answerBegun,
      )
    ) {
      this.#retried = true;
      this.#sent = false;
      this.#abort = undefined;
      this.start();
      return;
    }
    this.fail(error);
  }

  /** The session that it runs under has ended: what has not been said stays unsaid, and whoever reads half an answer is told so. */
  sessionEnded(): void {
    if (this.#over) return;
    if (this.#answering) {
      this.#cut();
    } else {
      this.#over = true;
      this.client.refuse(
        { status: 401, code: 'session_required' },
        undefined,
        new Error('the session has ended'),
      );
      this.#upload?.destroy();
    }
    this.#abort?.();
  }

  /** Answers in the upstream's stead. */
  protected fail(error: Error): void {
    this.#over = true;
    if (error instanceof UploadStalled) {
      this.client.refuse({ status: 408, code: 'request_timeout' }, undefined, error);
    } else if (codeOf(error) === 'UND_ERR_INVALID_ARG' && !this.#sent) {
      // Something that Node's parser lets through and undici does not.
      this.client.refuse({ status: 400, code: 'request_malformed' }, undefined, error);
    } else {
      const kind = kindOfError(error);
      this.context.meter.upstreamError(kind);
      this.client.refuse(refusalOfKind(kind), kind, error);
    }
    this.#upload?.destroy();
  }

  /** The exchange ends without an answer through `res` (an upgrade). */
  protected release(): void {
    this.#over = true;
  }

  protected get over(): boolean {
    return this.#over;
  }

  #end(lastChunk?: Buffer): void {
    this.#over = true;
    clearTimeout(this.#stall);
    const { res, raw } = this.client;
    if (this.#upload === undefined || this.#upload.complete) {
      // A request without a body has ended, but tells so only when read. Node would do that once the answer is out, in three more ticks.
      if (this.#upload === undefined && raw.complete) raw.read();
      endWith(res, lastChunk);
    } else {
      this.#endEarly(lastChunk);
    }
    this.client.finished(res.statusCode);
  }

  /** The answer is complete before the upload is: read on for a while, or the client's kernel may drop the answer. */
  #endEarly(lastChunk: Buffer | undefined): void {
    const { res, raw } = this.client;
    this.#upload?.destroy();
    if (res.shouldKeepAlive) {
      endWith(res, lastChunk);
      drainUpload(raw, (complete) => {
        if (!complete) raw.socket.destroySoon();
      });
      return;
    }
    if (lastChunk !== undefined) res.write(lastChunk);
    drainUpload(raw, () => res.end());
  }

  #relayInformation(status: number, rawHeaders: Buffer[]): void {
    const { res, raw } = this.client;
    if (status !== 103 || raw.httpVersionMinor === 0 || res.headersSent) return;
    const { headers } = filterResponseHeaders({
      rawHeaders,
      session: undefined,
      ownCookies: this.context.ownCookies,
      boundCookies: undefined,
      chunkable: false,
    });
    const hints: Record<string, string | string[]> = {};
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = (headers[i] ?? '').toLowerCase();
      const known = hints[name];
      const value = headers[i + 1] ?? '';
      hints[name] = known === undefined ? value : Array.isArray(known) ? [...known, value] : [known, value];
    }
    try {
      if (hints['link'] !== undefined) res.writeEarlyHints(hints);
    } catch {
      // A hint that Node finds malformed is not worth an answer.
    }
  }

  #pause(): void {
    if (!this.#draining) {
      this.#draining = true;
      this.client.res.on('drain', () => this.#onDrain());
    }
    if (this.context.idleTimeoutMs > 0) {
      if (this.#stall === undefined) {
        this.#stall = setTimeout(() => this.client.raw.socket.destroy(), this.context.idleTimeoutMs).unref();
      } else {
        this.#stall.refresh();
      }
    }
  }

  #onDrain(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
    this.#resume?.();
  }

  #onClientClose(): void {
    clearTimeout(this.#stall);
    if (this.#over) return;
    this.#over = true;
    this.client.finished(clientClosedRequest);
    this.#abort?.();
    this.#upload?.destroy();
  }

  /** The upstream broke off: so must we, for the client must not take half an answer for a whole one. */
  #cut(): void {
    this.#over = true;
    clearTimeout(this.#stall);
    const { res, raw } = this.client;
    this.client.finished(res.statusCode);
    this.#upload?.destroy();
    const { socket } = raw;
    const framed = this.#remaining >= 0 || res.chunkedEncoding;
    if (framed) {
      // What has been written still goes out; without its end.
      socket.destroySoon();
      setTimeout(() => socket.destroy(), 5_000).unref();
    } else {
      // Framed by the connection's end alone: only a reset tells the client that this is not it.
      socket.resetAndDestroy();
    }
  }
}

/** Bodies up to this many bytes are copied behind the head: one plain write costs half of a vectored one. */
const copiedBodyBytes = 16_384;

function endWith(res: ServerResponse, lastChunk: Buffer | undefined): void {
  if (lastChunk === undefined) {
    res.end();
  } else if (lastChunk.length > copiedBodyBytes) {
    res.end(lastChunk);
  } else {
    // One character for each byte, both ways. Uncorked at once: `end` would put an empty piece beside it, and vector both. Corked by us:
    // `write` would leave the uncorking to a tick of its own.
    const { socket } = res;
    socket?.cork();
    res.write(lastChunk.toString('latin1'), 'latin1');
    socket?.uncork();
    res.end();
  }
}

let unflushed: Exchange[] = [];

/** One callback for all heads that came in the same turn of the event loop: one for each would cost as much as the gate. */
function flushSoon(exchange: Exchange): void {
  if (unflushed.push(exchange) === 1) setImmediate(flushHeads);
}

function flushHeads(): void {
  const exchanges = unflushed;
  unflushed = [];
  for (const exchange of exchanges) exchange.flushHead();
}

/** Whether the request brings a body (RFC 9112 section 6.3). */
export function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** The upstream's own reason phrase, where Node can write it. */
function reasonPhrase(status: number, statusText: string): string {
  if (statusText === STATUS_CODES[status]) return statusText;
  return /^[\t\x20-\x7e]*$/.test(statusText) ? statusText : '';
}
