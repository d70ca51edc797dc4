import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/**
 * What the link does with what travels over it. `swallow`: takes everything and passes nothing on, without a word (a cable
 * that was cut, a firewall that drops). `refuse`: resets what stands and whatever comes. `mute`: half open, requests
 * arrive and answers are lost.
 */
export type LinkState = 'open' | 'swallow' | 'refuse' | 'mute';

/** A TCP link with faults on demand, in front of a port of this machine. */
export interface TcpLink {
  readonly port: number;
  /** Each way, for every byte from now on. Milliseconds. */
  delayMs: number;
  /** In force at once, for connections that stand too. Those that were cut short of bytes are reset when it opens again. */
  state: LinkState;
  /**
   * Which connections {@link state} and {@link reset} are about, by the first bytes that the client has sent on them so far;
   * default: all.
   */
  concerns: (sent: string) => boolean;
  /** Resets the connections that are {@link concerns}. */
  reset(): void;
  close(): Promise<void>;
}

/** Enough of what a client says first to know what it wants of the connection. */
const rememberedBytes = 512;

/** Starts a link to a port of 127.0.0.1. */
export async function startTcpLink(target: number): Promise<TcpLink> {
  interface Pair {
    readonly client: Socket;
    readonly server: Socket;
    sent: string;
    /** Bytes are missing: it is of no use any more. */
    torn: boolean;
  }
  const pairs = new Set<Pair>();
  let state: LinkState = 'open';
  let delayMs = 0;
  let concerns: (sent: string) => boolean = () => true;

  const destroy = (pair: Pair): void => {
    pairs.delete(pair);
    for (const socket of [pair.client, pair.server]) if (!socket.destroyed) socket.resetAndDestroy();
  };

  const listener = createServer((client) => {
    const server = connect(target, '127.0.0.1');
    const pair: Pair = { client, server, sent: '', torn: false };
    pairs.add(pair);
    if (state === 'refuse' && concerns('')) destroy(pair);
    const stateOf = (): LinkState => (concerns(pair.sent) ? state : 'open');
    const pass = (from: Socket, to: Socket, lost: readonly LinkState[]): void => {
      from.setNoDelay(true);
      from.on('error', () => undefined);
      const later = (work: () => void): void => {
        if (delayMs === 0) work();
        else setTimeout(work, delayMs);
      };
      from.on('data', (chunk: Buffer) => {
        if (from === client && pair.sent.length < rememberedBytes)
          pair.sent += chunk.toString('latin1', 0, rememberedBytes);
        if (stateOf() === 'refuse') destroy(pair);
        if (lost.includes(stateOf())) pair.torn = true;
        else
          later(() => {
            if (to.writable) to.write(chunk);
          });
      });
      from.on('close', () => {
        // A goodbye is lost like everything else.
        if (lost.includes(stateOf())) return;
        later(() => {
          pairs.delete(pair);
          to.destroy();
        });
      });
    };
    pass(client, server, ['swallow']);
    pass(server, client, ['swallow', 'mute']);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));

  const reset = (): void => {
    for (const pair of [...pairs]) if (concerns(pair.sent)) destroy(pair);
  };
  return {
    port: (listener.address() as AddressInfo).port,
    get delayMs() {
      return delayMs;
    },
    set delayMs(ms) {
      delayMs = ms;
    },
    get state() {
      return state;
    },
    set state(next) {
      state = next;
      if (next === 'refuse') reset();
      if (next === 'open') for (const pair of [...pairs]) if (pair.torn) destroy(pair);
    },
    get concerns() {
      return concerns;
    },
    set concerns(next) {
      concerns = next;
    },
    reset,
    async close() {
      for (const pair of [...pairs]) destroy(pair);
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
