import ipaddr from 'ipaddr.js';
import { parseDuration } from '../kernel/duration.ts';

/** The path in `unix:/path`, or undefined. */
export function parseUnixPath(text: string): string | undefined {
  return /^unix:(\/[^\0]+)$/.exec(text)?.[1];
}

/** Where the upstream is. */
export type UpstreamAddress =
  { readonly kind: 'http'; readonly origin: string } | { readonly kind: 'unix'; readonly path: string };

/** `http://host`, `https://host` (no path, no credentials) or `unix:/path`; undefined when it is none of these. */
export function parseUpstreamUrl(text: string): UpstreamAddress | undefined {
  const path = parseUnixPath(text);
  if (path !== undefined) return { kind: 'unix', path };
  const origin = parseOrigin(text);
  return origin === undefined ? undefined : { kind: 'http', origin };
}

/** An http or https URL; undefined when it is none. */
export function parseWebUrl(text: string): URL | undefined {
  if (!/^https?:\/\/[^\s\\]+$/i.test(text)) return undefined;
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** The origin (RFC 6454) that `text` is, in its serialised form; undefined when it is more than an origin, or none. */
export function parseOrigin(text: string): string | undefined {
  const url = parseWebUrl(text);
  const bare = url !== undefined && url.pathname === '/' && url.username === '' && url.password === '';
  return bare && !/[?#@]/.test(text) ? url.origin : undefined;
}

/** Whether a URL's host is this machine itself: localhost, 127.0.0.0/8, ::1 (RFC 6761 section 6.3). */
export function isLoopback(url: URL): boolean {
  const host = url.hostname.toLowerCase();
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    host === '[::1]' ||
    /^127(\.\d{1,3}){3}$/.test(host)
  );
}

/** Whether `text` is a CIDR block, in plain decimal or IPv6 notation. */
export function isCidr(text: string): boolean {
  const [address = '', length = '', ...more] = text.split('/');
  if (more.length > 0 || !/^[0-9]{1,3}$/.test(length)) return false;
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return Number(length) <= 32;
  return !address.includes('%') && ipaddr.IPv6.isValid(address) && Number(length) <= 128;
}

/** A bound on how often something may be asked for. */
export interface RateLimit {
  readonly count: number;
  readonly windowMs: number;
}

/** `30/1m`: a positive count and the duration it is for; undefined when it is none. */
export function parseRateLimit(text: string): RateLimit | undefined {
  const match = /^([1-9][0-9]{0,8})\/(.+)$/.exec(text);
  const windowMs = parseDuration(match?.[2] ?? '');
  return match === null || windowMs === undefined || windowMs === 0
    ? undefined
    : { count: Number(match[1]), windowMs };
}
