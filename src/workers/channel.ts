import process from 'node:process';
import { openLineWriter, type PieceWriter, type SendPiece } from '../operations/line-writer.ts';
import type { RateCount } from '../kernel/rate.ts';
import type { LineKind, ToPrimary, ToWorker } from './types.ts';

/** A worker's end of the channel to its primary. */
export interface Channel {
  readonly connected: boolean;
  /** Says something, if anybody is there. Resolves once it is on its way. */
  tell(message: ToPrimary): Promise<void>;
  /** Resolves when the primary is gone. */
  readonly broken: Promise<void>;
  /** Sends lines to be written there; once the primary is gone, they are written here. */
  sender(kind: LineKind): SendPiece;
  /** Counts for all workers; undefined when that can't be had. */
  count(key: string, windowMs: number): Promise<RateCount | undefined>;
}

/**
 * Opens the worker's end.
 * @param hear takes what is not the channel's own
 * @param auditFile where audit lines go if this process must write them itself: asked when it comes to that
 */
export function openChannel(
  hear: (message: Exclude<ToWorker, { type: 'settled' | 'counted' }>) => void,
  auditFile: () => string | undefined,
): Channel {
  const unsettled = new Map<LineKind, { bytes: Buffer; settled: (written: boolean) => void }>();
  const counting = new Map<number, (count: RateCount | undefined) => void>();
  const direct = new Map<string | undefined, PieceWriter>();
  let lastId = 0;

  process.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'settled': {
        const piece = unsettled.get(message.kind);
        unsettled.delete(message.kind);
        piece?.settled(message.written);
        return;
      }
      case 'counted': {
        counting.get(message.id)?.(message);
        counting.delete(message.id);
        return;
      }
      default:
        hear(message);
    }
  });
  const broken = new Promise<void>((resolve) => {
    process.once('disconnect', () => {
      for (const each of counting.values()) each(undefined);
      counting.clear();
      // Nobody knows whether they were written: twice is better than not at all.
      for (const [kind, { bytes, settled }] of unsettled) writerOf(kind).writePiece(bytes, settled);
      unsettled.clear();
      resolve();
    });
  });

  function tell(message: ToPrimary): Promise<void> {
    return new Promise((resolve) => {
      if (!process.connected) resolve();
      else process.send?.(message, undefined, undefined, () => resolve());
    });
  }

  function writerOf(kind: LineKind): PieceWriter {
    const file = kind === 'audit' ? auditFile() : undefined;
    let writer = direct.get(file);
    if (writer === undefined) {
      writer = openLineWriter(file === undefined ? { fd: 1 } : { file });
      direct.set(file, writer);
    }
    return writer;
  }

  return {
    get connected() {
      return process.connected;
    },
    tell,
    broken,
    sender: (kind) => (bytes, settled) => {
      if (!process.connected) {
        writerOf(kind).writePiece(bytes, settled);
        return;
      }
      unsettled.set(kind, { bytes, settled });
      void tell({ type: 'lines', kind, bytes });
    },
    count(key, windowMs) {
      if (!process.connected) return Promise.resolve(undefined);
      lastId += 1;
      const id = lastId;
      return new Promise((resolve) => {
        counting.set(id, resolve);
        void tell({ type: 'count', id, key, windowMs });
      });
    },
  };
}
