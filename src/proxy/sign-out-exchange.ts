/* eslint-disable @typescript-eslint/no-deprecated -- undici's raw handler interface, for the reason given in http.ts */
import { isFault } from '../kernel/error.ts';
import type { ExchangeClient, ExchangeContext } from './http.ts';
import { Exchange } from './http.ts';
import type { SignedOut } from './types.ts';

/** The upstream's answer, held back until our own session has ended. */
interface Held {
  readonly status: number;
  readonly rawHeaders: Buffer[];
  readonly resume: () => void;
  readonly statusText: string;
  readonly chunks: Buffer[];
  trailers: Buffer[] | string[] | null | undefined;
}

/**
 * The upstream's own sign-out. When it succeeds (2xx, 3xx), the session ends here too before the browser hears of it: whoever is told
 * that they are signed out must be. A person is then sent where our own sign-out leads, since the upstream's next page would sign
 * them in again; a script gets the upstream's answer.
 */
export class SignOutExchange extends Exchange {
  readonly #end: () => Promise<SignedOut>;
  #held: Held | undefined;

  constructor(
    context: ExchangeContext,
    client: ExchangeClient,
    headers: string[],
    end: () => Promise<SignedOut>,
  ) {
    super(context, client, headers);
    this.#end = end;
  }

  override onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    if (this.over || status < 200 || status >= 400)
      return super.onHeaders(status, rawHeaders, resume, statusText);
    const held: Held = { status, rawHeaders, resume, statusText, chunks: [], trailers: undefined };
    this.#held = held;
    this.#end().then(
      (signedOut) => this.#release(held, signedOut),
      (error: unknown) => this.#refuse(held, error),
    );
    return false;
  }

  override onData(chunk: Buffer): boolean {
    if (this.#held === undefined) return super.onData(chunk);
    this.#held.chunks.push(chunk);
    return false;
  }

  override onComplete(trailers: Buffer[] | string[] | null): void {
    if (this.#held === undefined) super.onComplete(trailers);
    else this.#held.trailers = trailers;
  }

  #release(held: Held, { location, setCookies }: SignedOut): void {
    this.#held = undefined;
    if (this.over) return;
    const cookies = setCookies.flatMap((value) => ['Set-Cookie', value]);
    const { facts } = this.client;
    if (facts.navigation || facts.formNavigation === true) {
      this.added = ['Location', location, 'Cache-Control', 'no-store', ...cookies];
      super.onHeaders(303, [Buffer.from('Content-Length'), Buffer.from('0')], held.resume, 'See Other');
      super.onComplete(null);
      held.resume();
      return;
    }
    this.added = cookies;
    super.onHeaders(held.status, held.rawHeaders, held.resume, held.statusText);
    const room = held.chunks.map((chunk) => super.onData(chunk)).every(Boolean);
    if (held.trailers !== undefined) super.onComplete(held.trailers);
    else if (room) held.resume();
  }

  /** Signed out there, and not here: the same request will do it once the store is back. */
  #refuse(held: Held, error: unknown): void {
    this.#held = undefined;
    if (!this.over) {
      this.release();
      const cause = error instanceof Error ? error : new Error(String(error));
      const refusal = isFault(error, 'store_unavailable')
        ? { status: 503, code: 'store_unavailable', headers: { 'retry-after': '5' } }
        : { status: 500, code: 'internal' };
      this.client.refuse(refusal, undefined, cause);
    }
    held.resume();
  }
}
