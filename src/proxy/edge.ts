import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Generation } from '../generation.ts';
import type { Randomness } from '../kernel/randomness.ts';
import { randomToken } from '../kernel/randomness.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';

/** What the edge makes of a request: its facts, and a refusal where the request is not for us at all. */
export interface Established {
  readonly facts: RequestFacts;
  readonly refusal: Refusal | undefined;
}

export interface EdgeOptions {
  readonly randomness: Randomness;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export interface Edge {
  /** @param isTrusted whose X-Forwarded-* the generation believes: {@link trustTest} of its `server.trusted_proxies` */
  establish(raw: IncomingMessage, generation: Generation, isTrusted: AddressTest): Established;
  /** Whether a request has come over this connection yet. */
  hasAsked(socket: Socket): boolean;
}

interface Peer {
  readonly address: string;
  readonly trusted: boolean;
  /** By which test: a reload brings another. */
  readonly by: AddressTest;
}

/** Tells whether an address is among some. */
export type AddressTest = (address: string) => boolean;

/**
 * Reads what everyone behind relies on from the raw request: who asks, for which of our origins, and how.
 */
export function createEdge(options: EdgeOptions): Edge {
  const peers = new WeakMap<Socket, Peer>();
  const nextId = requestIds(options.randomness);
  let warned = false;

  function peerOf(socket: Socket, isTrusted: AddressTest): Peer {
    let peer = peers.get(socket);
    if (peer?.by !== isTrusted) {
      // A Unix socket has no address; whoever may open it stands on this machine.
      const address = plainAddress(socket.remoteAddress ?? '127.0.0.1');
      peer = { address, trusted: isTrusted(address), by: isTrusted };
      peers.set(socket, peer);
    }
    return peer;
  }

  function establish(raw: IncomingMessage, generation: Generation, isTrusted: AddressTest): Established {
    const { headers } = raw;
    const peer = peerOf(raw.socket, isTrusted);
    let host = headers.host;
    let clientIp = peer.address;
    let scheme: string | undefined;
    if (peer.trusted) {
      clientIp = clientAddress(headers['x-forwarded-for'], peer.address, isTrusted);
      host = nearest(headers['x-forwarded-host']) ?? host;
      scheme = nearest(headers['x-forwarded-proto']);
    } else if (!warned && sendsForwarding(raw)) {
      warned = true;
      options.logWarning(
        'an untrusted peer sends X-Forwarded-*: they are ignored; see server.trusted_proxies',
        {
          peer: peer.address,
        },
      );
    }

    // Node's parser drops what comes after its bound without a word: the rest of a head must not decide about the whole.
    const refusal =
      raw.rawHeaders.length > mostHeaders * 2 ? headersTooMany : judgeHost(raw, host, scheme, generation);
    const origin = typeof refusal === 'string' ? refusal : (generation.publicOrigins[0] ?? '');
    const method = raw.method ?? '';
    const page = wantsPage(raw);
    const facts: RequestFacts = {
      id: nextId(),
      traceparent: validTraceparent(headers['traceparent']),
      method,
      rawTarget: targetOf(raw),
      origin,
      clientIp,
      navigation: page && (method === 'GET' || method === 'HEAD'),
      formNavigation: page && method !== 'GET' && method !== 'HEAD',
      upgrade: isWebSocketUpgrade(raw),
    };
    return { facts, refusal: typeof refusal === 'string' ? undefined : refusal };
  }

  return { establish, hasAsked: (socket) => peers.has(socket) };
}

/** Header lines of one request: half of what Node's parser takes before it drops any. */
const mostHeaders = 500;
/** RFC 6585 section 5. */
const headersTooMany: Refusal = { status: 431, code: 'headers_too_large' };

/** The request target exactly as it came, whatever the router was shown instead. */
export function targetOf(raw: IncomingMessage & { originalUrl?: string }): string {
  return raw.originalUrl ?? raw.url ?? '';
}

/** Whether it asks for a WebSocket (RFC 6455 section 4.2.1). Any other `Upgrade` is ignored, as RFC 9110 section 7.8 allows. */
export function isWebSocketUpgrade(raw: IncomingMessage): boolean {
  const { upgrade } = raw.headers;
  return (
    upgrade !== undefined &&
    raw.method === 'GET' &&
    raw.httpVersionMinor > 0 &&
    upgrade.toLowerCase() === 'websocket'
  );
}

/** The origin of ours that the request came to, or why there is none. RFC 9110 section 7.2 and 15.5.20. */
function judgeHost(
  raw: IncomingMessage,
  host: string | undefined,
  scheme: string | undefined,
  generation: Generation,
): string | Refusal {
  if (host === undefined || host === '') return { status: 400, code: 'host_missing' };
  // Node shows the first of several; an upstream might read the last.
  if (countHosts(raw.rawHeaders) > 1) return { status: 400, code: 'host_duplicated' };
  const origin = generation.originOfHost.get(host) ?? originOfSpelling(host.toLowerCase(), generation);
  if (origin === undefined) return { status: 421, code: 'host_unknown' };
  if (scheme !== undefined && !origin.startsWith(`${scheme}:`)) {
    // Both http and https of one host may be configured; a proxy that we believe says which it was.
    const other = `${scheme}:${origin.slice(origin.indexOf('//'))}`;
    if (generation.publicOrigins.includes(other)) return other;
  }
  return origin;
}

function originOfSpelling(host: string, generation: Generation): string | undefined {
  const exact = generation.originOfHost.get(host);
  if (exact !== undefined) return exact;
  for (const [suffix, scheme] of [
    [':443', 'https:'],
    [':80', 'http:'],
  ] as const) {
    if (!host.endsWith(suffix)) continue;
    const origin = generation.originOfHost.get(host.slice(0, -suffix.length));
    if (origin?.startsWith(scheme) === true) return origin;
  }
  return undefined;
}

function countHosts(rawHeaders: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length === 4 && (name === 'Host' || name === 'host' || name.toLowerCase() === 'host'))
      count += 1;
  }
  return count;
}

/**
 * Whether the answer is shown to a person: SPEC's "navigation", its method aside. With `Sec-Fetch-*` a browser says so itself;
 * without, an `Accept` that names text/html does.
 */
function wantsPage(raw: IncomingMessage): boolean {
  const { headers } = raw;
  const mode = headers['sec-fetch-mode'];
  const destination = headers['sec-fetch-dest'];
  if (mode !== undefined || destination !== undefined || headers['sec-fetch-site'] !== undefined) {
    return mode === 'navigate' && destination === 'document';
  }
  return headers.accept?.toLowerCase().includes('text/html') === true;
}

const traceparentShape = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** W3C Trace Context section 3.2; anything else is as good as none. */
function validTraceparent(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' && traceparentShape.test(value) ? value : undefined;
}

/** Unique, unguessable in its first part, cheap: one random prefix per process and a counter. */
function requestIds(randomness: Randomness): () => string {
  const prefix = randomToken(randomness, 96);
  let count = 0;
  return () => {
    count += 1;
    return `${prefix}-${count.toString(36)}`;
  };
}

function sendsForwarding({ headers }: IncomingMessage): boolean {
  return (
    headers['x-forwarded-for'] !== undefined ||
    headers['x-forwarded-host'] !== undefined ||
    headers['x-forwarded-proto'] !== undefined
  );
}

/** The element that the nearest proxy wrote: the last one. */
function nearest(value: string | string[] | undefined): string | undefined {
  const text = Array.isArray(value) ? value.join(',') : value;
  if (text === undefined) return undefined;
  const last = text
    .slice(text.lastIndexOf(',') + 1)
    .trim()
    .toLowerCase();
  return last === '' ? undefined : last;
}

/**
 * Walks X-Forwarded-For from the right: each trusted address vouches for the one to its left; the first that is not
 * trusted is the client. Whatever stands further left is the client's own invention.
 */
function clientAddress(value: string | string[] | undefined, peer: string, isTrusted: AddressTest): string {
  const text = Array.isArray(value) ? value.join(',') : value;
  if (text === undefined) return peer;
  const hops = text.split(',');
  let address = peer;
  for (let i = hops.length - 1; i >= 0 && isTrusted(address); i -= 1) {
    const hop = forwardedAddress(hops[i] ?? '');
    if (hop === undefined) break;
    address = hop;
  }
  return address;
}

/** An address as proxies write it: bare, `[v6]`, with a port or without. */
function forwardedAddress(text: string): string | undefined {
  const trimmed = text.trim();
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(trimmed)?.[1];
  const bare =
    bracketed ??
    (/^\d+\.\d+\.\d+\.\d+:\d+$/.test(trimmed) ? trimmed.slice(0, trimmed.indexOf(':')) : trimmed);
  return ipaddr.isValid(bare) ? plainAddress(bare) : undefined;
}

/** One spelling for each address: an IPv4-mapped IPv6 address is the IPv4 address. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/**
 * The test for `server.trusted_proxies`: CIDRs or single addresses.
 *
 * @throws when one of them is written as no address and no CIDR
 */
export function trustTest(trustedProxies: readonly string[]): AddressTest {
  if (trustedProxies.length === 0) return () => false;
  const ranges = trustedProxies.map((text) =>
    text.includes('/') ? ipaddr.parseCIDR(text) : rangeOfAddress(ipaddr.process(text)),
  );
  return (address) => {
    if (!ipaddr.isValid(address)) return false;
    const parsed = ipaddr.process(address);
    return ranges.some(([base, bits]) => parsed.kind() === base.kind() && parsed.match(base, bits));
  };
}

function rangeOfAddress(address: ipaddr.IPv4 | ipaddr.IPv6): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}
