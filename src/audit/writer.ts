import type { Clock } from '../kernel/clock.ts';
import type { Meter } from '../kernel/meter.ts';
import { auditLine } from './line.ts';
import type { AuditSink } from './types.ts';

/** Where audit lines go: operations/line-writer.ts, on standard output or `audit.file`. */
export interface AuditDestination {
  /** Takes a whole line; never throws, never blocks; calls `onLost` when it could not be written. */
  write(line: string, onLost: () => void): void;
}

/** What {@link createAuditWriter} counts and warns with. */
export interface AuditWriterDeps {
  readonly clock: Clock;
  readonly meter: Pick<Meter, 'auditLost'>;
  /** Tells the operator that the trail has a gap; at most once a minute. */
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

const tellEveryMs = 60_000;

/** Writes audit events as JSON lines; what cannot be written is counted in `sallyport_audit_lost_total`. */
export function createAuditWriter(
  destination: AuditDestination,
  { clock, meter, log }: AuditWriterDeps,
): AuditSink {
  let lost = 0;
  let toldAtMs = Number.NEGATIVE_INFINITY;

  function lose(cause: string): void {
    lost += 1;
    meter.auditLost();
    const nowMs = clock.nowMs();
    if (nowMs - toldAtMs < tellEveryMs) return;
    toldAtMs = nowMs;
    log('audit lines are being lost', { lost, cause });
  }

  return {
    write(event) {
      let line: string;
      try {
        line = auditLine(event, clock.nowMs());
      } catch {
        // A field that JSON cannot hold (a cycle, a getter that throws) is our own mistake; the request goes on.
        lose('event cannot be written as JSON');
        return;
      }
      destination.write(line, () => lose('destination not writable'));
    },
  };
}
