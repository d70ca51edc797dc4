import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Secret } from '../kernel/secret.ts';

/**
 * A digest of a configuration's part: equal for equal values, whatever the order of their keys. Secrets count by their value,
 * and named files by what they hold now, so that a certificate or key written anew makes another digest.
 *
 * Only for comparison within this process: it is never shown and never stored.
 */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(canonical(value, '')).digest('base64url');
}

function canonical(value: unknown, key: string): string {
  if (value instanceof Secret) return JSON.stringify(value.reveal());
  if (typeof value === 'string') return JSON.stringify(value) + (namesFile(key) ? contentOf(value) : '');
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, key)).join(',')}]`;
  if (value === undefined) return 'undefined';
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${entries.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner, name)}`).join(',')}}`;
}

function namesFile(key: string): boolean {
  return key.endsWith('_file') || key.endsWith('_files');
}

function contentOf(file: string): string {
  try {
    return createHash('sha256').update(readFileSync(file)).digest('base64url');
  } catch {
    return 'unreadable';
  }
}
