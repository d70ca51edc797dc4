import type { ServerMetadata } from 'openid-client';
import { SallyportError } from '../kernel/error.ts';
import type { IdpClient } from './idp-client.ts';

/** What a bogus code told about the client's credentials. */
export type ClientProbe =
  /** The client is who it says: the IdP went on to look at the code, and refused that. */
  | { readonly result: 'accepted' }
  /** Wrong client_id, secret, key or authentication method. */
  | { readonly result: 'invalid_client'; readonly message: string }
  /** Neither answer: the IdP can't be reached, or says something else. */
  | { readonly result: 'unclear'; readonly message: string };

/**
 * Tells `invalid_client` from `invalid_grant` by offering a code that can't be one.
 * @see RFC 6749 section 5.2
 */
export async function probeClient(
  client: Pick<IdpClient, 'redeem'>,
  metadata: ServerMetadata,
  redirectUri: string,
): Promise<ClientProbe> {
  const callbackUrl = new URL(redirectUri);
  callbackUrl.searchParams.set('code', 'sallyport-check-no-such-code');
  callbackUrl.searchParams.set('state', 'sallyport-check');
  callbackUrl.searchParams.set('iss', metadata.issuer);
  try {
    await client.redeem(metadata, {
      callbackUrl,
      state: 'sallyport-check',
      codeVerifier: 'sallyport-check-'.repeat(4),
    });
    return { result: 'unclear', message: 'the IdP took a code that does not exist' };
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    if (error.detail === 'code_refused') return { result: 'accepted' };
    if (error.detail === 'client_refused') return { result: 'invalid_client', message: error.message };
    return { result: 'unclear', message: error.message };
  }
}
