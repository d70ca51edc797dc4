import type { AuditEvent } from '../../audit/types.ts';
import type { Config } from '../../config/schema.ts';
import { systemClock } from '../../kernel/clock.ts';
import { createDirectory, type Directory } from '../../session/directory.ts';
import { createEndings, type Endings } from '../../session/endings.ts';
import { createEndNotes, type EndNotes } from '../../session/end-notes.ts';
import type { Store } from '../../session/types.ts';
import type { CommandIo } from '../command.ts';
import { printable } from '../terminal.ts';
import { withStore, type StoreCommand } from '../workplace.ts';

export { UsageFault } from '../workplace.ts';

/** What a subcommand of `sessions` works with. */
export interface Workplace {
  readonly config: Config;
  readonly store: Store;
  readonly directory: Directory;
  readonly endings: Endings;
  readonly notes: EndNotes;
  readonly actor: string;
  /** Puts an event on record. */
  readonly record: (event: Pick<AuditEvent, 'action' | 'user' | 'authSource' | 'fields'>) => void;
  /** Prints JSON, or a line that is made of {@link visible} parts; what could steer a terminal is escaped as in JSON. */
  readonly say: (line: string) => void;
  readonly complain: (line: string) => void;
}

const command: StoreCommand = {
  name: 'sallyport sessions',
  kept: 'sessions',
  lost: (count) => `${count} events are missing from the audit trail`,
};

/** Makes the workplace of a subcommand. @throws UsageFault */
export function withWorkplace(
  options: { readonly config?: string | undefined; readonly actor?: string | undefined },
  io: CommandIo,
  work: (place: Workplace) => Promise<number>,
): Promise<number> {
  return withStore(command, options, io, ({ config, store, sealing, actor, audit }) => {
    const directory = createDirectory({ store, sealing });
    return work({
      config,
      store,
      directory,
      endings: createEndings({ store, directory, clock: systemClock }),
      notes: createEndNotes({ store, sealing, clock: systemClock }),
      actor,
      record: (event) =>
        audit.write({
          ...event,
          requestId: undefined,
          clientIp: undefined,
          tenant: config.sources.find(({ id }) => id === event.authSource)?.tenant,
        }),
      say: (line) => io.stdout.write(`${printable(line)}\n`),
      complain: (line) => io.stderr.write(`${command.name}: ${line}\n`),
    });
  });
}

/** Names come from identity providers: nothing in them may steer a terminal, break a line or turn its text around. */
export function visible(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\ufffd');
}
