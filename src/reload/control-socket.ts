import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { umask } from 'node:process';
import { SallyportError } from '../kernel/error.ts';
import type { ReloadOutcome } from './outcome.ts';

/*
 * One line of JSON each way. Whoever may open the socket may ask: the file's permissions (0600, so the process's own user and
 * root) are all there is of authentication, and all that is needed.
 */

const maxRequestBytes = 4096;
const requestTimeoutMs = 5000;
const maxAnswerBytes = 4 * 1024 * 1024;
const maxActorCharacters = 256;

/** What the socket answers. */
export type ControlAnswer = ReloadOutcome | { readonly result: 'malformed'; readonly message: string };

/** Listens on `operations.control_socket`. */
export interface ControlSocket {
  close(): Promise<void>;
}

/** What may be asked over the socket. */
export interface ControlCommands {
  reload(actor: string | undefined): Promise<ReloadOutcome>;
}

/**
 * Opens the control socket, mode 0600. A socket file that a process left behind when it was killed is replaced.
 * @throws config_invalid when another process listens there, or the path is taken by something else or can't be bound
 */
export async function openControlSocket(path: string, commands: ControlCommands): Promise<ControlSocket> {
  await clearStale(path);
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    serve(socket, commands);
  });
  await listen(server, path);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroySoon();
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void => reject(unusable(path, 'cannot be bound', cause));
    server.once('error', fail);
    // The socket is bound within the call: at no moment may anyone else connect.
    const before = umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', fail);
        chmodSync(path, 0o600);
        resolve();
      });
    } finally {
      umask(before);
    }
  });
}

async function clearStale(path: string): Promise<void> {
  let found;
  try {
    found = lstatSync(path);
  } catch {
    return;
  }
  if (!found.isSocket()) throw unusable(path, 'exists and is no socket');
  if (await answers(path)) throw unusable(path, 'another process listens there');
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function unusable(path: string, why: string, cause?: Error): SallyportError {
  return new SallyportError('config_invalid', `operations.control_socket ${path}: ${why}`, { cause });
}

function serve(socket: Socket, commands: ControlCommands): void {
  let text = '';
  let asked = false;
  socket.setEncoding('utf8');
  socket.setTimeout(requestTimeoutMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    if (asked) return;
    text += chunk;
    const end = text.indexOf('\n');
    if (end === -1 && text.length <= maxRequestBytes) return;
    asked = true;
    // A reload may take as long as it needs.
    socket.setTimeout(0);
    void answer(end === -1 ? '' : text.slice(0, end), commands).then((reply) => {
      socket.end(`${JSON.stringify(reply)}\n`);
    });
  });
}

async function answer(line: string, commands: ControlCommands): Promise<ControlAnswer> {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    return { result: 'malformed', message: 'expected one line of JSON' };
  }
  const { command, actor } = (request ?? {}) as { command?: unknown; actor?: unknown };
  if (command !== 'reload') return { result: 'malformed', message: 'unknown command' };
  if (actor !== undefined && !isActor(actor)) {
    return {
      result: 'malformed',
      message: `actor: expected 1 to ${maxActorCharacters} printable characters`,
    };
  }
  try {
    return await commands.reload(actor);
  } catch (error) {
    return { result: 'refused', report: `${error instanceof Error ? error.message : 'unexpected fault'}\n` };
  }
}

/** Whether this can name who changed something: it goes into the audit trail. */
export function isActor(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maxActorCharacters && /^[^\p{C}]+$/u.test(value);
}

/**
 * Asks the process that listens at `path` to read its configuration again.
 * @throws the system's error when nobody listens, or Error when the answer is none
 */
export function askReload(path: string, actor: string | undefined): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${JSON.stringify({ command: 'reload', actor })}\n`));
    socket.on('error', reject);
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > maxAnswerBytes) socket.destroy(new Error('the answer is too long'));
    });
    socket.on('end', () => {
      try {
        resolve(JSON.parse(text) as ControlAnswer);
      } catch {
        reject(new Error('the process ended the connection without an answer'));
      }
    });
  });
}
