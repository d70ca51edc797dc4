import { closeSync, fstatSync, openSync, readSync, write, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { SallyportError } from '../kernel/error.ts';

/** Takes whole lines and never waits for whoever reads them. One writer per file descriptor, or lines tear each other. */
export interface LineWriter {
  /**
   * Queues a line, its line feed included. Never throws, never blocks.
   * @param onLost called (once) when it turns out that the line was not written: backlog full, disk full, pipe closed
   */
  write(line: string, onLost?: () => void): void;
  /** Resolves once everything queued so far is written or lost. */
  flush(): Promise<void>;
  /** Writes what is queued before returning: for a process that is about to end. */
  flushSync(): void;
  /** Flushes, and closes a file that this writer opened. */
  close(): Promise<void>;
}

/** A line writer that also takes whole pieces from others who write to the same place. */
export interface PieceWriter extends LineWriter {
  /**
   * Queues bytes that are whole lines, of another process: written in one go, torn by nobody. Never throws, never blocks.
   * @param settled called once, with whether they were written
   */
  writePiece(bytes: Buffer, settled: (written: boolean) => void): void;
}

/**
 * Takes bytes that are whole lines to whoever writes them. The next come when these are settled.
 * @param settled to be called once, with whether they were written; the bytes are the caller's own again from then on
 */
export type SendPiece = (bytes: Buffer, settled: (written: boolean) => void) => void;

export interface LineWriterOptions {
  /** Lines wait this long for company, so that a busy process writes few large pieces. Milliseconds. */
  readonly delayMs?: number;
  /** Characters that may be waiting; beyond that lines are lost rather than memory. */
  readonly maxBacklog?: number;
}

/** Whole lines, encoded, in the order of their coming. */
interface Piece {
  readonly bytes: Buffer;
  readonly lost: readonly (() => void)[];
  readonly settled?: (written: boolean) => void;
  /** What they were encoded into, free again once they are written. */
  readonly stage: Buffer | undefined;
}

const defaultDelayMs = 10;
const defaultMaxBacklog = 4 * 1024 * 1024;
const pieceBytes = 64 * 1024;
/** UTF-8 needs at most this many bytes for a UTF-16 code unit. */
const bytesPerUnit = 3;
const retryMs = 20;

/**
 * Opens a writer on a file descriptor (1: standard output) or on a file (appended to, made with mode 0600: an audit trail
 * holds people's names). Written by the thread pool: process.stdout would block the event loop while a pipe is full.
 *
 * @throws config_invalid when the file cannot be opened
 */
export function openLineWriter(
  target: { fd: number } | { file: string },
  options: LineWriterOptions = {},
): PieceWriter {
  if (!('file' in target)) return createLineWriter({ fd: target.fd, owned: false }, options);
  const fd = openForAppending(target.file);
  return createLineWriter({ fd, owned: true, torn: endsTorn(target.file, fd) }, options);
}

/**
 * A writer whose lines another process writes: several processes on one pipe would tear each other's lines.
 * While nothing is settled, lines wait, as many as `maxBacklog` lets.
 */
export function relayLineWriter(send: SendPiece, options: LineWriterOptions = {}): LineWriter {
  return createLineWriter({ send }, options);
}

type Target =
  { readonly fd: number; readonly owned: boolean; readonly torn?: boolean } | { readonly send: SendPiece };

function createLineWriter(target: Target, options: LineWriterOptions): PieceWriter {
  const { delayMs = defaultDelayMs, maxBacklog = defaultMaxBacklog } = options;

  // Lines are encoded as they come: kept as strings until the timer rings, their many parts would have to be fetched into
  // the cache again, which costs several times the encoding.
  let stage: Buffer = Buffer.allocUnsafeSlow(pieceBytes);
  let spare: Buffer | undefined;
  let staged = 0;
  let lost: (() => void)[] = [];
  const pieces: Piece[] = [];
  let queued = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing = false;
  let closed = false;
  /** The last write stopped within a line: the next one begins on a line of its own. */
  let torn = 'fd' in target && target.torn === true;
  let idle: (() => void)[] = [];

  function seal(): void {
    if (staged === 0) return;
    pieces.push({ bytes: stage.subarray(0, staged), lost, stage });
    stage = spare ?? Buffer.allocUnsafeSlow(pieceBytes);
    spare = undefined;
    staged = 0;
    lost = [];
  }

  function takePiece(): Piece | undefined {
    if (pieces.length === 0) seal();
    const piece = pieces.shift();
    if (piece !== undefined) queued -= piece.bytes.length;
    return piece;
  }

  function bytesOf({ bytes }: Piece): Buffer {
    return torn ? Buffer.concat([Buffer.from('\n'), bytes]) : bytes;
  }

  function pump(): void {
    timer = undefined;
    if (writing) return;
    const piece = takePiece();
    if (piece === undefined) {
      const waiting = idle;
      idle = [];
      for (const resolve of waiting) resolve();
      return;
    }
    writing = true;
    if ('send' in target) target.send(piece.bytes, (written) => finish(piece, written, 0));
    else writeOn(target.fd, piece, bytesOf(piece), 0);
  }

  function finish(piece: Piece, done: boolean, written: number): void {
    settle(piece, done, written);
    writing = false;
    pump();
  }

  function writeOn(fd: number, piece: Piece, bytes: Buffer, offset: number): void {
    write(fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      const code = error?.code;
      if (code === 'EAGAIN' || code === 'EINTR') {
        setTimeout(() => writeOn(fd, piece, bytes, offset), retryMs);
        return;
      }
      const end = offset + (error === null ? written : 0);
      if (error === null && end < bytes.length) {
        writeOn(fd, piece, bytes, end);
        return;
      }
      finish(piece, error === null, end);
    });
  }

  function settle(piece: Piece, done: boolean, written: number): void {
    torn = !done && (written > 0 || torn);
    // Lines of a piece that failed half-way count as lost, the written ones too: better one too many than one too few.
    if (!done) for (const onLost of piece.lost) onLost();
    piece.settled?.(done);
    spare ??= piece.stage;
  }

  function flushSync(): void {
    for (let piece = takePiece(); piece !== undefined; piece = takePiece()) {
      if ('send' in target) {
        const sent = piece;
        target.send(sent.bytes, (written) => settle(sent, written, 0));
        continue;
      }
      const { fd } = target;
      const bytes = bytesOf(piece);
      let offset = 0;
      let done = true;
      let patience = 50;
      while (offset < bytes.length) {
        try {
          offset += writeSync(fd, bytes, offset);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EAGAIN' && patience-- > 0) {
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
            continue;
          }
          done = false;
          break;
        }
      }
      settle(piece, done, offset);
    }
  }

  const flush = (): Promise<void> =>
    new Promise((resolve) => {
      idle.push(resolve);
      clearTimeout(timer);
      pump();
    });

  return {
    write(text, onLost) {
      if (closed || queued + text.length > maxBacklog) {
        onLost?.();
        return;
      }
      const most = text.length * bytesPerUnit;
      if (most > pieceBytes - staged) seal();
      if (most > pieceBytes) {
        const bytes = Buffer.from(text);
        pieces.push({ bytes, lost: onLost === undefined ? [] : [onLost], stage: undefined });
        queued += bytes.length;
      } else {
        const length = stage.write(text, staged);
        staged += length;
        queued += length;
        if (onLost !== undefined) lost.push(onLost);
      }
      if (!writing && timer === undefined) timer = setTimeout(pump, delayMs);
    },
    writePiece(bytes, settled) {
      if (closed || queued + bytes.length > maxBacklog) {
        settled(false);
        return;
      }
      seal();
      pieces.push({ bytes, lost: [], settled, stage: undefined });
      queued += bytes.length;
      if (!writing) {
        clearTimeout(timer);
        pump();
      }
    },
    flush,
    flushSync,
    async close() {
      if (closed) return;
      await flush();
      closed = true;
      if ('fd' in target && target.owned) closeSync(target.fd);
    },
  };
}

/** A writer on a stream that somebody else owns (the demo's terminal, a test): not closed here. */
export function streamLineWriter(
  stream: Writable,
  { maxBacklog = defaultMaxBacklog }: LineWriterOptions = {},
): LineWriter {
  const flush = (): Promise<void> =>
    new Promise((resolve) => {
      if (stream.writableLength === 0 || stream.destroyed) resolve();
      else stream.write('', () => resolve());
    });
  // A stream without a listener for its errors would end the process; each line's own callback says what was lost.
  stream.on('error', () => undefined);
  return {
    write(text, onLost) {
      if (stream.destroyed || stream.writableEnded || stream.writableLength > maxBacklog) {
        onLost?.();
        return;
      }
      stream.write(text, (error) => {
        if (error) onLost?.();
      });
    },
    flush,
    flushSync: () => undefined,
    close: flush,
  };
}

function openForAppending(file: string): number {
  try {
    return openSync(file, 'a', 0o600);
  } catch (cause) {
    throw new SallyportError('config_invalid', `${file}: cannot be opened for appending`, { cause });
  }
}

/** Whether the file's last line has no end: whoever wrote it was killed, and the next line would be read as a part of it. */
function endsTorn(file: string, fd: number): boolean {
  const found = fstatSync(fd);
  if (!found.isFile() || found.size === 0) return false;
  let reading: number | undefined;
  try {
    reading = openSync(file, 'r');
    const last = Buffer.alloc(1);
    return readSync(reading, last, 0, 1, found.size - 1) === 1 && last[0] !== 0x0a;
  } catch {
    // It may be appended to, and not read.
    return false;
  } finally {
    if (reading !== undefined) closeSync(reading);
  }
}
