import { userInfo } from 'node:os';
import type { AuditEvent } from '../../audit/types.ts';
import { createAuditWriter } from '../../audit/writer.ts';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { systemClock } from '../../kernel/clock.ts';
import { silentMeter } from '../../kernel/meter.ts';
import { openLineWriter, streamLineWriter } from '../../operations/line-writer.ts';
import { createDirectory, type Directory } from '../../session/directory.ts';
import { createEndings, type Endings } from '../../session/endings.ts';
import type { Store } from '../../session/types.ts';
import type { CommandIo } from '../command.ts';
import { openSealedStore } from '../sealed-store.ts';

/** What a subcommand of `sessions` works with. */
export interface Workplace {
  readonly config: Config;
  readonly store: Store;
  readonly directory: Directory;
  readonly endings: Endings;
  readonly actor: string;
  /** Puts an event on record. */
  readonly record: (event: Pick<AuditEvent, 'action' | 'user' | 'authSource' | 'fields'>) => void;
  /** Prints a line as it is: JSON, or made of {@link visible} parts. */
  readonly say: (line: string) => void;
  readonly complain: (line: string) => void;
}

/** A usage or configuration fault: exit status 2. */
export class UsageFault extends Error {
  override readonly name = 'UsageFault';
}

/**
 * Loads the configuration, connects to its Redis, and opens the audit trail: `audit.file`, where serve writes it too, else standard
 * error, since standard output is this command's own answer.
 *
 * @throws UsageFault
 */
export async function withWorkplace(
  options: { readonly config?: string | undefined; readonly actor?: string | undefined },
  io: CommandIo,
  work: (place: Workplace) => Promise<number>,
): Promise<number> {
  const path = options.config ?? io.env['SALLYPORT_CONFIG'];
  if (path === undefined)
    throw new UsageFault('no configuration: give --config FILE or set SALLYPORT_CONFIG');
  const loaded = await loadConfig(path, io.env);
  if (!loaded.ok) throw new UsageFault(loaded.report.trimEnd());
  const { config } = loaded;
  const opened = openSealedStore(config.session);
  if (opened === undefined) {
    throw new UsageFault(
      'session.redis is not set: sessions are in the memory of the running serve, where no command reaches them',
    );
  }
  const { store } = opened;
  const directory = createDirectory(opened);
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
      status = await work({
        config,
        store,
        directory,
        endings: createEndings({ store, directory, clock: systemClock }),
        actor: options.actor ?? operatingSystemUser(),
        record: (event) =>
          audit.write({
            ...event,
            requestId: undefined,
            clientIp: undefined,
            tenant: config.sources.find(({ id }) => id === event.authSource)?.tenant,
          }),
        say: (line) => io.stdout.write(`${line}\n`),
        complain: (line) => io.stderr.write(`sallyport sessions: ${line}\n`),
      });
    } finally {
      await lines.close();
    }
    if (lost === 0) return status;
    io.stderr.write(`sallyport sessions: ${lost} events are missing from the audit trail\n`);
    return 1;
  } finally {
    await store.close();
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

/** Names come from identity providers: nothing in them may steer a terminal, break a line or turn its text around. */
export function visible(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\ufffd');
}
