import type { Binding } from '../../identity/binding-record.ts';
import { UsageFault, type Workplace } from './workplace.ts';

/** `sallyport users list`: who holds which name. */
export async function listUsers(
  place: Workplace,
  options: { readonly json: boolean; readonly source: string | undefined },
): Promise<number> {
  const { bindings, unreadable, emailsOf } = await place.snapshot();
  const wanted = filterOf(place, bindings, options.source);
  const shown = bindings.filter(wanted).sort((a, b) => compare(a.value, b.value));
  const names = shown.filter(({ kind }) => kind === 'username');
  const users = names.map((name) => ({
    name,
    emails: emailsOf(name)
      .map(({ value }) => value)
      .sort(compare),
  }));
  const attached = new Set(names.flatMap((name) => emailsOf(name)));
  const loose = shown.filter((binding) => binding.kind === 'email' && !attached.has(binding));

  if (options.json) {
    const json = {
      users: users.map(({ name, emails }) => ({ username: name.value, ...holderOf(name), emails })),
      emails_without_username: loose.map((email) => ({ email: email.value, ...holderOf(email) })),
      unreadable,
    };
    place.say(JSON.stringify(json, undefined, 2));
  } else {
    printTable(place, [
      ['USER NAME', 'SOURCE', 'ISSUER', 'SUBJECT', 'SINCE', 'BY', 'EMAIL'],
      ...users.map(({ name, emails }) => [name.value, ...cellsOf(name), emails.join(' ')]),
      ...loose.map((email) => ['-', ...cellsOf(email), email.value]),
    ]);
    place.say(`${users.length} user names`);
    if (unreadable > 0)
      place.say(`${unreadable} bindings open with none of the configured secrets: see sallyport check`);
  }
  return unreadable === 0 ? 0 : 1;
}

function filterOf(
  { config }: Workplace,
  bindings: readonly Binding[],
  source: string | undefined,
): (binding: Binding) => boolean {
  if (source === undefined) return () => true;
  const issuer = config.sources.find(({ id }) => id === source)?.issuer;
  // A source that has left the configuration may still hold names.
  const fits = (binding: Binding): boolean => binding.issuer === issuer || binding.source === source;
  if (issuer === undefined && !bindings.some(fits)) {
    const known = config.sources.map(({ id }) => id).join(', ');
    throw new UsageFault(`no source has the id ${JSON.stringify(source)}; there are: ${known}`);
  }
  return fits;
}

function holderOf({ source, issuer, subject, since, grantedBy }: Binding) {
  return { source, issuer, subject, since: new Date(since * 1000).toISOString(), granted_by: grantedBy };
}

function cellsOf(binding: Binding): string[] {
  const { source, issuer, subject, since, granted_by: by } = holderOf(binding);
  return [source, issuer, subject, since.slice(0, 10), by];
}

function printTable(place: Workplace, rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
  for (const row of rows)
    place.say(
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}

/** By code unit: the same order on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
