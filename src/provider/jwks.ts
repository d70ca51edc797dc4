import { importJWK } from 'jose';
import type { CryptoKey, JWK } from 'jose';
import type { Clock } from '../kernel/clock.ts';
import { idpUnavailable } from './idp-fault.ts';

/** What a token's header says of the key that signed it. */
export interface KeyHint {
  readonly alg: string;
  readonly kid: string | undefined;
}

/** Where verification gets its keys. */
export interface KeyLookup {
  /**
   * The keys that may have signed a token with this header; fetched anew at once when none fits, within the limit.
   * @throws idp_unavailable
   */
  keysFor(hint: KeyHint): Promise<readonly CryptoKey[]>;
  /** The same after one more fetch (a key may be replaced under its old `kid`); undefined: the limit does not allow one. */
  refetchedKeysFor(hint: KeyHint): Promise<readonly CryptoKey[] | undefined>;
}

/** Bounds of the cache. */
export interface JwksLimits {
  /** How long a fetched document serves; a key that the IdP withdrew is believed no longer than this. Default 10 min. */
  readonly maxAgeMs?: number;
  /** How many fetches beyond the regular ones may follow upon each other; default 5. */
  readonly burst?: number;
  /** How long until one more is allowed; default 12 s. */
  readonly refillMs?: number;
}

/** More keys than any IdP publishes; a longer document is refused. */
const maxKeys = 100;
/** Without a `kid` each fitting key is tried: no more than these. */
const maxCandidates = 16;

/**
 * A source's signing keys, kept in memory. A key rotated a second ago is accepted (the document is fetched at once when a
 * token names an unknown `kid`), while a flood of made-up `kid`s is held to a few fetches; concurrent needs share one fetch.
 * Symmetric keys, encryption keys and private members of the document are never used.
 * @see RFC 7517 section 4, OpenID Connect Core 1.0 section 10.1.1
 */
export function createJwksCache(
  fetchDocument: () => Promise<unknown>,
  clock: Clock,
  limits: JwksLimits = {},
): KeyLookup {
  const maxAgeMs = limits.maxAgeMs ?? 600_000;
  const burst = limits.burst ?? 5;
  const refillMs = limits.refillMs ?? 12_000;
  const imported = new WeakMap<JWK, Map<string, Promise<CryptoKey>>>();
  let keys: readonly JWK[] = [];
  let fetchedAtMs = -Infinity;
  let flight: Promise<void> | undefined;
  let allowance = burst;
  let allowanceAtMs = clock.nowMs();

  function fetchShared(): Promise<void> {
    flight ??= (async () => {
      const document = await fetchDocument();
      keys = signingKeys(document);
      fetchedAtMs = clock.nowMs();
    })().finally(() => {
      flight = undefined;
    });
    return flight;
  }

  /** A fetch beyond the regular ones; false where the limit forbids it. */
  async function fetchExtra(): Promise<boolean> {
    if (flight !== undefined) {
      await flight;
      return true;
    }
    const nowMs = clock.nowMs();
    allowance = Math.min(burst, allowance + Math.max(0, nowMs - allowanceAtMs) / refillMs);
    allowanceAtMs = nowMs;
    if (allowance < 1) return false;
    allowance -= 1;
    await fetchShared();
    return true;
  }

  async function candidates({ alg, kid }: KeyHint): Promise<CryptoKey[]> {
    const fitting = keys.filter((jwk) => fits(jwk, alg) && (kid === undefined || jwk.kid === kid));
    const found = await Promise.all(fitting.slice(0, maxCandidates).map((jwk) => importOnce(jwk, alg)));
    return found.filter((key) => key !== undefined);
  }

  async function importOnce(jwk: JWK, alg: string): Promise<CryptoKey | undefined> {
    const byAlg = imported.get(jwk) ?? new Map<string, Promise<CryptoKey>>();
    imported.set(jwk, byAlg);
    const promise = byAlg.get(alg) ?? (importJWK(jwk, alg) as Promise<CryptoKey>);
    byAlg.set(alg, promise);
    // A key that can't be imported is a key that is not there.
    return promise.catch(() => undefined);
  }

  return {
    async keysFor(hint) {
      const ageMs = clock.nowMs() - fetchedAtMs;
      if (!(ageMs >= 0 && ageMs < maxAgeMs)) await fetchShared();
      let found = await candidates(hint);
      // Twice: the first may have joined a fetch that began before the key was published.
      for (let extra = 0; found.length === 0 && extra < 2; extra += 1) {
        const joined = flight !== undefined;
        if (!(await fetchExtra())) break;
        found = await candidates(hint);
        if (!joined) break;
      }
      return found;
    },
    async refetchedKeysFor(hint) {
      return (await fetchExtra()) ? candidates(hint) : undefined;
    },
  };
}

const publicMembers = ['kty', 'use', 'key_ops', 'alg', 'kid', 'crv', 'x', 'y', 'n', 'e'] as const;

/** @throws idp_unavailable when the document is no JWK Set */
function signingKeys(document: unknown): readonly JWK[] {
  const list: unknown =
    typeof document === 'object' && document !== null && 'keys' in document ? document.keys : undefined;
  if (!Array.isArray(list) || list.length > maxKeys)
    throw idpUnavailable('jwks_unusable', 'the JWKS is no list of keys');
  return list.filter(isSigningKey).map(
    // Public members only: a document that leaks private ones still yields public keys, and `oct` has none at all.
    (jwk) =>
      Object.fromEntries(
        publicMembers.flatMap((name) => (jwk[name] === undefined ? [] : [[name, jwk[name]]])),
      ) as JWK,
  );
}

function isSigningKey(value: unknown): value is JWK {
  if (typeof value !== 'object' || value === null) return false;
  const jwk = value as JWK;
  if (jwk.use !== undefined && jwk.use !== 'sig') return false;
  if (jwk.key_ops !== undefined && !(Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify')))
    return false;
  return jwk.kty === 'RSA' || jwk.kty === 'EC' || jwk.kty === 'OKP';
}

const curves: Readonly<Record<string, string>> = {
  ES256: 'P-256',
  ES384: 'P-384',
  ES512: 'P-521',
  EdDSA: 'Ed25519',
  Ed25519: 'Ed25519',
};

function fits(jwk: JWK, alg: string): boolean {
  if (jwk.alg !== undefined && jwk.alg !== alg && !(isEd25519(jwk.alg) && isEd25519(alg))) return false;
  const curve = curves[alg];
  return curve === undefined ? jwk.kty === 'RSA' && /^[RP]S/.test(alg) : jwk.crv === curve;
}

const isEd25519 = (alg: string): boolean => alg === 'EdDSA' || alg === 'Ed25519';
