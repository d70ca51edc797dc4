import type { UpstreamConfig } from '../config/schema.ts';
import type { Identity } from '../session/types.ts';
import { isSameSubject, type Binding } from './binding-record.ts';
import type { Bindings, WantedBinding } from './binding.ts';
import { headerRules } from './presets.ts';

/** A sign-in that would act under what belongs to somebody else. */
export interface BindingConflict {
  readonly code: 'username_conflict' | 'email_conflict';
  readonly wanted: WantedBinding;
  readonly holder: Binding;
}

/** Who signs in, and through what. */
export interface Claimant {
  readonly identity: Identity;
  readonly issuer: string;
  readonly source: string;
}

/**
 * Whether email addresses are bound as user names are: the forges look an unknown user name up by the email header
 * (`ENABLE_REVERSE_PROXY_EMAIL`), so that whoever brings the address gets the account.
 */
export function bindsEmail(upstream: Pick<UpstreamConfig, 'preset' | 'identity_headers'>): boolean {
  const isForge = upstream.preset === 'forgejo' || upstream.preset === 'gitea';
  return isForge && headerRules(upstream).some(({ claim }) => claim === 'email');
}

/**
 * Binds a sign-in's user name and, where it is an authenticator, its verified email to its subject: both or neither.
 *
 * An address that belongs to another subject refuses the sign-in as a name does. To let it in without the email header
 * would be less safe: the forge would make an account without an address under the name, for good, and route rules that
 * name the address would still take the user for its holder.
 *
 * @returns undefined when everything is this subject's own (now)
 * @throws store_unavailable
 */
export async function claimIdentity(
  bindings: Bindings,
  { identity, issuer, source }: Claimant,
  upstream: Pick<UpstreamConfig, 'preset' | 'identity_headers'>,
): Promise<BindingConflict | undefined> {
  const { subject, username, email, emailVerified } = identity;
  const common = { issuer, subject, source, grantedBy: 'sign_in' } as const;
  const name: WantedBinding = { ...common, kind: 'username', value: username, username: undefined };
  const claimed = await bindings.claim(name);
  if (claimed.outcome === 'conflict')
    return { code: 'username_conflict', wanted: name, holder: claimed.holder };

  if (email === undefined || !emailVerified || !bindsEmail(upstream)) return undefined;
  const address: WantedBinding = { ...common, kind: 'email', value: email, username };
  const addressed = await bindings.claim(address);
  if (addressed.outcome !== 'conflict') return undefined;
  // A sign-in that is refused leaves nothing behind.
  if (claimed.outcome === 'bound') await bindings.release('username', username);
  return { code: 'email_conflict', wanted: address, holder: addressed.holder };
}

/** Whether the operator has given this (reserved) name to exactly this subject. @throws store_unavailable */
export async function isGranted(
  bindings: Bindings,
  { identity, issuer }: Pick<Claimant, 'identity' | 'issuer'>,
): Promise<boolean> {
  const holder = await bindings.find('username', identity.username);
  return holder?.grantedBy === 'operator' && isSameSubject(holder, { issuer, subject: identity.subject });
}
