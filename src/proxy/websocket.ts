import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { upstreamTarget } from '../policy/canonical-target.ts';
import type { OpenedSession } from '../session/types.ts';
import type { ExchangeClient, ExchangeContext } from './http.ts';
import { Exchange } from './http.ts';
import { filterResponseHeaders } from './response-headers.ts';

/** Connections that have left HTTP: the server no longer knows them, so this does. */
export class UpgradedSockets {
  readonly #closers = new Map<
    Duplex,
    { readonly session: OpenedSession | undefined; readonly close: () => void }
  >();

  /** @param session the session it runs under, if any */
  add(socket: Duplex, session: OpenedSession | undefined, close: () => void): void {
    this.#closers.set(socket, { session, close });
    socket.once('close', () => this.#closers.delete(socket));
  }

  get size(): number {
    return this.#closers.size;
  }

  /** Closes what runs under a session that has ended. */
  closeSession(sessionId: string): void {
    for (const { session, close } of this.#closers.values()) if (session?.record.id === sessionId) close();
  }

  /** Closes what runs under sessions that may not go on: another policy is in force. */
  review(mayGoOn: (session: OpenedSession) => boolean): void {
    for (const { session, close } of this.#closers.values())
      if (session !== undefined && !mayGoOn(session)) close();
  }

  /** The sessions that something runs under. */
  *sessions(): Generator<OpenedSession> {
    for (const { session } of this.#closers.values()) if (session !== undefined) yield session;
  }

  closeAll(): void {
    for (const entry of this.#closers.values()) entry.close();
  }
}

/** What an upgrade brings beyond its request. */
export interface Upgrade {
  readonly socket: Socket;
  /** What the client has sent after its head already. */
  readonly head: Buffer;
  readonly session: OpenedSession | undefined;
  readonly registry: UpgradedSockets;
}

/**
 * A WebSocket's way to the upstream. The upstream is asked first: whatever it answers is relayed, and only its 101 makes
 * the connection a tunnel, in which bytes pass untouched (extensions and all) and with back-pressure both ways.
 *
 * @see RFC 6455 section 4
 */
export class UpgradeExchange extends Exchange {
  readonly #upgrade: Upgrade;

  constructor(context: ExchangeContext, client: ExchangeClient, headers: string[], upgrade: Upgrade) {
    super(context, client, headers);
    this.#upgrade = upgrade;
  }

  protected override options(): Dispatcher.DispatchOptions {
    return {
      path: upstreamTarget(this.client.facts.rawTarget),
      method: 'GET',
      headers: this.headers,
      upgrade: 'websocket',
      servername: 'upstream',
    } as Dispatcher.DispatchOptions;
  }

  onUpgrade(status: number, rawHeaders: Buffer[] | string[] | null, upstream: Duplex): void {
    const { socket, head, session, registry } = this.#upgrade;
    upstream.on('error', () => socket.destroy());
    if (this.over || socket.destroyed) {
      upstream.destroy();
      return;
    }
    this.release();
    const { headers } = filterResponseHeaders({
      rawHeaders: (rawHeaders ?? []) as Buffer[],
      session: this.client.session,
      ownCookies: this.context.ownCookies,
      boundCookies: this.context.boundCookies,
      chunkable: false,
    });
    detach(this.client.res, socket);
    let answer = `HTTP/1.1 ${status} Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    for (let i = 0; i + 1 < headers.length; i += 2)
      answer += `${headers[i] ?? ''}: ${headers[i + 1] ?? ''}\r\n`;
    socket.write(`${answer}\r\n`, 'latin1');
    if (head.length > 0) socket.unshift(head);
    registry.add(socket, session, () => {
      socket.destroy();
      upstream.destroy();
    });
    join(socket, upstream);
    this.client.finished(status);
  }
}

/** The response object that carried the request through Fastify lets go of the socket. */
function detach(res: ServerResponse, socket: Socket): void {
  res.detachSocket(socket);
  socket.removeAllListeners('timeout');
}

/** Both directions, each with back-pressure; the end of one side is the end of the other, as for nginx. */
function join(client: Duplex, upstream: Duplex): void {
  client.on('error', () => upstream.destroy());
  client.on('close', () => upstream.destroy());
  upstream.on('close', () => client.destroy());
  client.pipe(upstream);
  upstream.pipe(client);
}
