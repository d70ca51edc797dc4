import { hasControlCharacter } from './characters.ts';

type Claims = Readonly<Record<string, unknown>>;

/** Beyond these nobody can say whether the list is whole. */
const maxGroups = 5000;
const maxGroupLength = 512;

/**
 * The user's groups: an array of strings (a single string is a list of one), as sent. `undefined` where the IdP sent none,
 * something else, or only a pointer to them: Entra leaves the list out of larger tokens and writes `_claim_names` or
 * `hasgroups` instead. Unknown is not empty: what needs groups must then refuse or enforce, never pass.
 *
 * @see https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference (groups overage)
 */
export function resolveGroups(
  claims: Claims,
  profile: Claims,
  groupsClaim: string,
): readonly string[] | undefined {
  if (isOverage(claims, groupsClaim) || isOverage(profile, groupsClaim)) return undefined;
  const value = profile[groupsClaim];
  if (typeof value === 'string') return value === '' ? [] : [value];
  if (!Array.isArray(value) || value.length > maxGroups) return undefined;
  const groups: string[] = [];
  for (const group of value as readonly unknown[]) {
    if (typeof group !== 'string' || group.length > maxGroupLength) return undefined;
    groups.push(group);
  }
  return groups;
}

/**
 * The groups in a refreshed ID token, which a session's groups follow; `undefined` where it has no list that can be read whole: then they
 * stay as they were.
 */
export function refreshedGroups(claims: Claims, groupsClaim: string): readonly string[] | undefined {
  if (!Object.hasOwn(claims, groupsClaim) || !Array.isArray(claims[groupsClaim])) return undefined;
  const groups = resolveGroups(claims, claims, groupsClaim);
  // As at the sign-in: what breaks a header's line comes of nobody honest.
  return groups?.some(hasControlCharacter) === true ? undefined : groups;
}

function isOverage(claims: Claims, groupsClaim: string): boolean {
  const names = claims['_claim_names'];
  if (typeof names === 'object' && names !== null && Object.hasOwn(names, groupsClaim)) return true;
  return groupsClaim === 'groups' && (claims['hasgroups'] === true || claims['hasgroups'] === 'true');
}
