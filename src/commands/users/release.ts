import { foldBound, type Binding } from '../../identity/binding-record.ts';
import { readRows, refuseFile, sessionsNotice } from './owner.ts';
import type { LineFault } from './rows.ts';
import type { Workplace } from './workplace.ts';

/** What is to be freed. */
export interface ReleaseOptions {
  readonly names: readonly string[];
  readonly emails: readonly string[];
  readonly file: string | undefined;
  readonly unreadable: boolean;
}

/** `sallyport users release`: frees names, with the addresses that go along with them, or addresses alone. */
export async function releaseUsers(place: Workplace, options: ReleaseOptions): Promise<number> {
  if (options.unreadable) return await dropUnreadable(place);
  const snapshot = await place.snapshot();
  const faults: LineFault[] = [];
  const released = new Map<string, Binding>();

  const take = (kind: Binding['kind'], value: string, fault: (message: string) => void): void => {
    const found = snapshot.find(kind, value);
    if (found === undefined) {
      fault(`${JSON.stringify(value)} is bound to nobody`);
      return;
    }
    const along = kind === 'username' ? snapshot.emailsOf(found) : [];
    for (const binding of [found, ...along])
      released.set(`${binding.kind} ${foldBound(binding.value)}`, binding);
  };

  if (options.file !== undefined) {
    const { rows, faults: form } = await readRows(options.file, ['username']);
    faults.push(...form);
    for (const { line, fields } of rows) {
      const fault = (message: string): void => void faults.push({ line, message });
      if (fields['username'] !== undefined) take('username', fields['username'], fault);
    }
    if (faults.length > 0) return refuseFile(place, options.file, faults);
  }
  const unknown: string[] = [];
  for (const name of options.names) take('username', name, (message) => unknown.push(message));
  for (const email of options.emails) take('email', email, (message) => unknown.push(message));
  if (unknown.length > 0) {
    for (const message of unknown) place.complain(message);
    place.complain('nothing was changed');
    return 1;
  }

  for (const binding of released.values()) {
    await place.bindings.release(binding.kind, binding.value);
    await place.record({ change: 'released', previous: binding, next: undefined });
    const kind = binding.kind === 'email' ? 'email ' : '';
    place.say(`released: ${kind}${binding.value}, formerly of ${binding.subject} at ${binding.issuer}`);
  }
  place.say(`${[...released.values()].filter(({ kind }) => kind === 'username').length} user names released`);
  if (released.size > 0) place.say(sessionsNotice(place));
  return 0;
}

async function dropUnreadable(place: Workplace): Promise<number> {
  const count = await place.bindings.dropUnreadable();
  if (count > 0)
    await place.record({ change: 'dropped_unreadable', previous: undefined, next: undefined, count });
  place.say(`${count} bindings dropped that open with none of the configured secrets`);
  return 0;
}
