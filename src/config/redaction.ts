import { Secret } from '../kernel/secret.ts';
import type { Config } from './schema.ts';

/** A plain copy that may be printed: secrets, and user names and passwords in URLs, read `[redacted]`. */
export function redactedConfig(config: Config): Readonly<Record<string, unknown>> {
  return redact(config) as Readonly<Record<string, unknown>>;
}

function redact(value: unknown): unknown {
  if (value instanceof Secret) return value.toString();
  if (typeof value === 'string') return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1[redacted]@');
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, redact(inner)]));
}
