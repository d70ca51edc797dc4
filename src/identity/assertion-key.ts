import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { SallyportError } from '../kernel/error.ts';

/** A key that assertions may be signed with, and the algorithm that goes with it. */
export interface AssertionKey {
  readonly privateKey: KeyObject;
  readonly algorithm: 'ES256' | 'EdDSA';
  readonly publicJwk: JsonWebKey;
}

/**
 * Reads a private key: a JWK, or PEM (PKCS #8 or SEC 1). EC on P-256 or Ed25519, nothing else: an RSA key would make
 * every request's header several times as long, and HMAC would let the upstream sign for us.
 *
 * @param origin where the text comes from, for the message; never its content
 * @throws SallyportError `config_invalid` with what is wrong and what to do
 * @see RFC 7518 section 3.4, RFC 8037 section 3.1
 */
export function parseAssertionKey(text: string, origin: string): AssertionKey {
  const privateKey = readPrivateKey(text, origin);
  const algorithm = algorithmOf(privateKey);
  if (algorithm === undefined) {
    const kind = [privateKey.asymmetricKeyType, privateKey.asymmetricKeyDetails?.namedCurve]
      .filter(Boolean)
      .join(' ');
    throw refuse(
      origin,
      `expected an EC key on P-256 or an Ed25519 key, found ${kind}; make one with openssl genpkey -algorithm ed25519`,
    );
  }
  return { privateKey, algorithm, publicJwk: createPublicKey(privateKey).export({ format: 'jwk' }) };
}

/** A fresh P-256 key as a private JWK in JSON: what most upstreams can verify. */
export function makeAssertionKey(): Buffer {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return Buffer.from(JSON.stringify(privateKey.export({ format: 'jwk' })));
}

function readPrivateKey(text: string, origin: string): KeyObject {
  const trimmed = text.trim();
  try {
    if (!trimmed.startsWith('{')) return createPrivateKey(trimmed);
    return createPrivateKey({ key: JSON.parse(trimmed) as JsonWebKey, format: 'jwk' });
  } catch {
    // The cause is dropped: parsers quote what they could not read, and this is a private key.
    throw refuse(origin, 'expected an unencrypted private key, as a JWK or in PEM (PKCS #8)');
  }
}

function algorithmOf(key: KeyObject): AssertionKey['algorithm'] | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA';
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return 'ES256';
  return undefined;
}

function refuse(origin: string, message: string): SallyportError {
  return new SallyportError('config_invalid', `${origin}: ${message}`, { detail: 'assertion_key' });
}
