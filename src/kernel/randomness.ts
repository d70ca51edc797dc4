import { randomBytes } from 'node:crypto';

/** Unpredictable bytes, as a port, so that tests can repeat themselves. */
export interface Randomness {
  /** `length` bytes from a cryptographic source. */
  bytes(length: number): Buffer;
}

/** The operating system's cryptographic source. */
export const systemRandomness: Randomness = { bytes: (length) => randomBytes(length) };

/** A URL-safe token that carries `bits` (a multiple of 8) of entropy, in unpadded base64url (RFC 4648 section 5). */
export function randomToken(randomness: Randomness, bits = 256): string {
  return randomness.bytes(bits / 8).toString('base64url');
}
