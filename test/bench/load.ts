import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** One order: ask `port` over `connections` kept-alive connections until `durationMs` are over. */
export interface LoadOrder {
  readonly port: number;
  readonly connections: number;
  readonly durationMs: number;
  /** The request, whole. */
  readonly request: string;
  /** The response's body ends with this and holds it nowhere else. */
  readonly marker: string;
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/**
 * A generator of load that costs little itself: raw sockets, one request at a time on each, the answer's end recognised by a
 * marker instead of a parser.
 */
async function load(order: LoadOrder): Promise<LoadResult> {
  const request = Buffer.from(order.request, 'latin1');
  const marker = Buffer.from(order.marker, 'latin1');
  const times: number[] = [];
  let requests = 0;
  let running = true;
  const started = performance.now();
  const workers = Array.from({ length: order.connections }, () => {
    const socket: Socket = connect(order.port, '127.0.0.1');
    socket.setNoDelay(true);
    return new Promise<void>((resolve, reject) => {
      let sentAt = 0;
      let first = true;
      let tail: Buffer = Buffer.alloc(0);
      const send = (): void => {
        first = true;
        sentAt = performance.now();
        socket.write(request);
      };
      socket.on('connect', send);
      socket.on('error', reject);
      socket.on('close', () => (running ? reject(new Error('the server closed a connection')) : resolve()));
      socket.on('data', (chunk: Buffer) => {
        if (first) {
          first = false;
          if (chunk.toString('latin1', 9, 12) !== '200') {
            reject(new Error(`not 200: ${chunk.toString('latin1', 0, 200)}`));
            return;
          }
        }
        let end = chunk;
        if (chunk.length < marker.length) end = tail = Buffer.concat([tail, chunk]).subarray(-marker.length);
        else tail = chunk.subarray(-marker.length);
        if (!end.subarray(-marker.length).equals(marker)) return;
        requests += 1;
        times.push(performance.now() - sentAt);
        if (running) send();
        else socket.end();
      });
    });
  });
  await Promise.race([new Promise((resolve) => setTimeout(resolve, order.durationMs)), Promise.all(workers)]);
  const seconds = (performance.now() - started) / 1000;
  const counted = requests;
  running = false;
  await Promise.all(workers);
  times.sort((a, b) => a - b);
  return {
    requests: counted,
    seconds,
    p50: times[Math.floor(times.length * 0.5)] ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
  };
}

if (process.send !== undefined) {
  process.on('message', (order: LoadOrder) => {
    load(order).then(
      (result) => process.send?.(result),
      (error: unknown) => {
        process.send?.({ error: String(error) });
      },
    );
  });
  process.send({ ready: true });
}
