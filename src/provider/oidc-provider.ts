import { calculatePKCECodeChallenge } from 'openid-client';
import type { ServerMetadata } from 'openid-client';
import type { SourceConfig } from '../config/schema.ts';
import { nowSeconds } from '../kernel/clock.ts';
import type { Clock } from '../kernel/clock.ts';
import { isFault, SallyportError } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import type { Randomness } from '../kernel/randomness.ts';
import { readAuthorizationResponse } from './authorization-response.ts';
import { readClientCredential } from './client-authentication.ts';
import { createDiscovery } from './discovery.ts';
import type { DiscoveryPace } from './discovery.ts';
import { createIdpClient } from './idp-client.ts';
import type { IdpClient, RedeemedTokens } from './idp-client.ts';
import { tokenInvalid } from './idp-fault.ts';
import { createIdpFetch } from './idp-fetch.ts';
import type { IdpFetchLimits } from './idp-fetch.ts';
import { createJwksCache } from './jwks.ts';
import type { JwksLimits } from './jwks.ts';
import { isLoopbackHost } from './loopback.ts';
import { allowedAlgs, doubtsAbout } from './metadata.ts';
import type { PolicyNeeds } from './metadata.ts';
import type {
  AuthorizationRequest,
  CodeExchange,
  IdpRefusal,
  Provider,
  RefreshRequest,
  VerifiedRefresh,
  VerifiedSignIn,
} from './types.ts';
import { verifyIdToken, verifyRefreshedIdToken } from './verify-id-token.ts';
import { verifyAccessToken } from './verify-access-token.ts';
import { verifyLogoutToken } from './verify-logout-token.ts';

/** What a provider needs of the world. */
export interface ProviderDeps {
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly meter: Meter;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Other bounds than SPEC section 12's, for tests. */
  readonly limits?: IdpFetchLimits & JwksLimits & DiscoveryPace;
}

/**
 * One source's identity provider. Nothing is asked of it before `start()`; it never stops another source.
 * @throws config_invalid when a credential or CA file can't be used, or the issuer is plain http off this machine
 */
export function createProvider(source: SourceConfig, needs: PolicyNeeds, deps: ProviderDeps): Provider {
  checkIssuer(source);
  const { clock, meter, limits } = deps;
  const credential = readClientCredential(source);
  const idpFetch = createIdpFetch(source, meter, limits);
  const client = createIdpClient(source, credential, idpFetch);
  const par = source.pushed_authorization_requests;
  let currentNeeds = needs;
  const tellDoubts = (metadata: ServerMetadata): void => {
    const settings = { pinnedAlg: source.id_token_signed_response_alg, par };
    for (const doubt of doubtsAbout(metadata, currentNeeds, settings)) {
      deps.logWarning('the identity provider may not do what the source asks for', {
        auth_source: source.id,
        doubt,
      });
    }
  };
  const discovery = createDiscovery(source.id, () => client.discover(), { ...deps, onChange: tellDoubts });
  const keys = createJwksCache(async () => client.fetchJwks(await discovery.metadata()), clock, limits);
  // Anybody can send a bearer token, and make up its `kid`: what that may cost is counted apart, so that sign-ins keep their own share.
  const bearerKeys = createJwksCache(async () => client.fetchJwks(await discovery.metadata()), clock, {
    burst: 2,
    refillMs: 30_000,
    ...limits,
  });

  /** An IdP that can't be reached is asked again in the background, and shown as unavailable meanwhile. */
  async function watched<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (isFault(error, 'idp_unavailable')) discovery.doubt(error);
      throw error;
    }
  }

  async function signIn(metadata: ServerMetadata, request: CodeExchange): Promise<VerifiedSignIn> {
    const callbackUrl = new URL(request.redirectUri);
    callbackUrl.search = request.callbackUrl.search;
    const tokens = await client.redeem(metadata, { ...request, callbackUrl });
    if (tokens.idToken === undefined)
      throw tokenInvalid('id_token_missing', 'the token endpoint sent no ID token');
    const now = nowSeconds(clock);
    const claims = await verifyIdToken(tokens.idToken, {
      ...expectations(metadata, tokens.accessToken, now),
      nonce: request.nonce,
    });
    return {
      claims,
      profile:
        source.claims_source === 'userinfo'
          ? await mergedProfile(client, metadata, tokens.accessToken, claims)
          : claims,
      idToken: tokens.idToken,
      accessToken: tokens.accessToken,
      accessTokenExpiresAt: expiryOf(tokens, now),
      refreshToken: tokens.refreshToken,
    };
  }

  async function refresh(
    metadata: ServerMetadata,
    { refreshToken, signIn }: RefreshRequest,
  ): Promise<{ refreshed: VerifiedRefresh } | { refused: IdpRefusal }> {
    const answer = await client.refresh(metadata, refreshToken);
    if ('refused' in answer) return answer;
    const { tokens } = answer;
    const now = nowSeconds(clock);
    const claims =
      tokens.idToken === undefined
        ? undefined
        : await verifyRefreshedIdToken(
            tokens.idToken,
            signIn,
            expectations(metadata, tokens.accessToken, now),
          );
    return {
      refreshed: {
        claims,
        idToken: tokens.idToken,
        accessToken: tokens.accessToken,
        accessTokenExpiresAt: expiryOf(tokens, now),
        refreshToken: tokens.refreshToken,
      },
    };
  }

  /** What every ID token is held against. */
  function expectations(metadata: ServerMetadata, accessToken: string, now: number) {
    return {
      keys,
      issuer: source.issuer,
      clientId: source.client_id,
      additionalAudiences: source.additional_audiences,
      algs: allowedAlgs(metadata, source.id_token_signed_response_alg),
      accessToken,
      nowSeconds: now,
    };
  }

  return {
    sourceId: source.id,
    status: () => discovery.status(),
    start: () => discovery.start(),
    async authorizationUrl(request) {
      const metadata = await discovery.metadata();
      const offered = metadata.pushed_authorization_request_endpoint !== undefined;
      const pushed = par === 'always' || (par === 'auto' && offered);
      return watched(
        client.authorizationUrl(metadata, await authorizationParameters(source, request), pushed),
      );
    },
    async exchange(request) {
      const metadata = await discovery.metadata();
      const refused = readAuthorizationResponse(request.callbackUrl.searchParams, {
        state: request.state,
        issuer: source.issuer,
        issAdvertised: metadata.authorization_response_iss_parameter_supported === true,
      });
      return refused === undefined ? { signIn: await watched(signIn(metadata, request)) } : { refused };
    },
    endSessionUrl({ idToken, returnTo, state }) {
      const metadata = discovery.known();
      if (metadata === undefined) return undefined;
      return client.endSessionUrl(metadata, {
        post_logout_redirect_uri: returnTo,
        state,
        ...(idToken === undefined ? {} : { id_token_hint: idToken }),
      });
    },
    async refresh(request) {
      return watched(refresh(await discovery.metadata(), request));
    },
    async verifyAccessToken(token, terms) {
      const metadata = await discovery.metadata();
      return watched(
        verifyAccessToken(token, {
          ...terms,
          keys: bearerKeys,
          issuer: source.issuer,
          algs: allowedAlgs(metadata, undefined),
          nowSeconds: nowSeconds(clock),
        }),
      );
    },
    async verifyLogoutToken(token) {
      const metadata = await discovery.metadata();
      return watched(
        verifyLogoutToken(token, {
          keys,
          issuer: source.issuer,
          clientId: source.client_id,
          additionalAudiences: source.additional_audiences,
          algs: allowedAlgs(metadata, source.id_token_signed_response_alg),
          nowSeconds: nowSeconds(clock),
        }),
      );
    },
    reconsider(next) {
      const asked = ({ acrValues, requestedClaims }: PolicyNeeds): string =>
        JSON.stringify([acrValues, requestedClaims]);
      if (asked(next) === asked(currentNeeds)) return;
      currentNeeds = next;
      const metadata = discovery.known();
      if (metadata !== undefined) tellDoubts(metadata);
    },
    async close() {
      discovery.close();
      await idpFetch.close();
    },
  };
}

/** When an access token ends, in seconds since the epoch; undefined where the IdP does not say (RFC 6749 section 5.1). */
function expiryOf({ expiresIn }: RedeemedTokens, nowSeconds: number): number | undefined {
  return expiresIn === undefined ? undefined : nowSeconds + Math.floor(expiresIn);
}

function checkIssuer(source: SourceConfig): void {
  const url = URL.canParse(source.issuer) ? new URL(source.issuer) : undefined;
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname))) return;
  throw new SallyportError('config_invalid', `source ${source.id}: the issuer must be an https URL`);
}

/** The operator's extra parameters never replace one that Sallyport sets. */
async function authorizationParameters(
  source: SourceConfig,
  request: AuthorizationRequest,
): Promise<Record<string, string>> {
  const { acrValues, requestedClaims, maxAgeSeconds, prompt, loginHint } = request;
  return {
    ...source.authorization_params,
    response_type: 'code',
    client_id: source.client_id,
    redirect_uri: request.redirectUri,
    scope: source.scopes.join(' '),
    state: request.state,
    nonce: request.nonce,
    code_challenge: await calculatePKCECodeChallenge(request.codeVerifier),
    code_challenge_method: 'S256',
    ...(acrValues.length === 0 ? {} : { acr_values: acrValues.join(' ') }),
    ...(Object.keys(requestedClaims).length === 0 ? {} : { claims: JSON.stringify(requestedClaims) }),
    ...(maxAgeSeconds === undefined ? {} : { max_age: String(maxAgeSeconds) }),
    ...(prompt === undefined ? {} : { prompt }),
    ...(loginHint === undefined ? {} : { login_hint: loginHint }),
  };
}

/** Userinfo is not signed: whatever the ID token says too, the ID token says. */
async function mergedProfile(
  client: IdpClient,
  metadata: ServerMetadata,
  accessToken: string,
  claims: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  return { ...(await client.userinfo(metadata, accessToken, String(claims['sub']))), ...claims };
}
