import type { Claims } from './types.ts';

/** A claim read by its type, never coerced. */
export type Reading =
  /** Not there, or empty (`""`, `[]`): the IdP said nothing. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'values'; readonly values: readonly string[]; readonly observed: unknown }
  | { readonly kind: 'malformed'; readonly why: string; readonly observed: unknown };

const absent: Reading = { kind: 'absent' };

/** `amr`: an array of strings; a single JSON string is a list of one (ID-porten sends `"amr": "BankID"`). Never trimmed, folded or split. */
export function readAmr(claims: Claims): Reading {
  return readStrings(claims, 'amr');
}

/** A claim named in `aal2_claims`: a string, or an array of strings. */
export function readClaim(claims: Claims, name: string): Reading {
  return readStrings(claims, name);
}

/** `acr`: one opaque, case-sensitive string. @see OpenID Connect Core section 2 */
export function readAcr(claims: Claims): Reading {
  const observed = own(claims, 'acr');
  if (observed === undefined || observed === '') return absent;
  if (typeof observed === 'string') return { kind: 'values', values: [observed], observed };
  return { kind: 'malformed', why: `it is ${typeName(observed)}, not a string`, observed };
}

function readStrings(claims: Claims, name: string): Reading {
  const observed = own(claims, name);
  if (observed === undefined || observed === '') return absent;
  if (typeof observed === 'string') return { kind: 'values', values: [observed], observed };
  if (!Array.isArray(observed)) {
    return {
      kind: 'malformed',
      why: `it is ${typeName(observed)}, neither a string nor an array of strings`,
      observed,
    };
  }
  const entries: readonly unknown[] = observed;
  if (entries.length === 0) return absent;
  // Every index is looked at: a hole reads as undefined, and is no string either.
  const strings = Array.from(entries).filter((entry): entry is string => typeof entry === 'string');
  if (strings.length === entries.length) return { kind: 'values', values: strings, observed };
  return { kind: 'malformed', why: 'its array holds something that is not a string', observed };
}

/** Own properties only: a claim named in the configuration must not find `Object.prototype`'s members. */
function own(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
