import { parseArgs } from 'node:util';
import { isFault } from '../kernel/error.ts';
import type { Command, CommandIo } from './command.ts';
import { importUsers } from './users/import.ts';
import { listUsers } from './users/list.ts';
import { rebindFile, rebindUser } from './users/rebind.ts';
import { releaseUsers } from './users/release.ts';
import { UsageFault, withWorkplace, type Workplace } from './users/workplace.ts';

/** `sallyport users`: the durable bindings of upstream user names. */
export const usersCommand: Command = {
  name: 'users',
  summary: 'see and change which user name belongs to whom',
  usage: `Usage: sallyport users list [--json] [--source ID]
       sallyport users import FILE [--dry-run] [--replace]
       sallyport users release (NAME… | --email ADDRESS… | --file FILE | --unreadable)
       sallyport users rebind NAME (--source ID | --issuer URL) --subject SUB
       sallyport users rebind --file FILE

An upstream user name belongs to one subject of one identity provider, for good: whoever signs in with it first, or whom
these commands give it to. With a forge a verified email address belongs along with it.

  list            who holds which name
  import FILE     binds names to subjects: for a forge that has accounts already, and for reserved names
  release         frees names, with the addresses that go along with them, or addresses alone
  rebind          gives bound names, with their addresses, to other subjects: for a move to another identity provider

A FILE is CSV with a header line, or one JSON object a line; - is standard input. Columns: username, source (an id) or
issuer, subject, and for import email (several with spaces between); for release username alone. A file with any fault changes nothing.

  --config FILE   the configuration; else SALLYPORT_CONFIG; session.redis must be set
  --actor NAME    who the audit trail says it was; else the user of the operating system
  --dry-run       say what import would do, and do nothing
  --replace       let import take names from those who hold them
  --unreadable    drop the bindings whose secret is lost; their names are free then
  --json          print one JSON object

Every change is audited as users.changed: to audit.file where it is set, else to standard error.

Exit status: 0 done, 1 a file or a name has faults (nothing was changed), or the store is down, 2 usage or configuration.`,

  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const [subcommand = '', ...operands] = positionals;
    const given = new Set(Object.keys(values));
    try {
      const work = choose(subcommand, operands, values, given);
      return await withWorkplace(values, io, work);
    } catch (error) {
      return explainFault(error, io);
    }
  },
};

const options = {
  config: { type: 'string' },
  actor: { type: 'string' },
  json: { type: 'boolean' },
  source: { type: 'string' },
  issuer: { type: 'string' },
  subject: { type: 'string' },
  email: { type: 'string', multiple: true },
  file: { type: 'string' },
  'dry-run': { type: 'boolean' },
  replace: { type: 'boolean' },
  unreadable: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

/** What the arguments ask for. @throws UsageFault when they do not go together */
function choose(
  subcommand: string,
  operands: readonly string[],
  values: Values,
  given: ReadonlySet<string>,
): (place: Workplace) => Promise<number> {
  const allow = (...names: string[]): void => {
    const other = [...given].find((name) => !['config', 'actor', ...names].includes(name));
    if (other !== undefined) throw new UsageFault(`${subcommand} takes no --${other}`);
  };
  const [operand] = operands;
  switch (subcommand) {
    case 'list':
      allow('json', 'source');
      if (operand !== undefined) throw new UsageFault('list takes no names');
      return (place) => listUsers(place, { json: values.json === true, source: values.source });
    case 'import':
      allow('dry-run', 'replace');
      if (operand === undefined || operands.length > 1) throw new UsageFault('import takes one FILE');
      return (place) =>
        importUsers(place, operand, {
          dryRun: values['dry-run'] === true,
          replace: values.replace === true,
        });
    case 'release': {
      allow('email', 'file', 'unreadable');
      const { file, email: emails = [], unreadable = false } = values;
      const kinds = [file !== undefined, operands.length + emails.length > 0, unreadable];
      if (kinds.filter(Boolean).length !== 1)
        throw new UsageFault('release takes names and addresses, or --file FILE, or --unreadable');
      return (place) => releaseUsers(place, { names: operands, emails, file, unreadable });
    }
    case 'rebind': {
      const { file } = values;
      if (file !== undefined) {
        allow('file');
        if (operand !== undefined) throw new UsageFault('rebind takes a NAME, or --file FILE');
        return (place) => rebindFile(place, file);
      }
      allow('source', 'issuer', 'subject');
      if (operand === undefined || operands.length > 1)
        throw new UsageFault('rebind takes one NAME, or --file FILE');
      if (values.subject === undefined || (values.source === undefined && values.issuer === undefined))
        throw new UsageFault('rebind needs --subject SUB, and --source ID or --issuer URL');
      return (place) => rebindUser(place, operand, values);
    }
    default:
      throw new UsageFault(
        subcommand === ''
          ? 'say what to do: list, import, release or rebind'
          : `there is no ${JSON.stringify(subcommand.slice(0, 64))}: list, import, release or rebind`,
      );
  }
}

function explainFault(error: unknown, io: CommandIo): number {
  if (error instanceof UsageFault) {
    io.stderr.write(`sallyport users: ${error.message}\n`);
    return 2;
  }
  if (!isFault(error, 'store_unavailable')) throw error;
  io.stderr.write(`sallyport users: ${error.message}\n`);
  return 1;
}
