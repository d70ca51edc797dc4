import type { Config } from '../../config/schema.ts';
import { isSameSubject, foldBound, type Binding } from '../../identity/binding-record.ts';
import { createBindings, type Bindings } from '../../identity/binding.ts';
import { systemClock } from '../../kernel/clock.ts';
import type { CommandIo } from '../command.ts';
import { withStore, type StoreCommand } from '../workplace.ts';

export { UsageFault } from '../workplace.ts';

/** What a subcommand of `users` works with. */
export interface Workplace {
  readonly config: Config;
  readonly bindings: Bindings;
  /** Everything that is bound, by kind and folded value. */
  readonly snapshot: () => Promise<Snapshot>;
  /** Puts a change on record. */
  readonly record: (change: Change) => Promise<void>;
  /** Prints a line; nothing in it can steer a terminal. */
  readonly say: (line: string) => void;
  readonly complain: (line: string) => void;
}

/** A change, as the audit trail tells it (`users.changed`). */
export interface Change {
  readonly change: 'imported' | 'granted' | 'replaced' | 'rebound' | 'released' | 'dropped_unreadable';
  readonly previous: Binding | undefined;
  readonly next: Omit<Binding, 'since'> | undefined;
  /** With `dropped_unreadable`: how many. */
  readonly count?: number;
}

/** Everything that was bound at one moment. */
export interface Snapshot {
  readonly bindings: readonly Binding[];
  readonly unreadable: number;
  readonly find: (kind: Binding['kind'], value: string) => Binding | undefined;
  /** The addresses that go along with a user name. */
  readonly emailsOf: (name: Binding) => readonly Binding[];
}

const command: StoreCommand = {
  name: 'sallyport users',
  kept: 'bindings',
  lost: (count) => `${count} changes were made that the audit trail does not hold`,
};

/** Makes the workplace of a subcommand. @throws UsageFault */
export function withWorkplace(
  options: { readonly config?: string | undefined; readonly actor?: string | undefined },
  io: CommandIo,
  work: (place: Workplace) => Promise<number>,
): Promise<number> {
  return withStore(command, options, io, ({ config, store, sealing, actor, audit, flush }) => {
    const bindings = createBindings({ store, sealing, clock: systemClock });
    return work({
      config,
      bindings,
      snapshot: () => takeSnapshot(bindings),
      async record(change) {
        audit.write({
          action: 'users.changed',
          requestId: undefined,
          clientIp: undefined,
          user: undefined,
          authSource: change.next?.source ?? change.previous?.source,
          tenant: undefined,
          fields: { ...auditFields(change), actor },
        });
        await flush();
      },
      say: (line) => io.stdout.write(`${printable(line)}\n`),
      complain: (line) => io.stderr.write(`${command.name}: ${printable(line)}\n`),
    });
  });
}

function auditFields({ change, previous, next, count }: Change): Record<string, unknown> {
  const bound = next ?? previous;
  const holder = (binding: Change['next'], since?: number) =>
    binding === undefined
      ? null
      : {
          issuer: binding.issuer,
          subject: binding.subject,
          source: binding.source,
          ...(since === undefined ? {} : { since: new Date(since * 1000).toISOString() }),
        };
  return {
    change,
    ...(bound?.kind === 'username' ? { username: bound.value } : {}),
    ...(bound?.kind === 'email' ? { email: bound.value, username: bound.username } : {}),
    ...(count === undefined
      ? { previous: holder(previous, previous?.since), next: holder(next) }
      : { count }),
  };
}

async function takeSnapshot(bindings: Bindings): Promise<Snapshot> {
  const all: Binding[] = [];
  let unreadable = 0;
  for await (const binding of bindings.list(() => (unreadable += 1))) all.push(binding);
  const keyOf = (kind: string, value: string): string => `${kind} ${foldBound(value)}`;
  const byKey = new Map(all.map((binding) => [keyOf(binding.kind, binding.value), binding]));
  const emails = new Map<string, Binding[]>();
  for (const email of all.filter(({ kind }) => kind === 'email')) {
    const name = foldBound(email.username ?? '');
    emails.set(name, [...(emails.get(name) ?? []), email]);
  }
  return {
    bindings: all,
    unreadable,
    find: (kind, value) => byKey.get(keyOf(kind, value)),
    emailsOf: (name) =>
      (emails.get(foldBound(name.value)) ?? []).filter((email) => isSameSubject(email, name)),
  };
}

/** Names come from identity providers: nothing in them may steer a terminal or turn its text around. */
export function printable(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex -- they are what must not reach a terminal
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
