import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/**
 * A request's body on its way up. It stands between the client's request and undici, because undici destroys the body that
 * it is given when an answer comes early, and with it would go the client's connection and the answer.
 */
export class Upload extends Readable {
  readonly #source: IncomingMessage;
  readonly #idleTimeoutMs: number;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  /** @param idleTimeoutMs longest pause between two pieces that the client is asked for; 0 = any */
  constructor(source: IncomingMessage, idleTimeoutMs: number) {
    super({ highWaterMark: 65_536, emitClose: true });
    this.#source = source;
    this.#idleTimeoutMs = idleTimeoutMs;
    source.on('data', this.#onData);
    source.on('end', this.#onEnd);
    source.on('close', this.#onClose);
    source.pause();
  }

  /** Whether the client has sent all of it. */
  get complete(): boolean {
    return this.#ended;
  }

  override _read(): void {
    this.#arm();
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#disarm();
    this.#source.off('data', this.#onData);
    this.#source.off('end', this.#onEnd);
    this.#source.off('close', this.#onClose);
    callback(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.push(chunk)) {
      this.#timer?.refresh();
    } else {
      this.#disarm();
      this.#source.pause();
    }
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#disarm();
    this.push(null);
  };

  readonly #onClose = (): void => {
    if (!this.#ended) this.destroy(new Error('the client left in mid-upload'));
  };

  #arm(): void {
    if (this.#timer !== undefined || this.#idleTimeoutMs === 0 || this.#ended) return;
    this.#timer = setTimeout(() => this.destroy(new UploadStalled()), this.#idleTimeoutMs);
    this.#timer.unref();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The client sent no byte of its body for too long. */
export class UploadStalled extends Error {
  readonly code = 'CLIENT_STALLED';
}

const lingerIdleMs = 5_000;
const lingerTotalMs = 30_000;

/**
 * Reads on what a client still sends after its answer is known, and drops it, so that the answer is not lost to a reset
 * (RFC 9112 section 9.6). Calls back once: when all of it came, when nothing came for 5 s, or after 30 s.
 */
export function drainUpload(source: IncomingMessage, done: (complete: boolean) => void): void {
  if (source.complete || source.destroyed) {
    done(source.complete);
    return;
  }
  const idle = setTimeout(() => finish(false), lingerIdleMs).unref();
  const total = setTimeout(() => finish(false), lingerTotalMs).unref();
  const onData = (): void => void idle.refresh();
  const onEnd = (): void => finish(true);
  const onClose = (): void => finish(false);
  let finished = false;
  function finish(complete: boolean): void {
    if (finished) return;
    finished = true;
    clearTimeout(idle);
    clearTimeout(total);
    source.off('data', onData);
    source.off('end', onEnd);
    source.off('close', onClose);
    done(complete);
  }
  source.on('data', onData);
  source.on('end', onEnd);
  source.on('close', onClose);
  source.resume();
}
