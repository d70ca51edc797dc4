import type { SessionRecord } from './types.ts';

/** The bytes of a record, before sealing. */
export function encodeRecord(record: SessionRecord): Buffer {
  return Buffer.from(JSON.stringify(record), 'utf8');
}

/**
 * The record in opened bytes, or undefined when it is of a version that this release does not know: then the user signs
 * in again. The bytes are authenticated, so what is ours need not be checked field by field.
 */
export function decodeRecord(bytes: Buffer): SessionRecord | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is SessionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { version, issuedAt, expiresAt } = value as Readonly<Record<string, unknown>>;
  return version === 1 && Number.isFinite(issuedAt) && Number.isFinite(expiresAt);
}
