import { closeSync, openSync, write, writeSync } from 'node:fs';
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

export interface LineWriterOptions {
  /** Lines wait this long for company, so that a busy process writes few large pieces. Milliseconds. */
  readonly delayMs?: number;
  /** Characters that may be waiting; beyond that lines are lost rather than memory. */
  readonly maxBacklog?: number;
}

interface Line {
  readonly text: string;
  readonly onLost: (() => void) | undefined;
}

const defaultDelayMs = 10;
const defaultMaxBacklog = 4 * 1024 * 1024;
const pieceCharacters = 64 * 1024;
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
): LineWriter {
  const owned = 'file' in target;
  const fd = owned ? openForAppending(target.file) : target.fd;
  const { delayMs = defaultDelayMs, maxBacklog = defaultMaxBacklog } = options;

  let queue: Line[] = [];
  let queued = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing = false;
  let closed = false;
  /** The last write stopped within a line: the next one begins on a line of its own. */
  let torn = false;
  let idle: (() => void)[] = [];

  function takePiece(): readonly Line[] {
    let characters = 0;
    let count = 0;
    while (count < queue.length && characters < pieceCharacters)
      characters += queue[count++]?.text.length ?? 0;
    const piece = queue.slice(0, count);
    queue = queue.slice(count);
    queued -= characters;
    return piece;
  }

  function bytesOf(piece: readonly Line[]): Buffer {
    return Buffer.from((torn ? '\n' : '') + piece.map(({ text }) => text).join(''));
  }

  function pump(): void {
    timer = undefined;
    if (writing) return;
    if (queue.length === 0) {
      const waiting = idle;
      idle = [];
      for (const resolve of waiting) resolve();
      return;
    }
    writing = true;
    const piece = takePiece();
    writeOn(piece, bytesOf(piece), 0);
  }

  function writeOn(piece: readonly Line[], bytes: Buffer, offset: number): void {
    write(fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      const code = error?.code;
      if (code === 'EAGAIN' || code === 'EINTR') {
        setTimeout(() => writeOn(piece, bytes, offset), retryMs);
        return;
      }
      const end = offset + (error === null ? written : 0);
      if (error === null && end < bytes.length) {
        writeOn(piece, bytes, end);
        return;
      }
      settle(piece, error === null, end);
      writing = false;
      pump();
    });
  }

  function settle(piece: readonly Line[], done: boolean, written: number): void {
    torn = !done && (written > 0 || torn);
    // Lines of a piece that failed half-way count as lost, the written ones too: better one too many than one too few.
    if (!done) for (const { onLost } of piece) onLost?.();
  }

  function flushSync(): void {
    while (queue.length > 0) {
      const piece = takePiece();
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
      queue.push({ text, onLost });
      queued += text.length;
      if (!writing && timer === undefined) timer = setTimeout(pump, delayMs);
    },
    flush,
    flushSync,
    async close() {
      if (closed) return;
      await flush();
      closed = true;
      if (owned) closeSync(fd);
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
