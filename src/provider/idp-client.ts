import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildAuthorizationUrlWithPAR,
  buildEndSessionUrl,
  Configuration,
  customFetch,
  discovery,
  fetchUserInfo,
  refreshTokenGrant,
} from 'openid-client';
import type { ClientAuth, CustomFetch, ServerMetadata, TokenEndpointResponse } from 'openid-client';
import type { SourceConfig } from '../config/schema.ts';
import { clientAuthentication } from './client-authentication.ts';
import type { ClientCredential } from './client-authentication.ts';
import { answerFault, codeOf, discoveryFault, refreshRefusal, tokenEndpointFault } from './idp-answer.ts';
import { faultWithin, idpUnavailable, tokenInvalid } from './idp-fault.ts';
import type { IdpEndpoint, IdpFetch } from './idp-fetch.ts';
import { checkMetadata } from './metadata.ts';
import type { IdpRefusal } from './types.ts';

/** The token endpoint's answer; the ID token in it is **not** verified yet. */
export interface RedeemedTokens {
  readonly idToken: string | undefined;
  readonly accessToken: string;
  /** Seconds from now. */
  readonly expiresIn: number | undefined;
  readonly refreshToken: string | undefined;
}

/** The requests that Sallyport makes of one IdP, over openid-client. It remembers nothing: metadata is passed in. */
export interface IdpClient {
  /** The discovery document, checked: exact issuer, https, usable endpoints. @throws idp_unavailable */
  discover(): Promise<ServerMetadata>;
  /** The JWKS document, as it came. @throws idp_unavailable */
  fetchJwks(metadata: ServerMetadata): Promise<unknown>;
  /** The URL for the browser; by a pushed request where `pushed`. @throws idp_unavailable */
  authorizationUrl(
    metadata: ServerMetadata,
    parameters: Record<string, string>,
    pushed: boolean,
  ): Promise<URL>;
  /** Redeems the code of `callbackUrl`. @throws idp_unavailable, token_invalid */
  redeem(
    metadata: ServerMetadata,
    request: { readonly callbackUrl: URL; readonly state: string; readonly codeVerifier: string },
  ): Promise<RedeemedTokens>;
  /**
   * Spends a refresh token.
   * @throws idp_unavailable
   * @returns the tokens, or why the IdP will not take that token again
   */
  refresh(
    metadata: ServerMetadata,
    refreshToken: string,
  ): Promise<{ readonly tokens: RedeemedTokens } | { readonly refused: IdpRefusal }>;
  /** @throws idp_unavailable, token_invalid when its `sub` is another */
  userinfo(
    metadata: ServerMetadata,
    accessToken: string,
    subject: string,
  ): Promise<Readonly<Record<string, unknown>>>;
  endSessionUrl(metadata: ServerMetadata, parameters: Record<string, string>): URL | undefined;
}

/** Makes the adapter for one source. */
export function createIdpClient(
  source: Pick<SourceConfig, 'issuer' | 'client_id'>,
  credential: ClientCredential,
  idpFetch: IdpFetch,
): IdpClient {
  const plainHttp = new URL(source.issuer).protocol === 'http:';

  const fetchOf =
    (endpoint: IdpEndpoint): CustomFetch =>
    (url, { method, headers, body }) =>
      idpFetch.fetch(endpoint, url, {
        method,
        headers,
        body: body === null || body === undefined ? undefined : bodyText(body),
      });

  /**
   * openid-client checks an ID token in part, by the machine's clock, and before us: it gets the answer without one, and
   * verify-id-token.ts stays the only judge. Some IdPs repeat what they refuse ("Invalid refresh token (expired): …"): that is nothing for
   * a log or the audit trail.
   *
   * @param spent the code, or the refresh token, that is sent
   */
  function tokenFetch(spent: string): {
    readonly fetchTokens: CustomFetch;
    readonly tokensOf: (answer: TokenEndpointResponse) => RedeemedTokens;
  } {
    let idToken: string | undefined;
    return {
      async fetchTokens(url, init) {
        const response = await fetchOf('token')(url, init);
        if (!response.ok) {
          const text = await response.text();
          const { status, headers } = response;
          return new Response(spent === '' ? text : text.replaceAll(spent, '…'), { status, headers });
        }
        const answer = parseJson(await response.text());
        if (!isObject(answer))
          throw idpUnavailable('answer_malformed', 'the token endpoint answered with no JSON object');
        const { id_token: token, ...rest } = answer;
        if (typeof token === 'string') idToken = token;
        return new Response(JSON.stringify(rest), {
          status: response.status,
          headers: { 'content-type': 'application/json' },
        });
      },
      tokensOf: (answer) => ({
        idToken,
        accessToken: answer.access_token,
        expiresIn: answer.expires_in,
        refreshToken: answer.refresh_token,
      }),
    };
  }

  const configure = (
    metadata: ServerMetadata,
    auth: ClientAuth | undefined,
    fetch: CustomFetch,
  ): Configuration => {
    const configuration = new Configuration(metadata, source.client_id, undefined, auth);
    configuration[customFetch] = fetch;
    // Our own fetch bounds the time, the whole answer included, and allows plain http to a loopback alone.
    configuration.timeout = 0;
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- deprecated only so that it stands out
    if (plainHttp) allowInsecureRequests(configuration);
    return configuration;
  };

  return {
    async discover() {
      try {
        const found = await discovery(new URL(source.issuer), source.client_id, undefined, undefined, {
          [customFetch]: fetchOf('discovery'),
          // eslint-disable-next-line @typescript-eslint/no-deprecated -- the same
          ...(plainHttp ? { execute: [allowInsecureRequests] } : {}),
        });
        const metadata = found.serverMetadata();
        checkMetadata(metadata, source.issuer);
        return metadata;
      } catch (error) {
        throw faultWithin(error) ?? discoveryFault(error);
      }
    },

    async fetchJwks(metadata) {
      const response = await idpFetch.fetch('jwks', metadata.jwks_uri ?? '');
      if (!response.ok) throw idpUnavailable('status', `the JWKS answered with status ${response.status}`);
      return parseJson(await response.text());
    },

    async authorizationUrl(metadata, parameters, pushed) {
      const auth = await clientAuthentication(credential, metadata);
      const configuration = configure(metadata, auth, fetchOf('par'));
      if (!pushed) return buildAuthorizationUrl(configuration, parameters);
      try {
        return await buildAuthorizationUrlWithPAR(configuration, parameters);
      } catch (error) {
        throw faultWithin(error) ?? answerFault('par_refused', 'the pushed authorization request', error);
      }
    },

    async redeem(metadata, { callbackUrl, state, codeVerifier }) {
      const auth = await clientAuthentication(credential, metadata);
      const { fetchTokens, tokensOf } = tokenFetch(callbackUrl.searchParams.get('code') ?? '');
      try {
        return tokensOf(
          await authorizationCodeGrant(configure(metadata, auth, fetchTokens), callbackUrl, {
            expectedState: state,
            pkceCodeVerifier: codeVerifier,
          }),
        );
      } catch (error) {
        throw faultWithin(error) ?? tokenEndpointFault(error);
      }
    },

    async refresh(metadata, refreshToken) {
      const auth = await clientAuthentication(credential, metadata);
      const { fetchTokens, tokensOf } = tokenFetch(refreshToken);
      try {
        const answer = await refreshTokenGrant(configure(metadata, auth, fetchTokens), refreshToken);
        return { tokens: tokensOf(answer) };
      } catch (error) {
        const refused = faultWithin(error) === undefined ? refreshRefusal(error) : undefined;
        if (refused !== undefined) return { refused };
        throw faultWithin(error) ?? answerFault('token_endpoint_refused', 'the token endpoint', error);
      }
    },

    async userinfo(metadata, accessToken, subject) {
      const configuration = configure(metadata, undefined, fetchOf('userinfo'));
      try {
        return await fetchUserInfo(configuration, accessToken, subject);
      } catch (error) {
        if (codeOf(error) === 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED') {
          throw tokenInvalid('userinfo_sub_mismatch', "userinfo's sub is not the ID token's", error);
        }
        throw faultWithin(error) ?? answerFault('answer_malformed', 'userinfo', error);
      }
    },

    endSessionUrl(metadata, parameters) {
      if (metadata.end_session_endpoint === undefined) return undefined;
      return buildEndSessionUrl(configure(metadata, undefined, fetchOf('discovery')), parameters);
    },
  };
}

const bodyText = (body: NonNullable<Parameters<CustomFetch>[1]['body']>): string =>
  typeof body === 'string' || body instanceof URLSearchParams
    ? body.toString()
    : Buffer.from(body as Uint8Array).toString('utf8');

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw idpUnavailable('not_json', 'answered with something that is no JSON', error);
  }
}
