import type { Standing } from '../../src/assurance/types.ts';
import type { Identity, OpenedSession, SessionRecord } from '../../src/session/types.ts';

/** An opened session as a sign-in would leave it. */
export function openedSession(
  identity: Partial<Identity> = {},
  record: Partial<SessionRecord> = {},
): OpenedSession {
  return {
    record: {
      version: 1,
      id: 'session-1',
      source: 'entra',
      issuer: 'https://idp.example',
      clientId: 'client',
      identity: {
        subject: 'sub-1',
        username: 'alice',
        name: 'Alice Åkerlund',
        email: 'alice@example.com',
        emailVerified: true,
        preferredUsername: 'alice@corp.example',
        groups: ['dev', 'ops'],
        ...identity,
      },
      claims: { sub: 'sub-1', acr: 'c2', amr: ['pwd', 'mfa'], auth_time: 1_700_000_000, department: 'R&D' },
      issuedAt: 1_700_000_000,
      authenticatedAt: 1_700_000_000,
      expiresAt: 1_700_086_400,
      forced: false,
      tokens: {
        idToken: 'id',
        accessToken: 'access',
        accessTokenExpiresAt: undefined,
        refreshToken: undefined,
      },
      ...record,
    },
  };
}

/** The standing of a session whose sign-in was verified. */
export function verifiedStanding(
  outcome: Standing['outcome'] = { admit: true, aal: 'aal2', status: 'verified', weak: false },
): Standing {
  return {
    verdict: {
      aal: outcome.aal,
      evidence: outcome.aal === 'aal2' ? { claim: 'acr', value: 'c2' } : undefined,
      weak: false,
      reason: undefined,
      observed: {},
      required: {},
      steps: [],
    },
    outcome,
    validUntilMs: Infinity,
  };
}
