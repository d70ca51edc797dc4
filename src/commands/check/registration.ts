import type { Config } from '../../config/schema.ts';
import { routeRules } from '../../assembly/generation-builder.ts';
import { redirectUri } from '../../signin/flow.ts';

/** What has to be registered at each IdP. */
export interface Registration {
  readonly source: string;
  readonly redirect_uris: readonly string[];
  readonly post_logout_redirect_uris: readonly string[];
  /** One will do: the IdP itself calls it, and any replica does the work. */
  readonly backchannel_logout_uri: string;
  readonly frontchannel_logout_uri: string;
}

/** The URIs to register, of every source on every public origin. */
export function registrations(config: Config): readonly Registration[] {
  const { public_url: origins, path_prefix: prefix } = config.server;
  return config.sources.map(({ id }) => ({
    source: id,
    redirect_uris: origins.map((origin) => redirectUri(origin, prefix, id)),
    post_logout_redirect_uris: origins.map((origin) => `${origin}${prefix}/signed-out`),
    backchannel_logout_uri: `${origins[0] ?? ''}${prefix}/backchannel-logout/${id}`,
    frontchannel_logout_uri: `${origins[0] ?? ''}${prefix}/frontchannel-logout/${id}`,
  }));
}

/** One line of the expanded route table. */
export interface RouteLine {
  readonly name: string;
  readonly methods: string;
  readonly path: string;
  readonly access: string;
  readonly requirements: string;
}

/** Every rule in force, in the order in which they are tried; the last one always matches. */
export function routeTable(config: Config): readonly RouteLine[] {
  const lines = routeRules(config).map((rule): RouteLine => {
    const requirements = [
      rule.requireAal === undefined
        ? []
        : [rule.requireAal + (rule.acceptAttested ? ' (attested will do)' : '')],
      rule.maxAuthAgeSeconds === undefined ? [] : [`authenticated within ${rule.maxAuthAgeSeconds} s`],
      rule.sources === undefined ? [] : [`sources ${rule.sources.join(' ')}`],
      rule.groups === undefined ? [] : [`groups ${rule.groups.join(' ')}`],
      rule.emails === undefined ? [] : [`emails ${rule.emails.join(' ')}`],
      rule.credentialHeaders === undefined ? [] : [`or a header ${rule.credentialHeaders.join(' ')}`],
      rule.signInInstead ? ['a navigation goes to sign-in'] : [],
    ].flat();
    return {
      name: rule.name,
      methods: rule.methods?.join(' ') ?? '*',
      path: rule.path,
      access: rule.access,
      requirements: requirements.join(', '),
    };
  });
  return [...lines, { name: 'default', methods: '*', path: '/**', access: 'session', requirements: '' }];
}
