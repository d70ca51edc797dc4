import type { ReloadCause, ReloadOutcome } from '../reload/outcome.ts';
import type { HealthReport } from '../operations/health.ts';
import type { MetricSnapshot } from '../operations/metric-merge.ts';
import type { PackedConfig } from './config-transfer.ts';

/*
 * What the primary and its workers say to each other, over the channel that node:cluster opens between them: memory to memory,
 * so that a configuration's secrets may travel here.
 */

/** Which of a worker's lines: each kind has one writer, in the primary. */
export type LineKind = 'log' | 'audit';

/** From the primary to a worker. */
export type ToWorker =
  | {
      readonly type: 'start';
      readonly config: PackedConfig;
      /** Which of the configurations that were in force. */
      readonly version: number;
      readonly fileOwner: string | undefined;
      /** How many workers there are. */
      readonly workers: number;
      readonly joins: boolean;
    }
  | {
      readonly type: 'reload';
      readonly id: number;
      readonly config: PackedConfig;
      readonly version: number;
      readonly by: ReloadCause;
    }
  | { readonly type: 'look'; readonly id: number }
  | { readonly type: 'drain' }
  | { readonly type: 'settled'; readonly kind: LineKind; readonly written: boolean }
  | { readonly type: 'counted'; readonly id: number; readonly count: number; readonly remainingMs: number };

/** From a worker to the primary. */
export type ToPrimary =
  /** It listens to the channel: now it may be told to start. */
  | { readonly type: 'hello' }
  /** It accepts requests, with this version of the configuration. */
  | {
      readonly type: 'ready';
      readonly listen: string;
      readonly version: number;
      readonly health: HealthReport;
    }
  | { readonly type: 'failed'; readonly fault: StartFault }
  /** Its event loop turns. Some of them bring what it counts. */
  | { readonly type: 'beat'; readonly health?: HealthReport | undefined; readonly metrics?: MetricSnapshot }
  | {
      readonly type: 'reloaded';
      readonly id: number;
      readonly version: number;
      readonly outcome: ReloadOutcome;
    }
  | { readonly type: 'looked'; readonly id: number; readonly metrics: MetricSnapshot }
  | { readonly type: 'lines'; readonly kind: LineKind; readonly bytes: Uint8Array }
  | { readonly type: 'count'; readonly id: number; readonly key: string; readonly windowMs: number }
  /** Its last word. */
  | { readonly type: 'left'; readonly metrics: MetricSnapshot };

/** Why a worker could not start. */
export interface StartFault {
  /** Whether the configuration (or the machine) is at fault: exit status 2. */
  readonly configInvalid: boolean;
  readonly message: string;
  readonly stack: string | undefined;
}
