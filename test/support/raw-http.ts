import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** A response as it came over the wire. */
export interface RawResponse {
  readonly statusLine: string;
  readonly status: number;
  /** Names as spelt, in order. */
  readonly headers: readonly (readonly [string, string])[];
  /** Decoded: without chunk framing. */
  readonly body: Buffer;
  readonly trailers: readonly (readonly [string, string])[];
  /** Interim responses (1xx) that came before. */
  readonly interim: readonly {
    readonly status: number;
    readonly headers: readonly (readonly [string, string])[];
  }[];
  /** Whether the message came to its end by its own framing. */
  readonly complete: boolean;
  /** How the connection stood when this was read. */
  readonly closed: 'open' | 'end' | 'reset';
}

/** The first value of a header, by folded name. */
export function headerOf(response: Pick<RawResponse, 'headers'>, name: string): string | undefined {
  return response.headers.find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1];
}

/** A client of bytes: it sends what a test writes and reads what comes, with nothing in between that could tidy up. */
export class RawClient {
  readonly socket: Socket;
  #buffered = Buffer.alloc(0);
  #closed: 'open' | 'end' | 'reset' = 'open';
  #wake: (() => void) | undefined;

  constructor(target: number | { path: string }) {
    this.socket = typeof target === 'number' ? connect(target, '127.0.0.1') : connect(target.path);
    this.#listen();
  }

  #listen(): void {
    this.socket.on('data', (chunk: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, chunk]);
      this.#wake?.();
    });
    this.socket.on('error', () => {
      this.#closed = 'reset';
      this.#wake?.();
    });
    this.socket.on('end', () => {
      if (this.#closed === 'open') this.#closed = 'end';
      this.#wake?.();
    });
    this.socket.on('close', () => {
      if (this.#closed === 'open') this.#closed = 'end';
      this.#wake?.();
    });
  }

  get closed(): 'open' | 'end' | 'reset' {
    return this.#closed;
  }

  /** What has come and was not read yet. */
  get buffered(): string {
    return this.#buffered.toString('latin1');
  }

  /** Sends characters as bytes, one for one. */
  send(text: string | Buffer): this {
    if (typeof text === 'string') this.socket.write(text, 'latin1');
    else this.socket.write(text);
    return this;
  }

  /** Waits until `condition` holds; it is asked after each arrival. @throws after `timeoutMs` */
  async until(condition: () => boolean, timeoutMs = 15_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!condition()) {
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(`nothing came of it; so far: ${JSON.stringify(this.buffered.slice(0, 400))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 1_000));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }

  /** Reads one response, interim ones before it included. @param method of the request that it answers */
  async response(method = 'GET', timeoutMs = 15_000): Promise<RawResponse> {
    const interim: { status: number; headers: (readonly [string, string])[] }[] = [];
    for (;;) {
      await this.until(() => this.#buffered.includes('\r\n\r\n') || this.#closed !== 'open', timeoutMs);
      const end = this.#buffered.indexOf('\r\n\r\n');
      if (end === -1) {
        return {
          statusLine: '',
          status: 0,
          headers: [],
          body: this.#take(this.#buffered.length),
          trailers: [],
          interim,
          complete: false,
          closed: this.#closed,
        };
      }
      const [statusLine = '', ...rows] = this.#take(end + 4)
        .toString('latin1', 0, end)
        .split('\r\n');
      const status = Number(statusLine.split(' ')[1]);
      const headers = rows.map(parseRow);
      if (status >= 100 && status < 200 && status !== 101) {
        interim.push({ status, headers });
        continue;
      }
      const read = await this.#readBody(method, status, headers, timeoutMs);
      return { statusLine, status, headers, ...read, interim, closed: this.#closed };
    }
  }

  async #readBody(
    method: string,
    status: number,
    headers: readonly (readonly [string, string])[],
    timeoutMs: number,
  ): Promise<{ body: Buffer; trailers: (readonly [string, string])[]; complete: boolean }> {
    if (method === 'HEAD' || status === 204 || status === 304 || status === 101) {
      return { body: Buffer.alloc(0), trailers: [], complete: true };
    }
    const has = (name: string): string | undefined => headerOf({ headers }, name);
    if (has('transfer-encoding')?.toLowerCase() === 'chunked') return this.#readChunks(timeoutMs);
    const length = has('content-length');
    if (length === undefined) {
      await this.until(() => this.#closed !== 'open', timeoutMs);
      return { body: this.#take(this.#buffered.length), trailers: [], complete: this.#closed === 'end' };
    }
    const wanted = Number(length);
    await this.until(() => this.#buffered.length >= wanted || this.#closed !== 'open', timeoutMs);
    const complete = this.#buffered.length >= wanted;
    return { body: this.#take(Math.min(wanted, this.#buffered.length)), trailers: [], complete };
  }

  async #readChunks(
    timeoutMs: number,
  ): Promise<{ body: Buffer; trailers: (readonly [string, string])[]; complete: boolean }> {
    const parts: Buffer[] = [];
    const broken = { body: Buffer.alloc(0), trailers: [], complete: false };
    for (;;) {
      await this.until(() => this.#buffered.includes('\r\n') || this.#closed !== 'open', timeoutMs);
      const eol = this.#buffered.indexOf('\r\n');
      if (eol === -1) return { ...broken, body: Buffer.concat(parts) };
      const size = Number.parseInt(this.#buffered.toString('latin1', 0, eol), 16);
      if (size === 0) {
        const over = (): boolean => this.#buffered.indexOf('\r\n\r\n', eol) !== -1;
        await this.until(() => over() || this.#closed !== 'open', timeoutMs);
        if (!over()) return { ...broken, body: Buffer.concat(parts) };
        const end = this.#buffered.indexOf('\r\n\r\n', eol);
        const rows = this.#take(end + 4).toString('latin1', eol + 2, end);
        return {
          body: Buffer.concat(parts),
          trailers: rows === '' ? [] : rows.split('\r\n').map(parseRow),
          complete: true,
        };
      }
      await this.until(
        () => this.#buffered.length >= eol + 2 + size + 2 || this.#closed !== 'open',
        timeoutMs,
      );
      if (this.#buffered.length < eol + 2 + size + 2) {
        this.#take(eol + 2);
        parts.push(this.#take(Math.min(size, this.#buffered.length)));
        return { ...broken, body: Buffer.concat(parts) };
      }
      this.#take(eol + 2);
      parts.push(this.#take(size));
      this.#take(2);
    }
  }

  #take(length: number): Buffer {
    const taken = Buffer.from(this.#buffered.subarray(0, length));
    this.#buffered = this.#buffered.subarray(length);
    return taken;
  }

  close(): void {
    this.socket.destroy();
  }
}

function parseRow(row: string): readonly [string, string] {
  const colon = row.indexOf(':');
  return [row.slice(0, colon), row.slice(colon + 1).trim()];
}

/** Sends one request and reads one response over a connection of its own. */
export async function exchange(
  target: number | { path: string },
  request: string | Buffer,
  method = 'GET',
  timeoutMs = 15_000,
): Promise<RawResponse> {
  const client = new RawClient(target);
  try {
    return await client.send(request).response(method, timeoutMs);
  } finally {
    client.close();
  }
}
