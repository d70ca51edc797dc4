import type { AssuranceReason } from './types.ts';
import { vendorHints } from './vendor-hints.ts';

/** Refusals of a sign-in or of the gate that are not verdicts of `decide` (SPEC section 3 and 5). */
export type RefusalReason =
  | 'aal2_required'
  | 'attested_not_accepted'
  | 'email_domain_not_allowed'
  | 'email_unverified'
  | 'group_not_allowed'
  | 'groups_unavailable'
  | 'username_invalid'
  | 'username_reserved'
  | 'username_conflict'
  | 'email_conflict'
  | 'state_invalid'
  | 'token_invalid'
  | 'idp_unavailable';

/** Every reason code: stable, shown to users, logged, counted. */
export type ReasonCode = AssuranceReason | RefusalReason;

interface Reason {
  /** One sentence for the user. */
  readonly user: string;
  /** For the operator, whatever the vendor. */
  readonly operator: string;
}

const exactly = 'Values are compared exactly: case, spaces and slashes count.';
const clocks = 'Compare the clocks of this machine and of the IdP.';

/** Both texts of every reason code. */
const reasons: Readonly<Record<ReasonCode, Reason>> = {
  amr_malformed: {
    user: 'Your sign-in service described how you signed in, in a form that cannot be read.',
    operator:
      'amr has to be an array of strings, or one string; anything else is no evidence. Look for a mapper or script that writes it.',
  },
  acr_malformed: {
    user: 'Your sign-in service described how you signed in, in a form that cannot be read.',
    operator: 'acr has to be a string. Look for a mapper or script that writes it.',
  },
  claim_malformed: {
    user: 'Your sign-in service described how you signed in, in a form that cannot be read.',
    operator: 'A claim named in aal2_claims has to be a string, or an array of strings.',
  },
  mfa_claims_absent: {
    user: 'Your sign-in service did not say whether you used a second factor.',
    operator:
      'The ID token has none of the claims that this policy looks at. Check that the IdP emits them for this client, and ask for them by acr_values or requested_claims where it only answers when asked. Only the ID token counts: what userinfo says is not evidence, whatever claims_source is.',
  },
  evidence_not_in_required_claim: {
    user: 'Your sign-in service confirmed a second factor, but not in the place where this service has to find it.',
    operator:
      'The token carries evidence in a claim that accept does not look at, or in only one of the two that accept: both needs. Change accept, or have the IdP send the other claim.',
  },
  amr_not_mfa: {
    user: 'Your sign-in service says that you signed in without a second factor.',
    operator: `Nothing in amr is accepted by aal2_amr_values. Check that the user has a second factor and that the IdP demands it for this client. ${exactly}`,
  },
  acr_mismatch: {
    user: 'Your sign-in service did not confirm the level of authentication that this service requires.',
    operator: `acr is none of aal2_acr_values. Values have no order: a "higher" one does not count unless it is listed. ${exactly}`,
  },
  claim_mismatch: {
    user: 'Your sign-in service did not confirm the level of authentication that this service requires.',
    operator: `A claim of aal2_claims is there, but with none of the values listed. ${exactly}`,
  },
  auth_time_missing: {
    user: 'Your sign-in service did not say when you last authenticated.',
    operator:
      'With max_auth_age the ID token needs auth_time, as an integer. An IdP has to send it when max_age is asked for; some need it switched on.',
  },
  auth_too_old: {
    user: 'You authenticated too long ago for this; a fresh sign-in is needed.',
    operator:
      'auth_time is older than max_auth_age. If a fresh sign-in does not change it, the IdP ignores max_age and prompt=login, or takes its own session for a sign-in.',
  },
  auth_time_in_future: {
    user: 'Your sign-in service reported a time that lies in the future.',
    operator: `auth_time is more than 60 s ahead. ${clocks}`,
  },
  idp_refused: {
    user: 'Your sign-in service did not complete the sign-in.',
    operator:
      'The IdP answered with an error instead of a token. unmet_authentication_requirements: the user could not give the assurance that was asked for.',
  },
  aal2_required: {
    user: 'This page needs a sign-in with a second factor.',
    operator: 'The route has require_aal: aal2, and even a fresh sign-in brought no evidence of MFA.',
  },
  attested_not_accepted: {
    user: 'This page needs a second factor that your sign-in service confirms itself.',
    operator:
      'The source runs in mode trust_idp, so nothing was verified. Change its mode, or let the route say accept_attested: true.',
  },
  email_domain_not_allowed: {
    user: 'Your email address belongs to a domain that may not sign in here.',
    operator: "The verified email's domain is none of the source's email_domains.",
  },
  email_unverified: {
    user: 'Your email address has not been verified by your sign-in service.',
    operator:
      'email_verified is not true, or the address is not ASCII. Where the IdP never sends email_verified and addresses are under your control (single-tenant Entra), set email_trusted: true.',
  },
  group_not_allowed: {
    user: 'Your account is in none of the groups that may come in here.',
    operator:
      'The groups of the user and those allowed have nothing in common. Names are compared exactly; Entra sends object ids.',
  },
  groups_unavailable: {
    user: 'Your sign-in service did not send your groups, so access cannot be decided.',
    operator:
      'The groups claim is absent or replaced by a pointer (Entra does so for users with many groups): assign groups to the application and send only those, or send app roles.',
  },
  username_invalid: {
    user: 'Your account has no name that can be used here.',
    operator: 'upstream.username gives no name that its pattern accepts: check claim, format and pattern.',
  },
  username_reserved: {
    user: 'The name of your account is reserved here.',
    operator: 'The user name is one of upstream.username.reserved; such names are given by import only.',
  },
  username_conflict: {
    user: 'The name of your account already belongs to someone else here.',
    operator:
      'Another subject is bound to this user name. If it is the same person at a new IdP, rebind the name.',
  },
  email_conflict: {
    user: 'The email address of your account already belongs to someone else here.',
    operator:
      'Another subject is bound to this email address, by which the forge would find its account. If it is the same person at a new IdP, rebind their user name; if the address has passed on to someone else, release it.',
  },
  state_invalid: {
    user: 'This sign-in was not started in this browser, has expired, or was used already.',
    operator:
      'The callback does not belong to a running attempt: blocked cookies, a bookmarked callback, or more than ten minutes at the IdP.',
  },
  token_invalid: {
    user: "Your sign-in service's answer could not be verified.",
    operator: `A check of the ID token failed; the log names it. Compare issuer, client_id and keys with the IdP. ${clocks}`,
  },
  idp_unavailable: {
    user: 'Your sign-in service cannot be reached right now.',
    operator:
      'Discovery, keys or the token endpoint did not answer. Check DNS, network, proxy and sources.tls.ca_file.',
  },
};

/** Every reason code there is. */
export const reasonCodes: readonly ReasonCode[] = Object.keys(reasons) as ReasonCode[];

/** One sentence for the person in front of the screen. A code that is not known gets a sentence that says nothing false. */
export function describeReason(code: string): string {
  return isReason(code) ? reasons[code].user : 'The sign-in could not be completed.';
}

/**
 * What the operator should look at: what the reason means, what is known of the vendor, what the values seen suggest.
 *
 * @param preset the source's preset; an unknown one adds nothing.
 * @param observed the claims on which the decision rests, as received.
 */
export function hintFor(
  code: string,
  preset: string,
  observed: Readonly<Record<string, unknown>> = {},
): string {
  if (!isReason(code)) return '';
  const parts = [reasons[code].operator];
  if (isAssuranceReason(code)) {
    const vendor = vendorHints.get(preset);
    parts.push(vendor?.byReason?.[code] ?? '', vendor?.always ?? '', ...readSigns(observed, preset));
  }
  return parts.filter((part) => part !== '').join(' ');
}

/** What to tell an operator whose users reach AAL2 by evidence that `strict` would not have accepted. */
export const weakHint =
  'AAL2 rests on a single value that is not by itself two factors: audit the lists in aal2_amr_values, and write strict where the IdP sends mfa or both factors.';

const isReason = (code: string): code is ReasonCode => Object.hasOwn(reasons, code);

const otherReasons: ReadonlySet<string> = new Set<RefusalReason>([
  'email_domain_not_allowed',
  'email_unverified',
  'group_not_allowed',
  'groups_unavailable',
  'username_invalid',
  'username_reserved',
  'username_conflict',
  'email_conflict',
  'state_invalid',
  'token_invalid',
  'idp_unavailable',
  'attested_not_accepted',
]);
const isAssuranceReason = (code: ReasonCode): code is AssuranceReason => !otherReasons.has(code);

/** Values that tell something by themselves, whichever vendor was configured. */
function readSigns(observed: Readonly<Record<string, unknown>>, preset: string): readonly string[] {
  const { amr, acr } = observed;
  const methods = (Array.isArray(amr) ? (amr as readonly unknown[]) : [amr]).filter(
    (value) => typeof value === 'string',
  );
  const signs: string[] = [];
  if (methods.includes('fed'))
    signs.push('fed in amr: a federated IdP did the sign-in, and its factors are not passed on.');
  if (methods.includes('kba') && preset !== 'authelia') {
    signs.push('kba in amr: Authelia sends it for a password alone; its preset is authelia.');
  }
  if (methods.some((value) => value !== 'mfa' && /^\s*mfa\s*$/i.test(value))) {
    signs.push('amr has mfa in another spelling; only "mfa", in lower case and without spaces, counts.');
  }
  if (acr === '0' || acr === '1') {
    signs.push(
      `acr ${JSON.stringify(acr)} never says MFA: 0 is below the lowest level, 1 an ordinary sign-in.`,
    );
  }
  if (typeof acr === 'string' && acr.startsWith('goauthentik.io/')) {
    signs.push('This acr is the constant of Authentik; its preset is authentik.');
  }
  if (Object.hasOwn(observed, 'acrs') && !preset.startsWith('entra_'))
    signs.push('acrs is the claim of Entra; see preset entra_c2.');
  return signs;
}
