import type { App } from '../app.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../kernel/clock.ts';
import { SallyportError } from '../kernel/error.ts';
import { mergeReports } from '../operations/health-merge.ts';
import { openLineWriter, type PieceWriter } from '../operations/line-writer.ts';
import { startOperationsListener, type OperationsListener } from '../operations/listener.ts';
import { createLog, type Log } from '../operations/log.ts';
import { createMetricTotals, takeSnapshot } from '../operations/metric-merge.ts';
import { createMetrics } from '../operations/metrics.ts';
import { productVersion } from '../operations/version.ts';
import type { Reloadable } from '../reload/outcome.ts';
import { reportApplied, reportRefused } from '../reload/report.ts';
import { createFleet, StartFailed } from './fleet.ts';
import { createRateWindows } from './rates.ts';
import { createRollout } from './rollout.ts';

/** A running primary: what a single process is to whoever runs it. */
export type Primary = Reloadable & Pick<App, 'logFault' | 'close'>;

/** Beside the grace, which the workers keep by themselves. Milliseconds. */
const drainMarginMs = 3_000;
/** A log that nobody reads must not keep the process from ending. Milliseconds. */
const lastLinesMs = 2_000;

/**
 * Starts a primary and its workers: it serves no users, but writes everybody's lines, answers probes and scrapes, and keeps the
 * workers running with the configuration in force.
 *
 * @throws SallyportError `config_invalid` as `startApp` does, for what one of the workers finds
 */
export async function startPrimary(
  loaded: Extract<LoadedConfig, { ok: true }>,
  { workers, fileOwner }: { readonly workers: number; readonly fileOwner: string | undefined },
): Promise<Primary> {
  const clock = systemClock;
  const first = loaded.config;
  const out = openLineWriter({ fd: 1 });
  let auditOut = openAudit(first);
  let log = logOf(first);
  let shuttingDown = false;
  for (const warning of loaded.warnings) log.warning(warning, {});

  const metrics = createMetrics({
    version: productVersion(),
    node: process.version,
    sources: [],
    routes: [],
    redis: false,
    configuredAtMs: clock.nowMs(),
  });
  const { meter, registry } = metrics;
  const totals = createMetricTotals();
  const windows = createRateWindows(clock);

  const fleet = createFleet({
    wanted: workers,
    inForce: () => rollout.inForce(),
    totals,
    write: (kind, bytes, settled) => (kind === 'audit' ? auditOut : out).writePiece(bytes, settled),
    count: (key, windowMs) => windows.count(key, windowMs),
    log: (level, message, fields) => log.logger[level](fields, message),
    onReady: (member) => rollout.catchUp(member),
  });
  const rollout = createRollout(first, fileOwner, {
    fleet,
    prepare,
    tell: {
      applied(what, by, before, next) {
        meter.configReload('applied', clock.nowMs());
        reportApplied(log.logger, what, by, before, next);
      },
      refused(report, by) {
        meter.configReload('refused', clock.nowMs());
        reportRefused(log.logger, report, by);
      },
    },
  });

  function logOf({ log: config }: Config): Log {
    return createLog(config, out, clock, process.pid);
  }

  function openAudit({ audit }: Config): PieceWriter {
    return audit.file === undefined ? out : openLineWriter({ file: audit.file });
  }

  function closeAudit(writer: PieceWriter): void {
    if (writer !== out) void writer.close().catch((error: unknown) => log.fault(error, undefined));
  }

  function prepare(next: Config): { take(): void; leave(): void } {
    const before = rollout.config();
    const nextLog = logOf(next);
    const nextAudit = next.audit.file === before.audit.file ? auditOut : openAudit(next);
    return {
      take() {
        const former = auditOut;
        log = nextLog;
        auditOut = nextAudit;
        if (former !== nextAudit) closeAudit(former);
      },
      leave() {
        if (nextAudit !== auditOut) closeAudit(nextAudit);
      },
    };
  }

  async function end(operations: OperationsListener | undefined): Promise<void> {
    fleet.kill();
    await operations?.close();
    const closing = auditOut === out ? [out.close()] : [auditOut.close(), out.close()];
    const late = new Promise((resolve) => setTimeout(resolve, lastLinesMs).unref());
    await Promise.race([Promise.all(closing), late]);
  }

  let operations: OperationsListener | undefined;
  try {
    const starting = fleet.start();
    // Heard below; should the listener fail first, nobody would.
    starting.catch(() => undefined);
    operations = await startOperationsListener({
      listen: first.operations.listen,
      health: { report: () => mergeReports(fleet.reports(), { wanted: workers, shuttingDown }) },
      registry: {
        contentType: registry.contentType,
        async metrics() {
          await fleet.look();
          return await totals.page(await takeSnapshot(registry));
        },
      },
    });
    const listen = await starting;
    log.logger.info({ listen, operations: operations.address, workers }, 'ready');
  } catch (error) {
    await end(operations);
    throw error instanceof StartFailed ? faultOf(error) : error;
  }

  return {
    reload: (next, by) => rollout.reload(next, by),
    reopenFiles() {
      const { audit } = rollout.config();
      if (audit.file === undefined) return Promise.resolve();
      const former = auditOut;
      try {
        auditOut = openAudit(rollout.config());
      } catch (error) {
        // The trail goes on where it was: better in a rotated file than nowhere.
        log.fault(error, undefined);
        return Promise.resolve();
      }
      return former.close();
    },
    logFault: (error) => log.fault(error, undefined),
    async close(patience) {
      shuttingDown = true;
      log.logger.info('shutting down');
      const { shutdown_grace } = rollout.config().server;
      await fleet.drain(shutdown_grace + (patience?.mostMs ?? 0) + drainMarginMs);
      await end(operations);
    },
  };
}

/** As the worker has found it: told, and answered with the same exit status, as by a process that is alone. */
function faultOf({ fault, message }: StartFailed): Error {
  if (fault.configInvalid) return new SallyportError('config_invalid', message);
  const error = new Error(message);
  if (fault.stack !== undefined) error.stack = fault.stack;
  return error;
}
