import { parseArgs } from 'node:util';
import { isFault } from '../kernel/error.ts';
import type { Command } from './command.ts';
import { readChoice } from './sessions/choice.ts';
import { listSessions } from './sessions/list.ts';
import { revokeSessions } from './sessions/revoke.ts';
import { showSession } from './sessions/show.ts';
import { UsageFault, withWorkplace, type Workplace } from './sessions/workplace.ts';

/** `sallyport sessions`: who is signed in, and the end of it. */
export const sessionsCommand: Command = {
  name: 'sessions',
  summary: 'see who is signed in, and sign them out everywhere',
  usage: `Usage: sallyport sessions list [--user EMAIL | --sub SUB] [--source ID] [--json]
       sallyport sessions show ID [--json]
       sallyport sessions revoke (--user EMAIL | --sub SUB | --source ID | --all) [--actor NAME] [--json]

  list            the sessions that are alive
  show ID         one session, by the id that list, whoami and the audit trail show
  revoke          ends sessions on every replica at once, their WebSockets and event streams included

  --user EMAIL    of whoever has this email address; upper and lower case are one
  --sub SUB       of this subject
  --source ID     of this source; beside --user or --sub: theirs of this source alone
  --all           of everybody
  --config FILE   the configuration; else SALLYPORT_CONFIG; session.redis must be set
  --actor NAME    who the audit trail says it was; else the user of the operating system
  --json          print JSON

What outlives a session lives on: personal access tokens, deploy keys and runner tokens of the forge, and the sign-in at the
identity provider, which may let the same user in again. See docs/sessions.md.

Each end is audited as session.ended and each call as sessions.revoked: to audit.file where it is set, else to standard error.

Exit status: 0 done (also when there was nothing to end), 1 there is no such session, or the store is down, 2 usage or configuration.`,

  async run(args, io) {
    const { values, positionals } = parseArgs({ args: shieldId(args), allowPositionals: true, options });
    try {
      return await withWorkplace(values, io, choose(positionals, values));
    } catch (error) {
      if (error instanceof UsageFault) {
        io.stderr.write(`sallyport sessions: ${error.message}\n`);
        return 2;
      }
      if (!isFault(error, 'store_unavailable')) throw error;
      io.stderr.write(`sallyport sessions: ${error.message}\n`);
      return 1;
    }
  },
};

/** One id in 64 begins with a dash: it is no option, and stands behind the end of the options. */
function shieldId(args: readonly string[]): string[] {
  const at = args.indexOf('show') + 1;
  const id = args[at];
  if (at === 0 || id === undefined || !/^-[\w-]{21}$/.test(id)) return [...args];
  return [...args.slice(0, at), ...args.slice(at + 1), '--', id];
}

const options = {
  config: { type: 'string' },
  actor: { type: 'string' },
  json: { type: 'boolean' },
  user: { type: 'string' },
  sub: { type: 'string' },
  source: { type: 'string' },
  all: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

/** What the arguments ask for. @throws UsageFault when they do not go together */
function choose(positionals: readonly string[], values: Values): (place: Workplace) => Promise<number> {
  const [subcommand = '', id, ...more] = positionals;
  const json = values.json === true;
  const allow = (...names: string[]): void => {
    const other = Object.keys(values).find((name) => !['config', 'json', ...names].includes(name));
    if (other !== undefined) throw new UsageFault(`${subcommand} takes no --${other}`);
  };
  if (more.length > 0 || (id !== undefined && subcommand !== 'show'))
    throw new UsageFault(`${subcommand} takes no ${JSON.stringify((more[0] ?? id ?? '').slice(0, 64))}`);
  switch (subcommand) {
    case 'list': {
      allow('user', 'sub', 'source');
      const choice = readChoice(values);
      return (place) => listSessions(place, choice, json);
    }
    case 'show':
      allow();
      if (id === undefined) throw new UsageFault('show takes the ID of a session');
      return (place) => showSession(place, id, json);
    case 'revoke': {
      allow('actor', 'user', 'sub', 'source', 'all');
      const choice = readChoice(values);
      if (choice.by === 'all' && values.all !== true)
        throw new UsageFault('say whose: --user EMAIL, --sub SUB, --source ID, or --all');
      return (place) => revokeSessions(place, choice, json);
    }
    default:
      throw new UsageFault(
        subcommand === ''
          ? 'say what to do: list, show or revoke'
          : `there is no ${JSON.stringify(subcommand.slice(0, 64))}: list, show or revoke`,
      );
  }
}
