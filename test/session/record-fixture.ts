import type { SessionRecord } from '../../src/session/types.ts';

/** A record that holds everything which must never be readable in the store. */
export function makeRecord(issuedAtMs: number, changes: Partial<SessionRecord> = {}): SessionRecord {
  const issuedAt = Math.floor(issuedAtMs / 1000);
  return {
    version: 1,
    id: 'public-session-id',
    source: 'entra',
    issuer: 'https://idp.example.com',
    clientId: 'sallyport-client',
    identity: {
      subject: 'subject-4711',
      username: 'margaret',
      name: 'Margaret Hamilton',
      email: 'margaret@example.com',
      emailVerified: true,
      preferredUsername: 'margaret',
      groups: ['flight-software'],
    },
    claims: { iss: 'https://idp.example.com', sub: 'subject-4711', amr: ['pwd', 'otp'] },
    issuedAt,
    authenticatedAt: issuedAt,
    expiresAt: issuedAt + 24 * 3600,
    forced: false,
    tokens: {
      idToken: 'eyJ-id-token-of-margaret',
      accessToken: 'access-token-of-margaret',
      accessTokenExpiresAt: issuedAt + 3600,
      refreshToken: 'refresh-token-of-margaret',
    },
    ...changes,
  };
}

/** What of it a reader of the store might recognise. */
export const readableParts = [
  'public-session-id',
  'entra',
  'idp.example.com',
  'sallyport-client',
  'subject-4711',
  'margaret',
  'Margaret',
  'example.com',
  'flight-software',
  'eyJ-id-token',
  'access-token',
  'refresh-token',
];
