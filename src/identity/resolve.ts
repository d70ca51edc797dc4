import type { SourceConfig, UpstreamConfig } from '../config/schema.ts';
import type { Identity } from '../session/types.ts';
import { foldAscii, hasControlCharacter } from './characters.ts';
import { resolveEmail } from './email.ts';
import { resolveGroups } from './groups.ts';
import { isReservedUsername, isUsableUsername, usernameRules } from './username-rules.ts';

/** Why an identity is refused: reasons that are not about MFA (SPEC section 3). */
export type IdentityRefusalCode =
  | 'email_domain_not_allowed'
  | 'email_unverified'
  | 'group_not_allowed'
  | 'groups_unavailable'
  | 'username_invalid'
  | 'username_reserved'
  | 'token_invalid';

/** An identity, or why there is none. `observed` is what was looked at, for the audit line; bounded there. */
export type IdentityResult =
  | { readonly ok: true; readonly identity: Identity }
  | {
      readonly ok: false;
      readonly code: IdentityRefusalCode;
      readonly observed: Readonly<Record<string, unknown>>;
      /** With `username_reserved`: who it would be, for whoever can find out that the operator gave them the name. */
      readonly identity?: Identity;
    };

type Claims = Readonly<Record<string, unknown>>;

/** The longest display name that is passed on; a longer one is left out. Characters. */
const maxNameLength = 256;

/**
 * Who has signed in, and whether they may: verified email, groups and the user name that the upstream will know them by.
 * Pure; called once per sign-in, after the assurance decision's token checks.
 *
 * @param signIn the verified ID token's claims, and the profile (userinfo merged under them)
 * @param headerClaims more claims that `upstream.identity_headers` names: refused here if they could not stand in a header
 * @see SPEC section 7
 */
export function resolveIdentity(
  signIn: { readonly claims: Claims; readonly profile: Claims },
  source: Pick<SourceConfig, 'groups_claim' | 'email_trusted' | 'email_domains' | 'allowed_groups'>,
  username: UpstreamConfig['username'],
  preset: UpstreamConfig['preset'],
  headerClaims: readonly string[] = [],
): IdentityResult {
  const { claims, profile } = signIn;
  const subject = claims['sub'];
  if (typeof subject !== 'string' || subject === '')
    return refuse('token_invalid', { claim: 'sub', why: 'absent' });

  // A line break in a value is a second header for whoever builds one from it; nothing honest carries one.
  for (const claim of ['sub', 'name', 'email', 'preferred_username', source.groups_claim, ...headerClaims]) {
    if (carriesControl(profile[claim]) || carriesControl(claims[claim])) {
      return refuse('token_invalid', { claim, why: 'control_character' });
    }
  }

  const email = resolveEmail(claims, profile, source);
  if (source.email_domains.length > 0) {
    if (email.domain === undefined || !email.verified) {
      return refuse('email_unverified', { email: profile['email'], email_verified: email.observedVerified });
    }
    const { domain } = email;
    if (!source.email_domains.some((allowed) => foldAscii(allowed) === domain)) {
      return refuse('email_domain_not_allowed', { email: email.address });
    }
  }

  const groups = resolveGroups(claims, profile, source.groups_claim);
  if (source.allowed_groups.length > 0) {
    if (groups === undefined) return refuse('groups_unavailable', { claim: source.groups_claim });
    if (!source.allowed_groups.some((allowed) => groups.includes(allowed)))
      return refuse('group_not_allowed', { groups });
  }

  const name = resolveUsername(profile, email, username, preset);
  if (!name.ok) return name;

  const identity: Identity = {
    subject,
    username: name.username,
    name: displayName(profile['name']),
    email: email.address,
    emailVerified: email.verified,
    preferredUsername: displayName(profile['preferred_username']),
    groups,
  };
  return name.reserved === undefined
    ? { ok: true, identity }
    : { ...refuse('username_reserved', name.reserved), identity };
}

/** A user name within the rules; `reserved`: what was looked at, when it is one that sign-ins do not get. */
type ResolvedUsername =
  | {
      readonly ok: true;
      readonly username: string;
      readonly reserved: Readonly<Record<string, unknown>> | undefined;
    }
  | ReturnType<typeof refuse>;

/** The upstream user name: the claim, else the verified email; its local part or all of it; within the rules. */
function resolveUsername(
  profile: Claims,
  email: ReturnType<typeof resolveEmail>,
  config: UpstreamConfig['username'],
  preset: UpstreamConfig['preset'],
): ResolvedUsername {
  const rules = usernameRules[preset];
  const claimed = config.claim === 'email' ? undefined : profile[config.claim];
  let written: string;
  if (typeof claimed === 'string' && claimed.trim() !== '') {
    written = claimed;
  } else if (email.address === undefined) {
    return refuse('username_invalid', { claim: config.claim, why: 'absent' });
  } else if (!email.verified) {
    // Who may write any address into their profile may write the administrator's.
    return refuse('email_unverified', { email: email.address, email_verified: email.observedVerified });
  } else {
    written = email.address;
  }

  // The forges trim what the header says, so what is checked here must be trimmed too.
  const username = (config.format === 'local_part' ? localPart(written) : written).trim();
  const observed = { claim: config.claim, value: written };
  if (hasControlCharacter(written) || !isUsableUsername(username, config, preset))
    return refuse('username_invalid', observed);
  const reserved = isReservedUsername(username, config.reserved ?? rules.reserved);
  return { ok: true, username, reserved: reserved ? observed : undefined };
}

/** What stands before the `@`. With two of them nobody can say what the local part is: empty, which no rule accepts. */
function localPart(text: string): string {
  const parts = text.split('@');
  return parts.length > 2 ? '' : (parts[0] ?? '');
}

function displayName(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= maxNameLength ? value : undefined;
}

function carriesControl(value: unknown): boolean {
  if (typeof value === 'string') return hasControlCharacter(value);
  return Array.isArray(value) && value.some((item) => typeof item === 'string' && hasControlCharacter(item));
}

function refuse(
  code: IdentityRefusalCode,
  observed: Readonly<Record<string, unknown>>,
): {
  readonly ok: false;
  readonly code: IdentityRefusalCode;
  readonly observed: Readonly<Record<string, unknown>>;
} {
  return { ok: false, code, observed };
}
