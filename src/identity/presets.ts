import type { UpstreamConfig } from '../config/schema.ts';

/** A header, and the claim whose value it carries: `username` (or `user`), `email`, `name`, `groups`, `preferred_username`, or one of the ID token's. */
export interface HeaderRule {
  readonly header: string;
  readonly claim: string;
}

const forge: readonly HeaderRule[] = [
  { header: 'X-WEBAUTH-USER', claim: 'user' },
  { header: 'X-WEBAUTH-EMAIL', claim: 'email' },
  { header: 'X-WEBAUTH-FULLNAME', claim: 'name' },
];

const forwarded: readonly HeaderRule[] = [
  { header: 'X-Forwarded-User', claim: 'user' },
  { header: 'X-Forwarded-Email', claim: 'email' },
  { header: 'X-Forwarded-Groups', claim: 'groups' },
  { header: 'X-Forwarded-Preferred-Username', claim: 'preferred_username' },
];

/** The headers that each upstream preset sets, besides the assertion (SPEC section 7, table). */
export const headerPresets: Readonly<Record<UpstreamConfig['preset'], readonly HeaderRule[]>> = {
  forgejo: forge,
  gitea: forge,
  grafana: [
    { header: 'X-WEBAUTH-USER', claim: 'user' },
    { header: 'X-WEBAUTH-EMAIL', claim: 'email' },
    { header: 'X-WEBAUTH-NAME', claim: 'name' },
    { header: 'X-WEBAUTH-GROUPS', claim: 'groups' },
  ],
  oauth2_proxy: forwarded,
  generic: forwarded,
  authelia: [
    { header: 'Remote-User', claim: 'user' },
    { header: 'Remote-Email', claim: 'email' },
    { header: 'Remote-Name', claim: 'name' },
    { header: 'Remote-Groups', claim: 'groups' },
  ],
};

/** The header rules in force: the operator's list replaces the preset's whole. */
export function headerRules(
  upstream: Pick<UpstreamConfig, 'preset' | 'identity_headers'>,
): readonly HeaderRule[] {
  return upstream.identity_headers ?? headerPresets[upstream.preset];
}
