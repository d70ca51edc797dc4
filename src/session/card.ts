import type { Judgement, HeldRecord } from './types.ts';

/** What is shown of a session to whoever lists sessions: neither a token nor anything that opens one. Times in seconds since the epoch. */
export interface SessionCard {
  readonly version: 1;
  /** Public id of the session. */
  readonly id: string;
  readonly source: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly subject: string;
  /** The IdP's own id of its session, where the ID token names it. */
  readonly sid: string | undefined;
  readonly username: string;
  readonly name: string | undefined;
  readonly email: string | undefined;
  readonly issuedAt: number;
  readonly authenticatedAt: number;
  readonly expiresAt: number;
  /** Undefined: not known, the session is of a version that did not note it. */
  readonly judgement: Judgement | undefined;
}

/** The card of a session. */
export function cardOf(record: HeldRecord, judgement: Judgement | undefined): SessionCard {
  const { id, source, issuer, clientId, identity, issuedAt, authenticatedAt, expiresAt } = record;
  const { subject, username, name, email } = identity;
  return {
    version: 1,
    ...{ id, source, issuer, clientId, subject, sid: sidOf(record), username, name, email },
    ...{ issuedAt, authenticatedAt, expiresAt, judgement },
  };
}

/** The IdP's id of its own session (OpenID Connect Front-Channel Logout 1.0 section 3). */
export function sidOf({ claims }: Pick<HeldRecord, 'claims'>): string | undefined {
  const { sid } = claims;
  return typeof sid === 'string' && sid !== '' ? sid : undefined;
}

/** The bytes of a card, before sealing. */
export function encodeCard(card: SessionCard): Buffer {
  return Buffer.from(JSON.stringify(card), 'utf8');
}

/** The card in opened bytes; undefined when it is of a version that this release does not know. */
export function decodeCard(bytes: Buffer): SessionCard | undefined {
  try {
    const value = JSON.parse(bytes.toString('utf8')) as { readonly version?: unknown } | null;
    return value?.version === 1 ? (value as SessionCard) : undefined;
  } catch {
    return undefined;
  }
}
