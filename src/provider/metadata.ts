import type { ServerMetadata } from 'openid-client';
import { asymmetricAlgorithms } from '../kernel/signature-algorithms.ts';
import { idpUnavailable } from './idp-fault.ts';
import { isLoopbackHost } from './loopback.ts';

/** What a source's policy will ask for, as far as discovery can tell whether the IdP has heard of it. */
export interface PolicyNeeds {
  readonly acrValues: readonly string[];
  readonly requestedClaims: Readonly<Record<string, unknown>>;
}

const requiredUrls = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const;
const optionalUrls = [
  'pushed_authorization_request_endpoint',
  'userinfo_endpoint',
  'end_session_endpoint',
] as const;
const lists = [
  'response_types_supported',
  'id_token_signing_alg_values_supported',
  'token_endpoint_auth_methods_supported',
  'code_challenge_methods_supported',
  'acr_values_supported',
] as const;

/**
 * Whether a discovery document is this issuer's and can be worked with.
 * @throws idp_unavailable: `issuer_mismatch`, `insecure_url`, `metadata_unusable`
 * @see OpenID Connect Discovery 1.0 section 4.3
 */
export function checkMetadata(metadata: ServerMetadata, issuer: string): void {
  // Character by character: a slash more is another issuer, and the ID token's `iss` will be compared like this too.
  if (metadata.issuer !== issuer) {
    throw idpUnavailable(
      'issuer_mismatch',
      `discovery names the issuer ${JSON.stringify(metadata.issuer).slice(0, 200)}`,
    );
  }
  for (const name of requiredUrls) checkEndpoint(name, metadata[name], issuer);
  for (const name of optionalUrls)
    if (metadata[name] !== undefined) checkEndpoint(name, metadata[name], issuer);
  for (const name of lists) {
    const value: unknown = metadata[name];
    if (value !== undefined && !(Array.isArray(value) && value.every((one) => typeof one === 'string'))) {
      throw idpUnavailable('metadata_unusable', `discovery: ${name} is no list of strings`);
    }
  }
  if (metadata.response_types_supported?.includes('code') === false) {
    throw idpUnavailable('metadata_unusable', 'discovery: response_types_supported lacks "code"');
  }
}

function checkEndpoint(name: string, value: unknown, issuer: string): void {
  if (typeof value !== 'string' || !URL.canParse(value)) {
    throw idpUnavailable('metadata_unusable', `discovery: ${name} is missing or no URL`);
  }
  const url = new URL(value);
  const plain = url.protocol === 'http:' && isLoopbackHost(url.hostname) && issuer.startsWith('http:');
  if (url.protocol !== 'https:' && !plain)
    throw idpUnavailable('insecure_url', `discovery: ${name} is not https`);
}

/**
 * The algorithms an ID token of this source may be signed with: the pinned one, else the asymmetric ones of discovery
 * (RS256 where it lists none: OpenID Connect Discovery 1.0 section 3). Never `none`, never HS*, advertised or not.
 */
export function allowedAlgs(metadata: ServerMetadata, pinned: string | undefined): readonly string[] {
  const listed =
    pinned === undefined ? (metadata.id_token_signing_alg_values_supported ?? ['RS256']) : [pinned];
  return listed.filter((alg) => asymmetricAlgorithms.includes(alg));
}

/** What in the metadata speaks against this source's settings, in plain words for the log; empty: nothing. */
export function doubtsAbout(
  metadata: ServerMetadata,
  needs: PolicyNeeds,
  settings: { readonly pinnedAlg: string | undefined; readonly par: 'auto' | 'always' | 'never' },
): readonly string[] {
  const doubts: string[] = [];
  const { acr_values_supported: acrs, id_token_signing_alg_values_supported: algs } = metadata;
  const unknown = acrs === undefined ? [] : needs.acrValues.filter((value) => !acrs.includes(value));
  if (unknown.length > 0) doubts.push(`acr_values_supported lacks ${unknown.join(' ')}`);
  if (Object.keys(needs.requestedClaims).length > 0 && metadata.claims_parameter_supported === false) {
    doubts.push('the IdP does not support the claims parameter');
  }
  if (metadata.code_challenge_methods_supported?.includes('S256') === false)
    doubts.push('the IdP does not list PKCE S256');
  if (allowedAlgs(metadata, settings.pinnedAlg).length === 0)
    doubts.push('no asymmetric ID token signature algorithm');
  if (settings.pinnedAlg !== undefined && algs?.includes(settings.pinnedAlg) === false) {
    doubts.push(`the IdP does not list ${settings.pinnedAlg} for ID tokens`);
  }
  if (settings.par === 'never' && metadata.require_pushed_authorization_requests === true) {
    doubts.push('the IdP requires pushed authorization requests, and they are set to never');
  }
  if (settings.par === 'always' && metadata.pushed_authorization_request_endpoint === undefined) {
    doubts.push('pushed authorization requests are set to always, and the IdP has no endpoint for them');
  }
  return doubts;
}
