import { userInfo } from 'node:os';
import { createAuditWriter } from '../audit/writer.ts';
import type { AuditSink } from '../audit/types.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../kernel/clock.ts';
import { silentMeter } from '../kernel/meter.ts';
import { openLineWriter, streamLineWriter } from '../operations/line-writer.ts';
import type { CommandIo } from './command.ts';
import { configurationPath, noConfiguration } from './configuration.ts';
import { openSealedStore, type SealedStore } from './sealed-store.ts';

/** A usage or configuration fault: exit status 2. */
export class UsageFault extends Error {
  override readonly name = 'UsageFault';
}

/** What a command that changes what Redis holds works with. */
export interface StoreWorkplace extends SealedStore {
  readonly config: Config;
  /** Who does it: `--actor`, else the operating system's user. */
  readonly actor: string;
  readonly audit: AuditSink;
  /** Resolves once every event so far is written or lost. */
  readonly flush: () => Promise<void>;
}

/** The command, in its own words. */
export interface StoreCommand {
  /** `sallyport users` … */
  readonly name: string;
  /** What is in the memory of a running serve without Redis. */
  readonly kept: string;
  /** Said when audit lines could not be written; exit status 1. */
  readonly lost: (count: number) => string;
}

/**
 * Loads the configuration, connects to its Redis, and opens the audit trail: `audit.file`, where serve writes it too, else standard
 * error, since standard output is the command's own answer.
 *
 * @throws UsageFault
 */
export async function withStore(
  command: StoreCommand,
  options: { readonly config?: string | undefined; readonly actor?: string | undefined },
  io: CommandIo,
  work: (place: StoreWorkplace) => Promise<number>,
): Promise<number> {
  const path = configurationPath(options.config, io);
  if (path === undefined) throw new UsageFault(noConfiguration);
  const loaded = await loadConfig(path, io.env);
  if (!loaded.ok) throw new UsageFault(loaded.report.trimEnd());
  const { config } = loaded;
  const opened = openSealedStore(config.session);
  if (opened === undefined) {
    throw new UsageFault(
      `session.redis is not set: ${command.kept} are in the memory of the running serve, where no command reaches them`,
    );
  }
  let lost = 0;
  try {
    const { file } = config.audit;
    const lines = file === undefined ? streamLineWriter(io.stderr) : openLineWriter({ file });
    const audit = createAuditWriter(lines, {
      clock: systemClock,
      meter: { ...silentMeter, auditLost: () => (lost += 1) },
      log: () => undefined,
    });
    let status: number;
    try {
      const actor = options.actor ?? operatingSystemUser();
      status = await work({ ...opened, config, actor, audit, flush: () => lines.flush() });
    } finally {
      await lines.close();
    }
    if (lost === 0) return status;
    io.stderr.write(`${command.name}: ${command.lost(lost)}\n`);
    return 1;
  } finally {
    await opened.store.close();
  }
}

/** Who ran the command; a container's user may have no name. */
function operatingSystemUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
