import { SallyportError } from '../kernel/error.ts';
import type { HeldRecord } from '../session/types.ts';
import { hasControlCharacter, utf8HeaderValue } from './characters.ts';

/** Told of a group that cannot stand in a comma list, because it holds a comma itself and would read as two. */
export type GroupOmitted = (group: string, record: HeldRecord) => void;

/**
 * The value of one identity header, as the socket wants it (UTF-8 bytes as latin1), or undefined where there is none.
 * `email` is a verified one or none, whatever the preset: upstreams take an address for an account.
 *
 * @throws SallyportError `internal` when the value holds a control character. Sign-in refuses these, so that one in a
 *   session means that something else is broken; leaving the header out would silently make the user somebody lesser.
 */
export function headerValue(
  claim: string,
  record: HeldRecord,
  onGroupOmitted: GroupOmitted,
): string | undefined {
  const value = claimValue(claim, record);
  const text = Array.isArray(value) ? commaList(value, record, onGroupOmitted) : scalar(value);
  if (text === undefined || text === '') return undefined;
  if (hasControlCharacter(text)) {
    throw new SallyportError('internal', `claim ${claim} of session ${record.id} holds a control character`);
  }
  return utf8HeaderValue(text);
}

function claimValue(claim: string, { identity, claims }: HeldRecord): unknown {
  switch (claim) {
    case 'user':
    case 'username':
      return identity.username;
    case 'email':
      return identity.emailVerified ? identity.email : undefined;
    case 'name':
      return identity.name;
    case 'groups':
      return identity.groups;
    case 'preferred_username':
      return identity.preferredUsername;
    default:
      return Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  }
}

function scalar(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'boolean':
      return String(value);
    default:
      return undefined;
  }
}

function commaList(values: readonly unknown[], record: HeldRecord, onGroupOmitted: GroupOmitted): string {
  const list: string[] = [];
  for (const value of values) {
    const text = scalar(value);
    if (text === undefined || text === '') continue;
    if (text.includes(',')) onGroupOmitted(text, record);
    else list.push(text);
  }
  return list.join(',');
}
