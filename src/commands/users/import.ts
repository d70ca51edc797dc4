import { foldBound, isSameSubject, type Binding } from '../../identity/binding-record.ts';
import type { WantedBinding } from '../../identity/binding.ts';
import { isEmailAddress } from '../../identity/email.ts';
import { isReservedUsername, isUsableUsername, usernameRules } from '../../identity/username-rules.ts';
import { readRows, refuseFile, resolveOwner, sessionsNotice } from './owner.ts';
import type { LineFault, Row } from './rows.ts';
import type { Change, Snapshot, Workplace } from './workplace.ts';

const columns = ['username', 'source', 'issuer', 'subject', 'email'];

/** One binding that the file asks for, and what has to be done for it. */
interface Item {
  readonly line: number;
  readonly wanted: WantedBinding;
  readonly previous: Binding | undefined;
  readonly change: Extract<Change['change'], 'imported' | 'granted' | 'replaced'> | 'unchanged';
}

/** `sallyport users import`: binds names (and addresses) that existed before, or that no sign-in may take. */
export async function importUsers(
  place: Workplace,
  path: string,
  options: { readonly dryRun: boolean; readonly replace: boolean },
): Promise<number> {
  const { rows, faults } = await readRows(path, columns);
  const snapshot = await place.snapshot();
  const plan = makePlan(place, rows, snapshot, options.replace);
  const all = [...faults, ...plan.faults];
  if (all.length > 0) return refuseFile(place, path, all);

  const counts = new Map<string, number>();
  let lost = 0;
  for (const item of plan.items) {
    const { change } = item;
    if (change !== 'unchanged') {
      if (!options.dryRun && !(await apply(place, item, change))) {
        lost += 1;
        place.complain(`line ${item.line}: ${item.wanted.value} was taken by a sign-in just now`);
        continue;
      }
      place.say(`${options.dryRun ? 'would be ' : ''}${change}: ${describe(item)}`);
    }
    counts.set(change, (counts.get(change) ?? 0) + 1);
  }
  const summary = ['imported', 'granted', 'replaced', 'unchanged']
    .filter((change) => counts.has(change) || change === 'imported')
    .map((change) => `${counts.get(change) ?? 0} ${change}`);
  place.say(`${options.dryRun ? 'dry run: ' : ''}${summary.join(', ')}`);
  if (counts.has('replaced') && !options.dryRun) place.say(sessionsNotice(place));
  return lost === 0 ? 0 : 1;
}

function makePlan(
  { config }: Workplace,
  rows: readonly Row[],
  snapshot: Snapshot,
  replace: boolean,
): { readonly items: readonly Item[]; readonly faults: readonly LineFault[] } {
  const { upstream, sources } = config;
  const reserved = upstream.username.reserved ?? usernameRules[upstream.preset].reserved;
  const items: Item[] = [];
  const faults: LineFault[] = [];
  const seen = new Map<string, number>();

  for (const { line, fields } of rows) {
    const fault = (message: string): void => void faults.push({ line, message });
    const { username } = fields;
    const emails = fields['email']?.split(/\s+/) ?? [];
    const owner = resolveOwner(fields, sources);
    if (typeof owner === 'string') fault(owner);
    if (username === undefined) fault('no username is given');
    else if (!isUsableUsername(username, upstream.username, upstream.preset))
      fault(`${JSON.stringify(username)} is no user name that the upstream can have`);
    for (const email of emails)
      if (!isEmailAddress(email)) fault(`${JSON.stringify(email)} is no email address`);
    if (typeof owner === 'string' || username === undefined) continue;

    const common = { ...owner, grantedBy: 'operator' } as const;
    const asked: WantedBinding[] = [{ ...common, kind: 'username', value: username, username: undefined }];
    for (const email of emails) asked.push({ ...common, kind: 'email', value: email, username });
    for (const wanted of asked) {
      const key = `${wanted.kind} ${foldBound(wanted.value)}`;
      const earlier = seen.get(key);
      seen.set(key, earlier ?? line);
      if (earlier !== undefined) {
        fault(`${JSON.stringify(wanted.value)} stands in line ${earlier} already`);
        continue;
      }
      const previous = snapshot.find(wanted.kind, wanted.value);
      const change = changeFor(wanted, previous, isReservedUsername(wanted.value, reserved));
      if (change === 'replaced' && !replace)
        fault(
          `${JSON.stringify(wanted.value)} belongs to ${previous?.subject ?? ''} at ${previous?.issuer ?? ''}; --replace would give it away`,
        );
      items.push({ line, wanted, previous, change });
    }
  }
  return { items, faults };
}

function changeFor(wanted: WantedBinding, previous: Binding | undefined, reserved: boolean): Item['change'] {
  if (previous === undefined) return 'imported';
  if (!isSameSubject(previous, wanted)) return 'replaced';
  // Bound by a sign-in, before the name was reserved: that opens nothing, the operator's word does.
  const needsGrant = wanted.kind === 'username' && reserved && previous.grantedBy === 'sign_in';
  return needsGrant ? 'granted' : 'unchanged';
}

/** False when a sign-in has taken the name since the file was looked over. */
async function apply(
  { bindings, record }: Workplace,
  { wanted, previous }: Item,
  change: Change['change'],
): Promise<boolean> {
  if (change === 'imported') {
    const { outcome } = await bindings.claim(wanted);
    if (outcome === 'conflict') return false;
    // Its own holder was quicker by a sign-in: the same binding, but for who granted it.
    if (outcome === 'already_mine') await bindings.assign(wanted);
  } else {
    await bindings.assign(wanted);
  }
  await record({ change, previous, next: wanted });
  return true;
}

function describe({ wanted, previous, change }: Item): string {
  const from =
    change === 'replaced' && previous !== undefined
      ? `, formerly of ${previous.subject} at ${previous.issuer}`
      : '';
  return `${wanted.kind === 'email' ? 'email ' : ''}${wanted.value} for ${wanted.subject} at ${wanted.issuer}${from}`;
}
