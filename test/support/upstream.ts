import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** One request as a raw upstream saw it, byte for byte. */
export interface SeenRequest {
  readonly line: string;
  /** Names and values in order, names as spelt. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

/** What a raw upstream does with a connection once a request's head is there. */
export type RawAnswer = (exchange: RawExchange) => void | Promise<void>;

export interface RawExchange {
  readonly socket: Socket;
  readonly line: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  /** Resolves with the whole body, chunked or not. */
  readonly body: () => Promise<Buffer>;
}

export interface RawUpstream {
  readonly port: number;
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** How many connections have been made. */
  readonly connections: number;
  close(): Promise<void>;
}

/** Reads one message body from a buffer; undefined while it is not all there. */
function takeBody(
  headers: readonly (readonly [string, string])[],
  bytes: Buffer,
): { body: Buffer; rest: Buffer } | undefined {
  const value = (name: string): string | undefined => headers.find(([n]) => n.toLowerCase() === name)?.[1];
  if (value('transfer-encoding')?.toLowerCase() === 'chunked') {
    const parts: Buffer[] = [];
    let at = 0;
    for (;;) {
      const eol = bytes.indexOf('\r\n', at);
      if (eol === -1) return undefined;
      const size = Number.parseInt(bytes.toString('latin1', at, eol), 16);
      if (size === 0) {
        const end = bytes.indexOf('\r\n\r\n', eol);
        if (end === -1) return undefined;
        return { body: Buffer.concat(parts), rest: bytes.subarray(end + 4) };
      }
      if (bytes.length < eol + 2 + size + 2) return undefined;
      parts.push(bytes.subarray(eol + 2, eol + 2 + size));
      at = eol + 2 + size + 2;
    }
  }
  const length = Number(value('content-length') ?? 0);
  if (bytes.length < length) return undefined;
  return { body: bytes.subarray(0, length), rest: bytes.subarray(length) };
}

/**
 * An upstream of bytes: it parses only as much as it must, records what came, and answers whatever the test writes,
 * well-formed or not.
 */
export async function startRawUpstream(answer: RawAnswer, listen?: { path: string }): Promise<RawUpstream> {
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    let buffered = Buffer.alloc(0);
    let waiting: (() => void) | undefined;
    let busy = false;
    socket.on('data', (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      waiting?.();
      void next();
    });
    async function next(): Promise<void> {
      if (busy) return;
      const end = buffered.indexOf('\r\n\r\n');
      if (end === -1) return;
      busy = true;
      const [line = '', ...rows] = buffered.toString('latin1', 0, end).split('\r\n');
      const headers = rows.map((row) => {
        const colon = row.indexOf(':');
        return [row.slice(0, colon), row.slice(colon + 1).trim()] as const;
      });
      buffered = buffered.subarray(end + 4);
      let taken: Promise<Buffer> | undefined;
      const body = (): Promise<Buffer> => {
        taken ??= (async () => {
          for (;;) {
            const whole = takeBody(headers, buffered);
            if (whole !== undefined) {
              buffered = Buffer.from(whole.rest);
              return Buffer.from(whole.body);
            }
            await new Promise<void>((resolve, reject) => {
              waiting = resolve;
              socket.once('close', () => reject(new Error('closed in mid-body')));
            });
          }
        })();
        return taken;
      };
      const record: { line: string; headers: typeof headers; body: Buffer } = {
        line,
        headers,
        body: Buffer.alloc(0),
      };
      seen.push(record);
      try {
        await answer({ socket, line, path: line.split(' ')[1] ?? '', headers, body });
        if (!socket.destroyed && !socket.writableEnded) record.body = await body();
      } catch {
        socket.destroy();
      }
      waiting = undefined;
      busy = false;
      if (!socket.destroyed) void next();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (listen === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(listen.path, resolve);
  });
  const port = listen === undefined ? (server.address() as AddressInfo).port : 0;
  return {
    port,
    url: listen === undefined ? `http://127.0.0.1:${port}` : `unix:${listen.path}`,
    seen,
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
