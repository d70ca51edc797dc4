import { plainRule } from './routes.ts';
import type { RouteRule } from './types.ts';

/** Rows of FORGE.md that nobody reaches from outside: name, path pattern. */
const denied: readonly (readonly [string, string])[] = [
  ['forge-internal', '/api/internal/**'],
  ['forge-metrics', '/metrics'],
  ['forge-install', '/install'],
  ['forge-sign-up', '/user/sign_up'],
  ['forge-forgot-password', '/user/forgot_password'],
  ['forge-recover-account', '/user/recover_account'],
  ['forge-two-factor', '/user/two_factor/**'],
  ['forge-webauthn', '/user/webauthn/**'],
  ['forge-oauth2', '/user/oauth2/**'],
  ['forge-openid', '/user/openid/**'],
  ['forge-link-account', '/user/link_account/**'],
  // Where the form of that page posts a local password to.
  ['forge-link-account-signin', '/user/link_account_signin'],
  ['forge-link-account-signup', '/user/link_account_signup'],
];

/** The forge's own ways of signing in, which would stand beside the one that is verified. */
const forgeRoutes: readonly RouteRule[] = [
  // A forge sends people to its login form by itself; those who land there are helped along instead of being told off.
  { ...plainRule('forge-login', '/user/login/**', 'deny'), signInInstead: true },
  ...denied.map(([name, path]) => plainRule(name, path, 'deny')),
];

/** The routes that `upstream.preset` brings, to be tried after the operator's own. */
export function presetRoutes(preset: string): readonly RouteRule[] {
  return preset === 'forgejo' || preset === 'gitea' ? forgeRoutes : [];
}
