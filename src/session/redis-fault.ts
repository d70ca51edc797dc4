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
  if (error.name === 'ReplyError') {
    const replyCode = /^[A-Z]{2,20}(?= |$)/.exec(error.message)?.[0] ?? 'ERR';
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
