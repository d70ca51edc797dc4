import type { AssurancePolicy } from './types.ts';

/** Why no sign-in through an issuer can ever carry what a policy wants. */
export interface UnsupportedIssuer {
  readonly vendor: string;
  /** One sentence: what the vendor's tokens lack. */
  readonly reason: string;
  /** What to write instead. */
  readonly instead: string;
}

interface NonEmitter {
  readonly vendor: string;
  readonly hosts: RegExp;
  readonly reason?: string;
}

/** The domain itself and every host below it. */
const under = (...domains: readonly string[]): RegExp =>
  new RegExp(`(?:^|\\.)(?:${domains.map((domain) => domain.replaceAll('.', '\\.')).join('|')})$`);

const oauthOnly = 'it signs users in by OAuth 2.0 without an ID token that says how they authenticated';

/** Vendors whose ID tokens never carry `amr` or `acr`, by host (SPEC section 2). Self-hosted ones (Dex, GitLab) cannot be recognised. */
const nonEmitters: readonly NonEmitter[] = [
  { vendor: 'Apple', hosts: under('apple.com') },
  { vendor: 'GitHub', hosts: under('github.com', 'githubusercontent.com'), reason: oauthOnly },
  { vendor: 'GitLab.com', hosts: under('gitlab.com') },
  {
    vendor: 'Amazon Cognito',
    hosts: /(?:^cognito-idp\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?|\.amazoncognito\.com)$/,
  },
  { vendor: 'Facebook', hosts: under('facebook.com') },
  { vendor: 'Discord', hosts: under('discord.com', 'discordapp.com'), reason: oauthOnly },
  { vendor: 'Slack', hosts: under('slack.com') },
  { vendor: 'Spotify', hosts: under('spotify.com'), reason: oauthOnly },
  { vendor: 'Amazon', hosts: under('amazon.com') },
  { vendor: 'LinkedIn', hosts: under('linkedin.com') },
  { vendor: 'Yandex', hosts: /^(?:login|oauth|passport)\.yandex\.(?:ru|com)$/ },
  { vendor: 'VK', hosts: under('vk.com', 'vk.ru') },
  { vendor: 'NetID', hosts: under('netid.de') },
  { vendor: 'DingTalk', hosts: under('dingtalk.com') },
  { vendor: 'Patreon', hosts: under('patreon.com'), reason: oauthOnly },
];

const instead =
  'put an IdP that reports MFA in front of it (Keycloak, Entra, Okta, Authentik …), or set mfa.allow_unsupported_issuer: true, or choose another mfa.mode';

/** The host of an issuer, lower-case and without a trailing dot; undefined when it has none. */
export function hostOfIssuer(issuer: string): string | undefined {
  // Google has signed with the bare host as its issuer; both spellings are one vendor.
  const text = issuer.includes('://') ? issuer : `https://${issuer}`;
  return URL.canParse(text) ? new URL(text).hostname.toLowerCase().replace(/\.+$/, '') : undefined;
}

/** Whether the issuer is Google's. */
export function isGoogle(issuer: string): boolean {
  return hostOfIssuer(issuer) === 'accounts.google.com';
}

/** Whether the issuer is Entra's v2.0 endpoint, whose ID tokens carry neither `amr` nor `acr`, only `acrs`. */
export function isEntraV2(issuer: string): boolean {
  const host = hostOfIssuer(issuer);
  const microsoft =
    host !== undefined &&
    under('microsoftonline.com', 'microsoftonline.us', 'partner.microsoftonline.cn').test(host);
  return microsoft && /\/v2\.0\/?$/.test(issuer);
}

/**
 * Whether the vendor behind `issuer` is known never to emit what `policy` could accept; undefined when it may.
 *
 * Google counts only where nothing but amr counts and the request does not ask for it: since June 2026 verified apps can opt in
 * to `amr`, and then have to ask for it through `claims`.
 */
export function unsupportedIssuer(issuer: string, policy: AssurancePolicy): UnsupportedIssuer | undefined {
  const host = hostOfIssuer(issuer);
  if (host === undefined) return undefined;
  if (isGoogle(issuer)) {
    const acrSide = policy.aal2AcrValues.length > 0 || Object.keys(policy.aal2Claims).length > 0;
    const onlyAmr =
      policy.accept === 'amr' || policy.accept === 'both' || (policy.accept === 'any' && !acrSide);
    const asked = Object.hasOwn(policy.requestedClaims['id_token'] ?? {}, 'amr');
    if (!onlyAmr || asked) return undefined;
    return {
      vendor: 'Google',
      reason:
        'Google sends amr only to apps that opted in ("Authentication strength claims") and ask for it, and never sends acr',
      instead:
        'opt in at Google Auth Platform > Settings and write mfa.preset: google_mfa, which asks for amr and auth_time',
    };
  }
  const found = nonEmitters.find(({ hosts }) => hosts.test(host));
  if (found === undefined) return undefined;
  const reason = found.reason ?? 'its ID tokens carry neither amr nor acr, with MFA or without';
  return { vendor: found.vendor, reason: `${found.vendor} cannot show MFA: ${reason}`, instead };
}
