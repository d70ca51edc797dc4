import type { ServerMetadata } from 'openid-client';
import type { SourceConfig } from '../config/schema.ts';
import { SallyportError } from '../kernel/error.ts';
import { silentMeter } from '../kernel/meter.ts';
import { readClientCredential } from './client-authentication.ts';
import { probeClient, type ClientProbe } from './client-credentials.ts';
import { createIdpClient } from './idp-client.ts';
import { createIdpFetch, type IdpFetchLimits } from './idp-fetch.ts';
import { allowedAlgs, doubtsAbout, type PolicyNeeds } from './metadata.ts';

/** The discovery document of an IdP. @see OpenID Connect Discovery 1.0 section 3 */
export type { ServerMetadata } from 'openid-client';

/** What an IdP says of itself and of our client, tried for real (for `sallyport check`). */
export type Inspection =
  | {
      readonly reached: true;
      readonly metadata: ServerMetadata;
      /** Against the source's settings, in plain words. */
      readonly doubts: readonly string[];
      /** Number of public keys for the algorithms that we accept, or why there are none. */
      readonly keys:
        { readonly count: number; readonly algs: readonly string[] } | { readonly failure: string };
      readonly client: ClientProbe;
    }
  | { readonly reached: false; readonly detail: string; readonly message: string };

/**
 * Tries discovery, keys and client credentials of one source.
 * @param redirectUri one that is registered at the IdP
 * @throws config_invalid when a credential or CA file can't be used
 */
export async function inspectProvider(
  source: SourceConfig,
  needs: PolicyNeeds,
  redirectUri: string,
  limits?: IdpFetchLimits,
): Promise<Inspection> {
  const idpFetch = createIdpFetch(source, silentMeter, limits);
  const client = createIdpClient(source, readClientCredential(source), idpFetch);
  const settings = {
    pinnedAlg: source.id_token_signed_response_alg,
    par: source.pushed_authorization_requests,
  };
  try {
    const metadata = await client.discover();
    return {
      reached: true,
      metadata,
      doubts: doubtsAbout(metadata, needs, settings),
      keys: await countKeys(() => client.fetchJwks(metadata), allowedAlgs(metadata, settings.pinnedAlg)),
      client: await probeClient(client, metadata, redirectUri),
    };
  } catch (error) {
    if (!(error instanceof SallyportError) || error.code === 'config_invalid') throw error;
    return { reached: false, detail: error.detail ?? error.code, message: error.message };
  } finally {
    await idpFetch.close();
  }
}

async function countKeys(
  fetchJwks: () => Promise<unknown>,
  algs: readonly string[],
): Promise<{ count: number; algs: readonly string[] } | { failure: string }> {
  try {
    const document = await fetchJwks();
    const keys =
      typeof document === 'object' && document !== null && 'keys' in document ? document.keys : undefined;
    if (!Array.isArray(keys)) return { failure: 'the JWKS holds no list of keys' };
    const usable = (keys as readonly unknown[]).filter((key) => isPublicSignatureKey(key));
    return usable.length > 0
      ? { count: usable.length, algs }
      : { failure: 'the JWKS holds no public signature key' };
  } catch (error) {
    if (error instanceof SallyportError) return { failure: error.message };
    throw error;
  }
}

function isPublicSignatureKey(key: unknown): boolean {
  if (typeof key !== 'object' || key === null) return false;
  const { kty, use } = key as { kty?: unknown; use?: unknown };
  return (kty === 'RSA' || kty === 'EC' || kty === 'OKP') && use !== 'enc';
}
