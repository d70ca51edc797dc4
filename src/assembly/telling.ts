import type { AuditSink } from '../audit/types.ts';
import { createAuditWriter } from '../audit/writer.ts';
import type { Config } from '../config/schema.ts';
import { routeRules } from './generation-builder.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../operations/log.ts';
import { createMetrics, type Metrics } from '../operations/metrics.ts';
import { productVersion } from '../operations/version.ts';
import type { Parts } from './parts.ts';

/** How the rooms tell of what happens: in the log, by numbers, in the audit trail. Whoever holds it need not know of reloads. */
export interface Telling {
  /** The log of the configuration in force. */
  readonly log: () => Log;
  readonly logWarning: Log['warning'];
  readonly logInfo: Log['warning'];
  readonly logFault: Log['fault'];
  /** A fault that belongs to no request. */
  readonly logOwnFault: (error: unknown) => void;
  readonly metrics: Metrics;
  readonly meter: Metrics['meter'];
  readonly audit: AuditSink;
  /** The series of these sources and routes are counted from now on. */
  adopt(config: Config): void;
}

/**
 * Creates it, for a configuration that is yet to be put in force.
 *
 * @param firstLog takes the log's lines until then
 * @param parts what is in force; undefined before anything is. An audit event has to wait for that.
 */
export function createTelling(
  config: Config,
  clock: Clock,
  firstLog: Log,
  parts: { readonly current: () => Parts; readonly known: () => Parts | undefined },
): Telling {
  const log = (): Log => parts.known()?.log ?? firstLog;
  const logWarning: Log['warning'] = (message, fields) => log().warning(message, fields);
  const logFault: Log['fault'] = (error, facts) => log().fault(error, facts);
  const metrics = createMetrics({
    version: productVersion(),
    node: process.version,
    sources: config.sources.map(({ id }) => id),
    routes: metricRoutes(config),
    redis: config.session.redis !== undefined,
    configuredAtMs: clock.nowMs(),
  });
  const { meter } = metrics;
  return {
    log,
    logWarning,
    logInfo: (message, fields) => log().logger.info(fields, message),
    logFault,
    logOwnFault: (error) => logFault(error, undefined),
    metrics,
    meter,
    audit: createAuditWriter(
      { write: (line, onLost) => parts.current().auditOut.write(line, onLost) },
      { clock, meter, log: logWarning },
    ),
    adopt(next) {
      metrics.adopt({ sources: next.sources.map(({ id }) => id), routes: metricRoutes(next) });
    },
  };
}

/** The route rules by which requests are counted. */
function metricRoutes(config: Config): readonly { readonly name: string; readonly access: string }[] {
  return [...routeRules(config), { name: 'default', access: 'session' }];
}
