import { noteRefreshed } from '../assurance/refreshed.ts';
import type { Standing } from '../assurance/types.ts';
import type { Source } from '../generation.ts';
import { refreshedGroups } from '../identity/groups.ts';
import type { VerifiedRefresh } from '../provider/types.ts';
import { keptTokens } from '../session/kept-tokens.ts';
import type { HeldRecord, SessionRecord } from '../session/types.ts';

/** A session's record after a refresh, and what that has changed of it. */
export interface RefreshedRecord {
  readonly record: SessionRecord;
  readonly standing: Standing;
  /** What its IdP has said has taken its AAL2. */
  readonly lowered: boolean;
  readonly groupsChanged: boolean;
  /** It may do less than before. */
  readonly narrowed: boolean;
}

/**
 * What becomes of a session's record by a refresh. Nothing of who it is, when its user authenticated, and how long it lasts ever changes;
 * its evidence only ever dwindles; its groups follow where the refreshed ID token lists them. Only a list with none of `allowed_groups`
 * in it ends the session there and then.
 *
 * @param judge how the policy in force judges a record
 * @param nowSeconds seconds since the epoch
 */
export function refreshedRecord(
  record: SessionRecord,
  { claims, ...brought }: VerifiedRefresh,
  { config, policy }: Source,
  judge: (record: HeldRecord) => Standing,
  passAccessToken: boolean,
  nowSeconds: number,
): RefreshedRecord {
  const before = judge(record);
  const { tokens, identity } = record;
  const listed = claims === undefined ? undefined : refreshedGroups(claims, config.groups_claim);
  const groups = listed ?? identity.groups;
  // Who could not sign in with these groups has no session with them either: from now on it opens nothing, whatever the policy.
  const { allowed_groups: allowed } = config;
  const dismissed =
    listed !== undefined && allowed.length > 0 && !allowed.some((each) => listed.includes(each));
  const lost = identity.groups?.some((group) => groups?.includes(group) !== true) === true;
  const gained = groups?.some((group) => identity.groups?.includes(group) !== true) === true;
  const next: SessionRecord = {
    ...record,
    identity: lost || gained ? { ...identity, groups } : identity,
    refreshed:
      claims === undefined
        ? record.refreshed
        : noteRefreshed(record.claims, record.refreshed, claims, policy),
    expiresAt: dismissed ? Math.min(record.expiresAt, nowSeconds) : record.expiresAt,
    tokens: keptTokens(
      {
        ...brought,
        idToken: brought.idToken ?? tokens.idToken,
        refreshToken: brought.refreshToken ?? tokens.refreshToken,
      },
      passAccessToken,
      nowSeconds,
    ),
  };
  const standing = judge(next);
  const lowered = before.verdict.aal === 'aal2' && standing.verdict.aal === 'aal1';
  return {
    // A sign-in that was forced cannot have been forced because of this: the user may be asked once more.
    record: lowered ? { ...next, forced: false } : next,
    standing,
    lowered,
    groupsChanged: lost || gained,
    narrowed: lowered || lost || dismissed || (before.outcome.admit && !standing.outcome.admit),
  };
}
