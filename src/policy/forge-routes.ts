import { plainRule } from './routes.ts';
import type { RouteRule } from './types.ts';

/*
 * What `preset: forgejo` and `preset: gitea` mean (docs/adr/0009-the-forge.md). First match wins, so the order is: what nobody reaches;
 * sign-out; where power lies, before anything that lets a token in; tools; machines; assets. Everything else asks for a session.
 *
 * Case counts. Both forges route with chi, which compares fixed parts exactly (gitea routers/init.go, routers/web/web.go; chi tree.go), so
 * that `/API/v1` is nothing but a user "API" there, a reserved name. Only owners and repositories are looked up with folded case
 * (models/user/user.go LowerName, models/repo/repo.go), and those are `*` here. `*` takes a name with and without `.git`.
 */

type Row = readonly [name: string, path: string];

/** Rows that nobody reaches from outside: the forge's own ways of signing in, beside the one that is verified, and its inside. */
const denied: readonly Row[] = [
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

/** Where lasting keys are made and power lies: an account taken over for a moment must not be kept for good. No token opens these. */
const power: readonly Row[] = [
  ['forge-user-applications', '/user/settings/applications/**'],
  ['forge-user-keys', '/user/settings/keys/**'],
  ['forge-user-security', '/user/settings/security/**'],
  ['forge-user-account', '/user/settings/account/**'],
  ['forge-user-hooks', '/user/settings/hooks/**'],
  ['forge-user-actions', '/user/settings/actions/**'],
  ['forge-repo-keys', '/*/*/settings/keys/**'],
  ['forge-repo-hooks', '/*/*/settings/hooks/**'],
  ['forge-repo-actions', '/*/*/settings/actions/**'],
  ['forge-org-settings', '/org/*/settings/**'],
  ['forge-oauth-authorize', '/login/oauth/authorize'],
  ['forge-oauth-grant', '/login/oauth/grant'],
  ['forge-admin-old', '/admin/**'],
  ['forge-admin', '/-/admin/**'],
  ['forge-api-tokens', '/api/v1/users/*/tokens/**'],
  ['forge-api-admin', '/api/v1/admin/**'],
];

/** Where the API makes lasting keys: tokens have scopes for it, a session is asked for as much as on the pages that do the same. */
const keysByApi: readonly Row[] = [
  ['forge-api-user-keys', '/api/v1/user/keys/**'],
  ['forge-api-user-gpg-keys', '/api/v1/user/gpg_keys/**'],
  ['forge-api-user-applications', '/api/v1/user/applications/**'],
  ['forge-api-user-hooks', '/api/v1/user/hooks/**'],
  ['forge-api-user-actions', '/api/v1/user/actions/**'],
  ['forge-api-org-hooks', '/api/v1/orgs/*/hooks/**'],
  ['forge-api-org-actions', '/api/v1/orgs/*/actions/**'],
  ['forge-api-repo-keys', '/api/v1/repos/*/*/keys/**'],
  ['forge-api-repo-hooks', '/api/v1/repos/*/*/hooks/**'],
  ['forge-api-repo-actions', '/api/v1/repos/*/*/actions/**'],
];

/** Registration tokens of runners: some versions of the forges hand them out on GET (Forgejo's api.go), so reading counts here too. */
const runnersByApi: readonly Row[] = [
  ['forge-api-user-runners', '/api/v1/user/actions/runners/**'],
  ['forge-api-org-runners', '/api/v1/orgs/*/actions/runners/**'],
  ['forge-api-repo-runners', '/api/v1/repos/*/*/actions/runners/**'],
];

/** Git over HTTP, LFS, the API, and what tools download. */
const tools: readonly Row[] = [
  ['forge-git-refs', '/*/*/info/refs'],
  ['forge-git-upload-pack', '/*/*/git-upload-pack'],
  ['forge-git-receive-pack', '/*/*/git-receive-pack'],
  ['forge-git-upload-archive', '/*/*/git-upload-archive'],
  ['forge-git-head', '/*/*/HEAD'],
  ['forge-git-objects', '/*/*/objects/**'],
  ['forge-lfs', '/*/*/info/lfs/**'],
  ['forge-api', '/api/v1/**'],
  ['forge-api-forgejo', '/api/forgejo/**'],
  ['forge-registry', '/v2/**'],
  ['forge-archive', '/*/*/archive/**'],
  ['forge-raw', '/*/*/raw/**'],
  ['forge-media', '/*/*/media/**'],
  ['forge-release-files', '/*/*/releases/download/**'],
];

/** Machines that bring an authentication of their own, which only the forge can check. */
const machines: readonly Row[] = [
  ['forge-actions', '/api/actions/**'],
  ['forge-actions-pipeline', '/api/actions_pipeline/**'],
  ['forge-actions-artifacts', '/twirp/**'],
  ['forge-oauth-token', '/login/oauth/access_token'],
  ['forge-oauth-keys', '/login/oauth/keys'],
  ['forge-oauth-introspect', '/login/oauth/introspect'],
  ['forge-oauth-userinfo', '/login/oauth/userinfo'],
  ['forge-oauth-discovery', '/.well-known/openid-configuration'],
];

/** What shows nothing of anybody. */
const open: readonly Row[] = [
  ['forge-assets', '/assets/**'],
  ['forge-robots', '/robots.txt'],
  ['forge-favicon', '/favicon.ico'],
  ['forge-manifest', '/manifest.json'],
];

const strong = { requireAal: 'aal2', maxAuthAgeSeconds: 3_600 } as const;
const changing = ['POST', 'PUT', 'PATCH', 'DELETE'] as const;

const forgeRoutes: readonly RouteRule[] = [
  // A forge sends people to its login form by itself; those who land there are helped along instead of being told off.
  { ...plainRule('forge-login', '/user/login/**', 'deny'), signInInstead: true },
  ...denied.map(([name, path]) => plainRule(name, path, 'deny')),
  { ...plainRule('forge-logout', '/user/logout', 'session'), endsSession: true },
  ...power.map(([name, path]) => ({ ...plainRule(name, path, 'session'), ...strong })),
  ...runnersByApi.map(([name, path]) => ({ ...plainRule(name, path, 'credentials'), ...strong })),
  ...keysByApi.map(([name, path]) => ({
    ...plainRule(name, path, 'credentials'),
    ...strong,
    methods: changing,
  })),
  ...machines.map(([name, path]) => plainRule(name, path, 'upstream')),
  // NuGet's own header, read there and nowhere else (gitea routers/api/packages/nuget/auth.go): a token, or nothing.
  {
    ...plainRule('forge-packages', '/api/packages/**', 'credentials'),
    credentialHeaders: ['x-nuget-apikey'],
  },
  ...open.map(([name, path]) => plainRule(name, path, 'public')),
  plainRule('forge-avatars', '/avatars/**', 'session'),
  plainRule('forge-repo-avatars', '/repo-avatars/**', 'session'),
  ...tools.map(([name, path]) => plainRule(name, path, 'credentials')),
];

/** The routes that `upstream.preset` brings, to be tried after the operator's own. */
export function presetRoutes(preset: string): readonly RouteRule[] {
  return isForge(preset) ? forgeRoutes : [];
}

/**
 * The forges' session and remember-me cookies, by their default names: today's and former ones (gitea and forgejo
 * modules/setting/session.go COOKIE_NAME, security.go COOKIE_REMEMBER_NAME; `gitea_awesome`, the user name beside the remember-me cookie, in older ones).
 */
const forgeCookies: readonly string[] = [
  'i_like_gitea',
  'i_like_forgejo',
  'gitea_incredible',
  'forgejo_incredible',
  'gitea_awesome',
];

/** Names of the cookies that stand for a user at the upstream, and are tied to the session that made them. */
export function boundCookieNames(upstream: {
  readonly preset: string;
  readonly bound_cookies?: readonly string[] | undefined;
}): readonly string[] {
  return upstream.bound_cookies ?? (isForge(upstream.preset) ? forgeCookies : []);
}

function isForge(preset: string): boolean {
  return preset === 'forgejo' || preset === 'gitea';
}
