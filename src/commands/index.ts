import type { Command, CommandIo } from './command.ts';
import { isFault } from '../kernel/error.ts';

/** Exit status of a command: done. */
export const exitDone = 0;
/** Exit status: what was looked at is found wanting, or the command broke down. */
export const exitWanting = 1;
/** Exit status: wrong usage, or a configuration that is not valid. */
export const exitUsage = 2;

/** Every subcommand, loaded only when it is the one asked for: `version` must not wait for the proxy's modules. */
const loaders: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['serve', async () => (await import('./serve.ts')).serveCommand],
  ['check', async () => (await import('./check.ts')).checkCommand],
  ['explain', async () => (await import('./explain.ts')).explainCommand],
  ['canary', async () => (await import('./canary.ts')).canaryCommand],
  ['status', async () => (await import('./status.ts')).statusCommand],
  ['sessions', async () => (await import('./sessions.ts')).sessionsCommand],
  ['users', async () => (await import('./users.ts')).usersCommand],
  ['reload', async () => (await import('./reload.ts')).reloadCommand],
  ['schema', async () => (await import('./schema.ts')).schemaCommand],
  ['demo', async () => (await import('./demo.ts')).demoCommand],
  ['version', async () => (await import('./version.ts')).versionCommand],
]);

/** The names of all subcommands, in the order in which `--help` shows them. */
export const commandNames: readonly string[] = [...loaders.keys()];

/**
 * Runs the subcommand that `args` (without node and script) names and returns its exit status; never throws.
 *
 * Usage faults of a command (node:util parseArgs) and an invalid configuration are 2; any other fault is 1.
 */
export async function dispatch(args: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--help' || name === '-h' || name === 'help') {
    io.stdout.write(await overview());
    return exitDone;
  }
  if (name === '--version' || name === '-v') return await dispatch(['version', ...rest], io);
  const load = name === undefined ? undefined : loaders.get(name);
  if (load === undefined) {
    io.stderr.write(`${name === undefined ? 'no command given' : `unknown command: ${printable(name)}`}\n\n`);
    io.stderr.write(await overview());
    return exitUsage;
  }
  return await runCommand(await load(), rest, io);
}

async function runCommand(command: Command, args: readonly string[], io: CommandIo): Promise<number> {
  if (asksForHelp(args)) {
    io.stdout.write(terminated(command.usage));
    return exitDone;
  }
  try {
    return await command.run(args, io);
  } catch (error) {
    if (isUsageFault(error)) {
      io.stderr.write(`sallyport ${command.name}: ${error.message}\n\n${terminated(command.usage)}`);
      return exitUsage;
    }
    if (isFault(error, 'config_invalid')) {
      io.stderr.write(terminated(error.message));
      return exitUsage;
    }
    io.stderr.write(`sallyport ${command.name}: ${terminated(describe(error))}`);
    return exitWanting;
  }
}

async function overview(): Promise<string> {
  const commands = await Promise.all([...loaders.values()].map((load) => load()));
  const width = Math.max(...commandNames.map((name) => name.length));
  return [
    'Usage: sallyport <command> [options]',
    '',
    'An OpenID Connect reverse proxy that lets a session start only when the signed ID token proves MFA.',
    '',
    'Commands:',
    ...commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    '',
    'sallyport <command> --help tells more.',
    'Exit status: 0 done, 1 found wanting, 2 usage or configuration.',
    '',
  ].join('\n');
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  const options = end === -1 ? args : args.slice(0, end);
  return options.includes('--help') || options.includes('-h');
}

/** Whether node:util parseArgs refused the arguments. */
function isUsageFault(error: unknown): error is Error {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('ERR_PARSE_ARGS_')
  );
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function terminated(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

/** A mistyped command is echoed to a terminal: control characters in it must not reach one. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}
