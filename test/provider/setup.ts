import { configSchema } from '../../src/config/schema.ts';
import type { ConfigInput, SourceConfig } from '../../src/config/schema.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import type { Meter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createProvider } from '../../src/provider/oidc-provider.ts';
import type { ProviderDeps } from '../../src/provider/oidc-provider.ts';
import type { AuthorizationRequest, CodeExchange, Provider } from '../../src/provider/types.ts';
import { UserAgent } from '../support/user-agent.ts';

export const redirectUri = 'http://127.0.0.1:9/_sallyport/callback/test';
export const clientSecret = 'a-secret-with:colon&more-than-32-characters';

/** The client as the OP knows it. */
export const opClient = {
  client_id: 'sallyport',
  client_secret: clientSecret,
  redirect_uris: [redirectUri],
  post_logout_redirect_uris: ['http://127.0.0.1:9/_sallyport/signed-out'],
};

type SourceInput = ConfigInput['sources'][number];

/** A source's configuration with every default filled in. */
export function sourceFor(issuer: string, more: Partial<SourceInput> = {}): SourceConfig {
  const config = configSchema.parse({
    server: { public_url: 'http://127.0.0.1:9' },
    upstream: { url: 'http://127.0.0.1:8' },
    session: { secrets: ['s'.repeat(32)] },
    sources: [{ id: 'test', issuer, client_id: 'sallyport', client_secret: clientSecret, ...more }],
  });
  return config.sources[0]!;
}

export interface ProviderRig {
  readonly provider: Provider;
  readonly warnings: { readonly message: string; readonly fields: Readonly<Record<string, unknown>> }[];
  /** `endpoint result`, in order. */
  readonly idpRequests: string[];
}

/** A provider against the real world but for what `deps` replaces; closed with the test. */
export function rig(
  t: { teardown: (close: () => unknown) => unknown },
  source: SourceConfig,
  deps: Partial<ProviderDeps> = {},
): ProviderRig {
  const warnings: ProviderRig['warnings'] = [];
  const idpRequests: string[] = [];
  const meter: Meter = {
    ...silentMeter,
    idpRequest: (_source, endpoint, result) => idpRequests.push(`${endpoint} ${result}`),
  };
  const provider = createProvider(
    source,
    { acrValues: [], requestedClaims: {} },
    {
      clock: systemClock,
      randomness: systemRandomness,
      meter,
      logWarning: (message, fields) => warnings.push({ message, fields }),
      ...deps,
    },
  );
  t.teardown(() => provider.close());
  return { provider, warnings, idpRequests };
}

export const codeVerifier = 'verifier-'.repeat(8);

/** The plainest authorization request. */
export function authorizationRequest(more: Partial<AuthorizationRequest> = {}): AuthorizationRequest {
  return {
    redirectUri,
    state: 'state-1',
    nonce: 'nonce-1',
    codeVerifier,
    acrValues: [],
    requestedClaims: {},
    maxAgeSeconds: undefined,
    prompt: undefined,
    loginHint: undefined,
    ...more,
  };
}

/** Sends a fresh browser to the IdP and returns the callback's URL. */
export async function visit(provider: Provider, more: Partial<AuthorizationRequest> = {}): Promise<URL> {
  const start = await provider.authorizationUrl(authorizationRequest(more));
  const { last } = await new UserAgent().follow(start.href, { until: (url) => url.startsWith(redirectUri) });
  if (last.location?.startsWith(redirectUri) !== true)
    throw new Error(`no callback: ${last.status} ${last.body}`);
  return new URL(last.location);
}

/** The exchange that belongs to {@link authorizationRequest}. */
export function exchangeOf(callbackUrl: URL, more: Partial<CodeExchange> = {}): CodeExchange {
  return { callbackUrl, redirectUri, state: 'state-1', nonce: 'nonce-1', codeVerifier, ...more };
}

/** The whole way: to the IdP and back. */
export async function signIn(provider: Provider): ReturnType<Provider['exchange']> {
  return provider.exchange(exchangeOf(await visit(provider)));
}

/** `code detail` of the fault that `work` throws. */
export async function faultOf(work: Promise<unknown> | (() => Promise<unknown>)): Promise<string> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (error instanceof SallyportError) return `${error.code} ${error.detail ?? '-'}`;
    throw error;
  }
  return 'no fault';
}

/** Waits until `condition` holds; fails after 10 s. */
export async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error('waited for 10 s in vain');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
