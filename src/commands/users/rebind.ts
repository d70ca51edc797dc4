import { foldBound, isSameSubject, type Binding } from '../../identity/binding-record.ts';
import { readRows, refuseFile, resolveOwner, sessionsNotice, type GivenOwner, type Owner } from './owner.ts';
import type { LineFault } from './rows.ts';
import type { Snapshot, Workplace } from './workplace.ts';

const columns = ['username', 'source', 'issuer', 'subject'];

interface Move {
  readonly name: Binding;
  readonly owner: Owner;
}

/** `sallyport users rebind NAME`: gives one bound name to another subject. */
export async function rebindUser(place: Workplace, name: string, given: GivenOwner): Promise<number> {
  const planned = plan(place, await place.snapshot(), name, given);
  if (typeof planned === 'string') {
    place.complain(`${planned}; nothing was changed`);
    return 1;
  }
  return await moveAll(place, [planned]);
}

/** `sallyport users rebind --file FILE`: the same for everyone in a file, or for nobody. */
export async function rebindFile(place: Workplace, path: string): Promise<number> {
  const { rows, faults: form } = await readRows(path, columns);
  const snapshot = await place.snapshot();
  const faults: LineFault[] = [...form];
  const moves: Move[] = [];
  const seen = new Map<string, number>();
  for (const { line, fields } of rows) {
    const { username } = fields;
    const folded = foldBound(username ?? '');
    const earlier = seen.get(folded);
    seen.set(folded, earlier ?? line);
    const planned =
      username === undefined
        ? 'no username is given'
        : earlier === undefined
          ? plan(place, snapshot, username, fields)
          : `${JSON.stringify(username)} stands in line ${earlier} already`;
    if (typeof planned === 'string') faults.push({ line, message: planned });
    else moves.push(planned);
  }
  if (faults.length > 0) return refuseFile(place, path, faults);
  return await moveAll(place, moves);
}

function plan({ config }: Workplace, snapshot: Snapshot, username: string, given: GivenOwner): Move | string {
  const name = snapshot.find('username', username);
  if (name === undefined) return `${JSON.stringify(username)} is bound to nobody: import it`;
  const owner = resolveOwner(given, config.sources);
  return typeof owner === 'string' ? owner : { name, owner };
}

async function moveAll(place: Workplace, moves: readonly Move[]): Promise<number> {
  const { emailsOf } = await place.snapshot();
  let unchanged = 0;
  for (const { name, owner } of moves) {
    if (isSameSubject(name, owner)) {
      unchanged += 1;
      continue;
    }
    // The addresses first: were it to break off in between, the name would still lead to the rest.
    for (const previous of [...emailsOf(name), name]) {
      const { kind, value, username } = previous;
      const next = { kind, value, username, ...owner, grantedBy: 'operator' } as const;
      await place.bindings.assign(next);
      await place.record({ change: 'rebound', previous, next });
    }
    place.say(
      `rebound: ${name.value} to ${owner.subject} at ${owner.issuer}, formerly of ${name.subject} at ${name.issuer}`,
    );
  }
  place.say(`${moves.length - unchanged} rebound, ${unchanged} unchanged`);
  if (moves.length > unchanged) place.say(sessionsNotice(place));
  return 0;
}
