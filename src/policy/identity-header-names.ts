/*
 * Names of headers by which some upstream may be told who is asking. Whoever makes one of them arrive *is* that user, so
 * none is ever taken from a client, whichever preset is in force: an upstream may believe more families than the one it
 * was configured for (docs/adr/0005-header-trust.md).
 *
 * Not here, on purpose: `Authorization`, `Cookie`, `X-Auth-Token`, `X-Access-Token`, `X-User-Id`, `X-Gitea-OTP`: credentials
 * (or parts of them) that an upstream checks, and does not merely believe.
 */

/** Families, by prefix. */
const prefixes: readonly string[] = [
  'x-sallyport-', // ours: the assertion
  'x-webauth-', // Forgejo, Gitea, Grafana
  'remote-', // Authelia; and REMOTE_USER as CGI, WSGI and PHP frameworks know it
  'x-remote-', // Kubernetes' authenticating proxy, JupyterHub, many Java apps
  'x-auth-request-', // oauth2-proxy behind nginx
  'x-authentik-', // authentik's proxy outpost
  'x-vouch-', // Vouch Proxy
  'x-pomerium-', // Pomerium: claims and JWT assertion
  'x-authenticated-', // Kong, Tyk, Azure Application Gateway examples
  'x-consumer-', // Kong
  'x-credential-', // Kong
  'x-goog-authenticated-', // Google IAP
  'x-goog-iap-', // Google IAP
  'cf-access-', // Cloudflare Access
  'x-amzn-oidc-', // AWS load balancer
  'x-ms-client-principal', // Azure App Service ("Easy Auth"); also the bare name
  'x-ms-token-', // Azure App Service
  'oidc-', // mod_auth_openidc: OIDC_CLAIM_*, OIDC_access_token
  'tailscale-', // tailscale serve
  'teleport-', // Teleport application access
  'shib-', // Shibboleth with ShibUseHeaders
  'x-shib-',
  'sm-', // SiteMinder
  'iv-', // IBM WebSEAL / Verify Access
  'oam-', // Oracle Access Manager
  'ssl-client-', // client certificate as ingress-nginx, Apache and nginx examples pass it
  'x-ssl-',
  'x-client-cert',
  'client-cert', // RFC 9440: Client-Cert, Client-Cert-Chain
];

/** Names without a family. */
const names: ReadonlySet<string> = new Set([
  'x-sallyport',
  'x-auth-user', // Keycloak Gatekeeper, Caddy and Traefik examples
  'x-auth-username',
  'x-auth-name',
  'x-auth-email',
  'x-auth-subject',
  'x-auth-groups',
  'x-auth-roles',
  'x-auth-userid',
  'x-user', // Ory Oathkeeper's default, and countless home-made apps
  'x-username',
  'x-user-name',
  'x-user-email',
  'x-user-groups',
  'x-user-roles',
  'x-email',
  'x-groups',
  'x-roles',
  'x-userinfo', // Kong's and APISIX' OpenID plugins
  'x-id-token',
  'x-proxy-user', // Sonatype Nexus, JetBrains
  'x-proxy-remote-user',
  'x-trusted-user',
  'x-arr-clientcert', // Azure App Service
  'x-client-dn',
  'x-client-verify',
  'cas-user', // mod_auth_cas
  'auth-user', // PHP_AUTH_USER look-alikes
  'x-oidc-sub',
]);

/** The transport half of `X-Forwarded-*`: the proxy strips these as well, as forwarding headers, and sets its own. */
const forwardedTransport: ReadonlySet<string> = new Set([
  'for',
  'proto',
  'protocol',
  'host',
  'port',
  'server',
  'by',
  'prefix',
  'path',
  'uri',
  'method',
  'scheme',
  'ssl',
  'url',
]);

const forwarded = 'x-forwarded-';

/**
 * Whether a header by this name could tell an upstream who is asking: X-Sallyport-*, every preset's family, and the
 * other common ones. Every `X-Forwarded-*` that is not about transport counts (User, Email, Groups, Preferred-Username,
 * Access-Token, Client-Cert and what is invented next).
 *
 * @param normalizedName as {@link normalizeHeaderName} makes it
 */
export function isIdentityHeader(normalizedName: string): boolean {
  if (names.has(normalizedName)) return true;
  if (normalizedName.startsWith(forwarded))
    return !forwardedTransport.has(normalizedName.slice(forwarded.length));
  for (const prefix of prefixes) if (normalizedName.startsWith(prefix)) return true;
  return false;
}

const unusual = /[^a-z0-9-]/g;

/**
 * The name under which header names are compared: lower case, and everything that is no letter, digit or hyphen as a hyphen.
 * Go, WSGI and PHP read `X_WEBAUTH_USER` as `X-WEBAUTH-USER`; lighttpd and PHP's CGI fold `.` and other token characters
 * the same way. For comparing only: what is forwarded keeps its spelling.
 */
export function normalizeHeaderName(raw: string): string {
  return raw.toLowerCase().replace(unusual, '-');
}
