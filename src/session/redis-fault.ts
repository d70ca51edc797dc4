import { SallyportError } from '../kernel/error.ts';

/** What went wrong with Redis, in words that hold no credential. */
export interface RedisFault {
  /** Short, for the operator. */
  readonly cause: string;
  /** The server's error code (`READONLY`, `OOM` …), where it answered with one. */
  readonly replyCode: string | undefined;
  /** Whether the connection is of no use any more, or only this command was refused while others are answered. */
  readonly connectionLost: boolean;
}

/** The answer did not come in time. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** A server that answers and is none to use. Its message is the cause, in words that hold no credential. */
export class Unfit extends Error {
  override readonly name = 'Unfit';
}

/** A node of a cluster named another one for the key. */
export class Redirection extends Error {
  override readonly name = 'Redirection';
  /** `moved`: for good; `ask`: this once, while the slot is on its way. */
  readonly kind: 'moved' | 'ask';
  readonly slot: number;
  /** Empty: the host that answered. */
  readonly host: string;
  readonly port: number;

  constructor(kind: 'moved' | 'ask', slot: number, host: string, port: number) {
    super(kind);
    this.kind = kind;
    this.slot = slot;
    this.host = host;
    this.port = port;
  }
}

/**
 * What a node of a cluster says when a key is elsewhere (`MOVED 3999 10.0.0.1:6379`, `ASK …`); undefined for any other error.
 *
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding
 */
export function redirectionOf(error: unknown): Redirection | undefined {
  const reply = firstReply(error);
  const match = /^(MOVED|ASK) ([0-9]{1,5}) (\S*):([0-9]{1,5})$/.exec(reply?.message ?? '');
  if (match === null) return undefined;
  const [, kind, slot, host = '', port] = match;
  return new Redirection(kind === 'MOVED' ? 'moved' : 'ask', Number(slot), host, Number(port));
}

/** Why a transaction was discarded stands in the answers to its commands; the error itself for any other. */
function firstReply(error: unknown): Error | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  if (!error.message.startsWith('EXECABORT') || !('previousErrors' in error)) return error;
  const { previousErrors } = error;
  const first: unknown = Array.isArray(previousErrors) ? previousErrors[0] : undefined;
  return first instanceof Error ? first : error;
}

/** Server errors by their code (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors). */
const replies: Readonly<Record<string, { readonly says: string; readonly refusesAll: boolean }>> = {
  READONLY: { says: 'the server is a read-only replica', refusesAll: false },
  OOM: { says: 'the server is out of memory (maxmemory)', refusesAll: false },
  MISCONF: { says: 'the server cannot write to its disk and refuses writes', refusesAll: false },
  NOREPLICAS: { says: 'the server has too few replicas and refuses writes', refusesAll: false },
  NOPERM: { says: 'the user may not run this command or touch these keys', refusesAll: false },
  NOAUTH: { says: 'the server asks for a password', refusesAll: true },
  WRONGPASS: { says: 'user name or password is wrong', refusesAll: true },
  LOADING: { says: 'the server is loading its data', refusesAll: true },
  BUSY: { says: 'the server is busy with a script', refusesAll: true },
  MASTERDOWN: { says: 'the replica has lost its primary', refusesAll: true },
  MOVED: { says: 'the server is part of a cluster', refusesAll: true },
  CLUSTERDOWN: { says: 'the cluster is down', refusesAll: true },
};

/**
 * Describes an error of the client library. Its own text is never repeated: a server may quote the command it did not
 * understand, AUTH with its password included, and the library hangs the arguments on the error.
 */
export function describeFault(error: unknown, where: string): RedisFault {
  if (error instanceof NoAnswer) return lost(`no answer in time from ${where}`);
  if (!(error instanceof Error)) return lost(`connection to ${where} failed`);
  if (error instanceof Unfit) return lost(error.message);
  const reply = firstReply(error);
  if (reply !== undefined) {
    const replyCode = /^[A-Z]{2,20}(?= |$)/.exec(reply.message)?.[0] ?? 'ERR';
    const known = replies[replyCode];
    const cause = `${replyCode}: ${known?.says ?? 'the server refused the command'}`;
    return { cause, replyCode, connectionLost: known?.refusesAll ?? false };
  }
  const code: unknown = 'code' in error ? error.code : undefined;
  return lost(typeof code === 'string' ? `${code} (${where})` : `connection to ${where} was lost`);
}

function lost(cause: string): RedisFault {
  return { cause, replyCode: undefined, connectionLost: true };
}

/** The fault that callers see. */
export function storeUnavailable(cause: string): SallyportError {
  return new SallyportError('store_unavailable', `the session store is unavailable: ${cause}`, {
    detail: cause,
  });
}
