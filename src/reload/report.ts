import type { Config } from '../config/schema.ts';
import type { ReloadCause } from './outcome.ts';

/** The part of a logger that tells of a reload. */
export interface ReloadLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Tells the log what a reload has changed, and what waits for a restart. */
export function reportApplied(
  logger: ReloadLogger,
  { warnings, restartRequired }: { warnings: readonly string[]; restartRequired: readonly string[] },
  { trigger, actor }: ReloadCause,
  before: Config,
  next: Config,
): void {
  const ids = (config: Config): readonly string[] => config.sources.map(({ id }) => id);
  logger.info(
    {
      trigger,
      actor: actor ?? next.change.actor,
      ref: next.change.ref,
      sources_added: ids(next).filter((id) => !ids(before).includes(id)),
      sources_removed: ids(before).filter((id) => !ids(next).includes(id)),
    },
    'a new configuration is in force',
  );
  for (const warning of warnings) logger.warn({}, warning);
  if (restartRequired.length > 0) {
    logger.warn(
      { keys: restartRequired },
      `not applied before a restart, the running values stay: ${restartRequired.join(', ')}`,
    );
  }
}

/** Tells the log that a reload has changed nothing, and why. */
export function reportRefused(logger: ReloadLogger, report: string, { trigger, actor }: ReloadCause): void {
  logger.error({ trigger, actor, report }, 'the new configuration is refused: the one before stays in force');
}
