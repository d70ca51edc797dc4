import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readDocument } from '../config/document.ts';
import { askReload, isActor } from '../reload/control-socket.ts';
import type { Command, CommandIo } from './command.ts';
import { configurationPath } from './configuration.ts';

/** `sallyport reload`: has the running process read its configuration again, and says what came of it. */
export const reloadCommand: Command = {
  name: 'reload',
  summary: 'have the running proxy read its configuration again',
  usage: `Usage: sallyport reload [--config FILE] [--socket PATH] [--actor NAME]

Asks the process that listens on operations.control_socket to read its configuration file again, and waits for the
outcome. A file that is not valid changes nothing: its faults are printed. No request and no session is lost.

  --config FILE   the configuration, for its operations.control_socket; else SALLYPORT_CONFIG
  --socket PATH   the socket itself
  --actor NAME    who is changing the configuration, for the audit trail; default: change.actor of the file, else
                  the file's owner
  --help          this text

Exit status: 0 applied, 1 nobody answers, 2 the file is refused, or usage.
`,

  async run(args, io) {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: 'string' }, socket: { type: 'string' }, actor: { type: 'string' } },
      strict: true,
    });
    const { actor } = values;
    if (actor !== undefined && !isActor(actor)) {
      io.stderr.write('sallyport reload: --actor: expected 1 to 256 printable characters\n');
      return 2;
    }
    const socket = values.socket ?? (await findSocket(values.config, io));
    if (socket === undefined) {
      io.stderr.write(
        'sallyport reload: no socket: set operations.control_socket in the configuration (--config FILE or SALLYPORT_CONFIG), or give --socket PATH\n',
      );
      return 2;
    }
    let answer;
    try {
      answer = await askReload(socket, actor);
    } catch (error) {
      io.stderr.write(`sallyport reload: ${socket}: ${whyUnanswered(error)}\n`);
      return 1;
    }
    switch (answer.result) {
      case 'applied':
        for (const warning of answer.warnings) io.stderr.write(`warning: ${warning}\n`);
        if (answer.restartRequired.length > 0)
          io.stderr.write(`not applied before a restart: ${answer.restartRequired.join(', ')}\n`);
        io.stdout.write('applied\n');
        return 0;
      case 'refused':
        io.stderr.write(answer.report);
        io.stderr.write('refused: the configuration before stays in force\n');
        return 2;
      case 'malformed':
      default:
        io.stderr.write(`sallyport reload: ${answer.message}\n`);
        return 2;
    }
  },
};

/** The socket that the file names, even if the rest of the file is what a reload will find wrong. */
async function findSocket(config: string | undefined, io: CommandIo): Promise<string | undefined> {
  const path = configurationPath(config, io);
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    io.stderr.write(`sallyport reload: ${path}: this file can not be read\n`);
    return undefined;
  }
  const { document } = readDocument(text, path, io.env);
  const value = document?.value as { operations?: { control_socket?: unknown } | null } | null | undefined;
  const socket = value?.operations?.control_socket;
  return typeof socket === 'string' && socket !== '' ? resolve(dirname(path), socket) : undefined;
}

function whyUnanswered(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return 'no process listens there';
    case 'EACCES':
      return 'this user may not open it: run as the user that runs Sallyport';
    default:
      return error instanceof Error ? error.message : 'unexpected fault';
  }
}
