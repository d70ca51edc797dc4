import type { IncomingMessage, ServerResponse } from 'node:http';
import { ServerResponse as NodeServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { PublicServerDeps } from './types.ts';
import type { NotedRequest } from './visit.ts';

/** Takes what Node hands over by events of their own: `Expect`, upgrades, CONNECT. */
export function listenForTheRest(app: FastifyInstance): void {
  const { server } = app;
  server.on('checkContinue', (raw: NotedRequest, res: ServerResponse) => {
    raw.awaitsContinue = true;
    app.routing(raw, res);
  });
  // Expectations other than 100-continue are nobody's (RFC 9110 section 10.1.1); Node would answer 417 past the gate.
  server.on('checkExpectation', (raw: NotedRequest, res: ServerResponse) => app.routing(raw, res));
  server.on('upgrade', (raw: NotedRequest, socket: Duplex, head: Buffer) => {
    // Pipelined behind a request that is not answered yet, an upgrade finds the connection taken by that answer: Node would throw here, in
    // its parser, where nothing catches. No client of good will sends one (RFC 9110 section 7.8: it has to wait for the answer).
    if (!(socket instanceof Socket) || isAnswering(socket)) {
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    raw.upgrading = { socket, head };
    socket.on('error', () => socket.destroy());
    const res = new NodeServerResponse(raw);
    // Once Node has let go of the connection, one answer is all that it can carry.
    res.shouldKeepAlive = false;
    res.assignSocket(socket);
    res.on('finish', () => socket.destroySoon());
    socket.on('close', () => res.emit('close'));
    app.routing(raw, res);
  });
  server.on('connect', (_raw: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => socket.destroy());
    socket.end(plainAnswer('405 Method Not Allowed'));
  });
}

/** Whether a response object still owns this connection. */
function isAnswering(socket: Duplex & { _httpMessage?: ServerResponse | null }): boolean {
  return socket._httpMessage !== null && socket._httpMessage !== undefined;
}

/** What Node's parser could not read, or would not. */
export type ParserError = Error & { readonly code?: string };
/** The connection over which it came, and the answer that is under way there. */
export type ParserSocket = Socket & { readonly _httpMessage?: ServerResponse | null };

/** Answers what Node's parser refuses: plainly, once, and without a word about the inside. Counted, since no visit is. */
export function answerClientError(
  error: ParserError,
  socket: ParserSocket,
  { meter }: Pick<PublicServerDeps, 'meter'>,
): void {
  // In mid-answer nothing can be said any more.
  if (!socket.writable || error.code === 'ECONNRESET' || socket._httpMessage?.headersSent === true) {
    socket.destroy();
    return;
  }
  const line =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  // A connection that a browser opened in advance and never used has asked nothing.
  if (socket.bytesRead > 0) meter.unreadableRequest(Number(line.slice(0, 3)));
  socket.end(plainAnswer(line), () => socket.destroy());
}

/** A whole answer for a connection on which Node's own response objects can't be used. */
function plainAnswer(line: string): string {
  const body = `${line.slice(4)}\n`;
  return (
    `HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${body.length}\r\n\r\n${body}`
  );
}
