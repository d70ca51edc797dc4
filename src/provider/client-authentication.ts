import { createPrivateKey } from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { importPKCS8 } from 'jose';
import { ClientSecretBasic, ClientSecretPost, None, PrivateKeyJwt } from 'openid-client';
import type { ClientAuth, ServerMetadata } from 'openid-client';
import type { SourceConfig } from '../config/schema.ts';
import { SallyportError } from '../kernel/error.ts';
import { Secret } from '../kernel/secret.ts';

/** How this client proves itself at the IdP's token endpoint, read from files once. */
export type ClientCredential =
  | { readonly kind: 'secret'; readonly secret: Secret }
  | { readonly kind: 'key'; readonly key: KeyObject; readonly alg: string; readonly kid: string | undefined }
  | { readonly kind: 'none' };

/**
 * Reads the source's client credential.
 * @throws config_invalid when a file can't be read or holds no private key
 */
export function readClientCredential(
  source: Pick<SourceConfig, 'id' | 'client_secret' | 'client_secret_file' | 'private_key_jwt'>,
): ClientCredential {
  if (source.private_key_jwt !== undefined) {
    const { key_file: file, kid, alg } = source.private_key_jwt;
    const { key, ownKid } = parsePrivateKey(source.id, readFile(source.id, file));
    return { kind: 'key', key, alg: alg ?? defaultAlg(source.id, key), kid: kid ?? ownKid };
  }
  if (source.client_secret !== undefined) return { kind: 'secret', secret: source.client_secret };
  if (source.client_secret_file === undefined) return { kind: 'none' };
  // One trailing newline is the editor's, not the secret's (SPEC section 1).
  const text = readFile(source.id, source.client_secret_file).replace(/\r?\n$/, '');
  return { kind: 'secret', secret: new Secret(text) };
}

/**
 * The authentication method for openid-client: the credential's own, in the form that discovery offers.
 * `client_secret_basic` is what an IdP that lists nothing takes (OpenID Connect Discovery 1.0 section 3).
 */
export async function clientAuthentication(
  credential: ClientCredential,
  metadata: Pick<ServerMetadata, 'token_endpoint_auth_methods_supported'>,
): Promise<ClientAuth> {
  switch (credential.kind) {
    case 'secret': {
      const offered = metadata.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
      const postOnly = !offered.includes('client_secret_basic') && offered.includes('client_secret_post');
      const secret = credential.secret.reveal();
      return postOnly ? ClientSecretPost(secret) : ClientSecretBasic(secret);
    }
    case 'key': {
      const pem = credential.key.export({ type: 'pkcs8', format: 'pem' }).toString();
      const key = await importPKCS8(pem, credential.alg);
      return PrivateKeyJwt(credential.kid === undefined ? key : { key, kid: credential.kid });
    }
    case 'none':
      return None();
  }
}

function readFile(sourceId: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new SallyportError('config_invalid', `source ${sourceId}: a credential file can't be read`, {
      cause,
    });
  }
}

function parsePrivateKey(sourceId: string, text: string): { key: KeyObject; ownKid: string | undefined } {
  try {
    if (!text.trimStart().startsWith('{')) return { key: createPrivateKey(text), ownKid: undefined };
    const jwk = JSON.parse(text) as JsonWebKey & { kid?: unknown };
    const key = createPrivateKey({ key: jwk, format: 'jwk' });
    return { key, ownKid: typeof jwk.kid === 'string' ? jwk.kid : undefined };
  } catch {
    // The parser's own message may quote the key: it is not passed on.
    throw new SallyportError(
      'config_invalid',
      `source ${sourceId}: private_key_jwt.key_file holds no private key (PEM or JWK)`,
    );
  }
}

const algOfKey: Readonly<Record<string, string>> = {
  rsa: 'RS256',
  'rsa-pss': 'PS256',
  ed25519: 'EdDSA',
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};

function defaultAlg(sourceId: string, key: KeyObject): string {
  const kind = key.asymmetricKeyType === 'ec' ? key.asymmetricKeyDetails?.namedCurve : key.asymmetricKeyType;
  const alg = algOfKey[kind ?? ''];
  if (alg === undefined)
    throw new SallyportError('config_invalid', `source ${sourceId}: private_key_jwt has no usable key type`);
  return alg;
}
