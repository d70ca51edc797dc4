import type { BoundCookies } from '../session/bound-cookies.ts';
import { isOwnCookie } from '../session/cookie.ts';
import type { OpenedSession } from '../session/types.ts';

/** What of an upstream's answer goes to the client. */
export interface ResponseHead {
  /** Flat `[name, value, …]`, ready for `writeHead`. */
  readonly headers: string[];
  /** The declared length in bytes; -1 when the body is framed otherwise. */
  readonly contentLength: number;
}

export interface ResponseHeaderInput {
  /** As undici has them: names and values in turn. */
  readonly rawHeaders: readonly Buffer[];
  /** The session that the request ran under: `Set-Cookie` comes back to nobody else (SPEC section 5). */
  readonly session: OpenedSession | undefined;
  /** The upstream's cookies that are tied to the session. */
  readonly boundCookies: BoundCookies | undefined;
  readonly ownCookies: readonly string[];
  /** Whether the answer to the client will be chunked if it has no length: then a `Trailer` makes sense. */
  readonly chunkable: boolean;
}

type ResponseFate = 'keep' | 'drop' | 'set-cookie' | 'content-length' | 'connection' | 'trailer';

const special: ReadonlyMap<string, ResponseFate> = new Map<string, ResponseFate>([
  ['connection', 'connection'],
  ['content-length', 'content-length'],
  ['keep-alive', 'drop'],
  ['proxy-connection', 'drop'],
  ['set-cookie', 'set-cookie'],
  ['set-cookie2', 'drop'],
  ['te', 'drop'],
  ['trailer', 'trailer'],
  ['transfer-encoding', 'drop'],
  ['upgrade', 'drop'],
]);

const rememberedNames = 512;
const fates = new Map<string, ResponseFate>();

function fateOf(name: string): ResponseFate {
  const known = fates.get(name);
  if (known !== undefined) return known;
  const fate = special.get(name.toLowerCase()) ?? 'keep';
  if (fates.size < rememberedNames) fates.set(name, fate);
  return fate;
}

/** Drops what belongs to the upstream's hop, and cookies that are none of the upstream's business; bytes pass as they are. */
export function filterResponseHeaders(input: ResponseHeaderInput): ResponseHead {
  const { rawHeaders } = input;
  const headers: string[] = [];
  let contentLength = -1;
  let listed: Set<string> | undefined;
  let trailer: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = latin1(rawHeaders[i]);
    const value = latin1(rawHeaders[i + 1]);
    switch (fateOf(name)) {
      case 'keep':
        headers.push(name, value);
        break;
      case 'content-length':
        // undici has checked that it fits; the first of several equal ones is enough.
        if (contentLength === -1) {
          contentLength = Number(value);
          headers.push(name, value);
        }
        break;
      case 'set-cookie':
        if (input.session !== undefined && !setsOwnCookie(value, input.ownCookies)) {
          headers.push(name, input.boundCookies?.tie(value, input.session) ?? value);
        }
        break;
      case 'connection':
        listed = namesListed(value, listed);
        break;
      case 'trailer':
        trailer = value;
        break;
      default:
        break;
    }
  }
  if (trailer !== undefined && input.chunkable && contentLength === -1) headers.push('Trailer', trailer);
  return { headers: listed === undefined ? headers : withoutListed(headers, listed), contentLength };
}

/** Trailers that may be relayed: no framing, routing or cookies in them (RFC 9110 section 6.5.1). */
export function filterTrailers(rawTrailers: readonly Buffer[]): [string, string][] {
  const trailers: [string, string][] = [];
  for (let i = 0; i + 1 < rawTrailers.length; i += 2) {
    const name = latin1(rawTrailers[i]);
    if (fateOf(name) === 'keep' && !notTrailers.has(name.toLowerCase()))
      trailers.push([name, latin1(rawTrailers[i + 1])]);
  }
  return trailers;
}

const notTrailers: ReadonlySet<string> = new Set([
  'authorization',
  'content-encoding',
  'content-range',
  'content-type',
  'host',
  'location',
]);

/** Whether a `Set-Cookie` value names one of our own cookies: an upstream could otherwise plant or end sessions. */
export function setsOwnCookie(value: string, ownCookies: readonly string[]): boolean {
  let end = value.indexOf(';');
  if (end === -1) end = value.length;
  const equals = value.indexOf('=');
  const name = equals === -1 || equals > end ? value.slice(0, end) : value.slice(0, equals);
  // A nameless cookie (`=name=value`) is sent back as `name=value` by browsers: RFC 6265bis section 5.7.
  if (name.trim() === '') {
    const rest = value.slice(equals + 1);
    return ownCookies.some((own) => rest.trimStart().toLowerCase().startsWith(own.toLowerCase()));
  }
  return ownCookies.some((own) => isOwnCookie(name, own));
}

function namesListed(value: string, known: Set<string> | undefined): Set<string> | undefined {
  const lower = value.toLowerCase();
  if (lower === 'keep-alive' || lower === 'close' || lower === 'upgrade') return known;
  const listed = known ?? new Set<string>();
  for (const option of lower.split(',')) listed.add(option.trim());
  return listed;
}

function withoutListed(headers: readonly string[], listed: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'content-length' || !listed.has(lower)) kept.push(name, headers[i + 1] ?? '');
  }
  return kept;
}

/** Node's own shortcut, without the detour that `toString('latin1')` takes; it runs for each header of each answer. */
interface Latin1Bytes extends Buffer {
  latin1Slice(start: number, end: number): string;
}

/** Header bytes as Node writes them again: one character for each byte. */
function latin1(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : (bytes as Latin1Bytes).latin1Slice(0, bytes.length);
}
