import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { SallyportError } from '../kernel/error.ts';
import type { Randomness } from '../kernel/randomness.ts';

/*
 * One format for everything sealed:
 *
 *   version (1 byte, 0x01) ‖ salt (24 random bytes) ‖ AES-256-GCM ciphertext ‖ tag (16 bytes)
 *
 * Key (32 bytes) and nonce (12 bytes) come together from HKDF-SHA256 with that salt, so each sealing has a key of its
 * own: no count of messages wears a key out, as random 96-bit nonces under one key would (NIST SP 800-38D section 8.3).
 * For a session's record the input is `secret ‖ cookie bytes`: a copy of Redis opens nothing, a copy of the secret opens
 * nothing without the cookies. For what several browsers or replicas share, it is the secret alone. `info` keeps the
 * purposes apart; the additional data binds a sealed value to the place where it stands.
 */

const version = 0x01;
const saltBytes = 24;
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const leastSecretBytes = 32;

/** 256 bits in unpadded base64url; the last character carries four bits, so 16 of the 64 may stand there. */
const cookieValuePattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/** Seals and opens; opening never throws: what is truncated, altered, foreign or of another purpose is undefined. */
export interface Sealing {
  /** Names this set of secrets within one process: what was opened with another must be opened again. */
  readonly id: string;
  /** The store key of the session that this cookie value opens: a hash, from which the value cannot be found. */
  sessionKey(cookieValue: string): string;
  /** Seals a session's record under cookie value and first secret, bound to its store key. */
  sealSession(cookieValue: string, plaintext: Uint8Array): Buffer;
  /** Opens a session's record with any of the secrets. */
  openSession(cookieValue: string, sealed: Uint8Array): Buffer | undefined;
  /**
   * Seals under one secret alone. `aad` is not stored: the opener must bring the same.
   *
   * @param secretIndex which secret; the first one, but for what replicas must open that do not know it yet
   */
  sealShared(purpose: string, plaintext: Uint8Array, aad: string, secretIndex?: number): Buffer;
  /** Opens what {@link Sealing.sealShared} made for the same purpose and `aad`, with any of the secrets. */
  openShared(purpose: string, sealed: Uint8Array, aad: string): Buffer | undefined;
  /** Like {@link Sealing.openShared}; says too whether the first secret sealed it, or one to be retired. */
  openSharedDetailed(
    purpose: string,
    sealed: Uint8Array,
    aad: string,
  ): { readonly plaintext: Buffer; readonly sealedByFirst: boolean } | undefined;
  /**
   * Where something that is looked up by value stands: an HMAC for each secret, the first secret's first. Whoever copies
   * the store cannot even try out names without the secret. Look under all, write under the first.
   */
  indexKeys(purpose: string, value: string): readonly [string, ...string[]];
}

/** Whether this text can be a session cookie's value at all: 256 bits in base64url, nothing else. */
export function isCookieValue(text: string): boolean {
  return text.length === 43 && cookieValuePattern.test(text);
}

/**
 * The sealing of one set of secrets: the first seals, all open.
 *
 * @param secrets at least one, 32 bytes or more each, taken as they are
 * @throws config_invalid when there is none or one is too short
 * @see RFC 5869
 */
export function createSealing(secrets: readonly Buffer[], randomness: Randomness): Sealing {
  const first = secrets[0];
  if (first === undefined || secrets.some((secret) => secret.length < leastSecretBytes)) {
    throw new SallyportError(
      'config_invalid',
      `session secrets: expected one or more, of ${leastSecretBytes} bytes or more each`,
    );
  }

  function openDetailed(
    inputOf: (secret: Buffer) => Buffer,
    info: string,
    sealed: Uint8Array,
    aad: string,
  ): { plaintext: Buffer; sealedByFirst: boolean } | undefined {
    for (const [index, secret] of secrets.entries()) {
      const plaintext = open(inputOf(secret), info, sealed, aad);
      if (plaintext !== undefined) return { plaintext, sealedByFirst: index === 0 };
    }
    return undefined;
  }

  function openSharedDetailed(purpose: string, sealed: Uint8Array, aad: string) {
    return openDetailed((secret) => secret, sharedInfo(purpose), sealed, aad);
  }

  const indexSecrets = new Map<string, readonly Buffer[]>();

  function indexKeys(purpose: string, value: string): readonly [string, ...string[]] {
    let derived = indexSecrets.get(purpose);
    if (derived === undefined) {
      derived = secrets.map((secret) => deriveIndexSecret(secret, purpose));
      indexSecrets.set(purpose, derived);
    }
    const [head = '', ...rest] = derived.map((key) =>
      createHmac('sha256', key).update(value, 'utf8').digest('base64url'),
    );
    return [head, ...rest];
  }

  const ids = secrets.map((secret) => deriveIndexSecret(secret, 'sealing-id').toString('base64url'));

  return {
    id: createHash('sha256').update(ids.sort().join(' ')).digest('base64url'),
    sessionKey,
    sealSession: (cookieValue, plaintext) =>
      seal(sessionInput(first, cookieValue), sessionInfo, plaintext, sessionKey(cookieValue), randomness),
    openSession: (cookieValue, sealed) =>
      openDetailed(
        (secret) => sessionInput(secret, cookieValue),
        sessionInfo,
        sealed,
        sessionKey(cookieValue),
      )?.plaintext,
    sealShared: (purpose, plaintext, aad, secretIndex = 0) =>
      seal(secrets[secretIndex] ?? first, sharedInfo(purpose), plaintext, aad, randomness),
    openShared: (purpose, sealed, aad) => openSharedDetailed(purpose, sealed, aad)?.plaintext,
    openSharedDetailed,
    indexKeys,
  };
}

const sessionInfo = 'sallyport/v1/session';

/** An info of its own: no key that seals is ever one that indexes. */
function deriveIndexSecret(secret: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), `sallyport/v1/index/${purpose}`, keyBytes));
}

function sharedInfo(purpose: string): string {
  return `sallyport/v1/shared/${purpose}`;
}

function sessionKey(cookieValue: string): string {
  return `session:${createHash('sha256').update('sallyport/v1/session-key\n').update(cookieValue).digest('base64url')}`;
}

/** Unambiguous, since the cookie's bytes are always 32. */
function sessionInput(secret: Buffer, cookieValue: string): Buffer {
  return Buffer.concat([secret, Buffer.from(cookieValue, 'base64url')]);
}

function deriveKey(input: Buffer, salt: Uint8Array, info: string): { key: Buffer; nonce: Buffer } {
  const bytes = Buffer.from(hkdfSync('sha256', input, salt, info, keyBytes + nonceBytes));
  return { key: bytes.subarray(0, keyBytes), nonce: bytes.subarray(keyBytes) };
}

/** The version is authenticated with the place: a later format cannot be passed off as this one. */
function additionalData(aad: string): Buffer {
  return Buffer.concat([Buffer.of(version), Buffer.from(aad, 'utf8')]);
}

function seal(
  input: Buffer,
  info: string,
  plaintext: Uint8Array,
  aad: string,
  randomness: Randomness,
): Buffer {
  const salt = randomness.bytes(saltBytes);
  const { key, nonce } = deriveKey(input, salt, info);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(aad));
  return Buffer.concat([
    Buffer.of(version),
    salt,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}

function open(input: Buffer, info: string, sealed: Uint8Array, aad: string): Buffer | undefined {
  if (sealed.length < 1 + saltBytes + tagBytes || sealed[0] !== version) return undefined;
  const salt = sealed.subarray(1, 1 + saltBytes);
  const { key, nonce } = deriveKey(input, salt, info);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(additionalData(aad));
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  try {
    const head = decipher.update(sealed.subarray(1 + saltBytes, sealed.length - tagBytes));
    return Buffer.concat([head, decipher.final()]);
  } catch {
    return undefined;
  }
}
