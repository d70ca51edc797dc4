import { compactVerify, errors } from 'jose';
import type { CryptoKey } from 'jose';
import { asymmetricAlgorithms } from '../kernel/signature-algorithms.ts';
import { findDuplicateMember } from './duplicate-member.ts';
import type { KeyHint, KeyLookup } from './jwks.ts';
import { refuse, type TokenFault } from './token-fault.ts';

/** Characters. */
const maxTokenLength = 256 * 1024;

/** What the header of a kind of token may say of its type; absent will do, unless it is required. */
export interface TokenType {
  readonly pattern: RegExp;
  readonly fault: TokenFault;
  readonly required?: boolean;
}

/** Who may have signed a token, and how. */
export interface Signers {
  readonly keys: KeyLookup;
  /** Allowed signature algorithms; anything that is not asymmetric is never allowed, listed or not. */
  readonly algs: readonly string[];
}

/**
 * The claims of a token that the issuer's key has signed; what they say is for the caller to judge.
 * @throws token_invalid with a {@link TokenFault} as `detail`; idp_unavailable when the keys can't be had
 * @see RFC 7515 section 5.2, RFC 8725
 */
export async function readSignedClaims(
  token: string,
  { keys, algs }: Signers,
  type: TokenType,
): Promise<{ readonly claims: Record<string, unknown>; readonly hint: KeyHint }> {
  const hint = readHeader(token, algs, type);
  return { claims: readClaims(await verifySignature(token, hint, keys)), hint };
}

function readHeader(token: string, algs: readonly string[], type: TokenType): KeyHint {
  if (token.length > maxTokenLength) refuse('token_too_large', `longer than ${maxTokenLength} characters`);
  const parts = token.split('.');
  if (parts.length === 5) refuse('token_encrypted', 'it is encrypted, which is not supported');
  if (parts.length !== 3 || !parts.every((part) => /^[\w-]*$/.test(part)))
    refuse('token_malformed', 'it is no JWT');
  const header = parseObject(Buffer.from(parts[0] ?? '', 'base64url'), 'header_malformed');
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string' || !asymmetricAlgorithms.includes(alg) || !algs.includes(alg)) {
    refuse('alg_not_allowed', `alg ${String(alg).slice(0, 40)} is not among ${algs.join(' ')}`);
  }
  // An extension that we don't understand must be refused, and we understand none (RFC 7515 section 4.1.11).
  if ('crit' in header || 'b64' in header)
    refuse('crit_not_supported', 'its header holds a critical extension');
  const untyped = typ === undefined && type.required !== true;
  if (!untyped && !(typeof typ === 'string' && type.pattern.test(typ))) {
    refuse(
      type.fault,
      `typ ${typ === undefined ? 'absent' : JSON.stringify(typ).slice(0, 40)} is that of another kind of token`,
    );
  }
  if (kid !== undefined && typeof kid !== 'string') refuse('header_malformed', 'kid is no string');
  return { alg, kid };
}

async function verifySignature(token: string, hint: KeyHint, keys: KeyLookup): Promise<Uint8Array> {
  const first = await keys.keysFor(hint);
  if (first.length === 0) refuse('key_not_found', 'no key of the JWKS fits its header');
  const payload =
    (await tryKeys(token, hint, first)) ?? (await tryKeys(token, hint, await keys.refetchedKeysFor(hint)));
  return payload ?? refuse('signature_invalid', 'its signature does not verify');
}

async function tryKeys(
  token: string,
  hint: KeyHint,
  keys: readonly CryptoKey[] = [],
): Promise<Uint8Array | undefined> {
  for (const key of keys) {
    try {
      return (await compactVerify(token, key, { algorithms: [hint.alg] })).payload;
    } catch (error) {
      // A key that is unfit (too short an RSA modulus: TypeError) verifies nothing, like a key that does not match.
      if (!(error instanceof errors.JWSSignatureVerificationFailed) && !(error instanceof TypeError)) {
        refuse('token_malformed', 'it is no JWS', error);
      }
    }
  }
  return undefined;
}

function readClaims(payload: Uint8Array): Record<string, unknown> {
  return parseObject(payload, 'claims_malformed');
}

function parseObject(
  bytes: Uint8Array,
  fault: 'header_malformed' | 'claims_malformed',
): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    return refuse(fault, 'not JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse(fault, 'not a JSON object');
  if (findDuplicateMember(text) !== undefined) refuse('claims_duplicate', 'a member stands twice');
  return value as Record<string, unknown>;
}
