import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { calculateJwkThumbprint, SignJWT, type JWK } from 'jose';

import { isFault, SallyportError } from '../kernel/error.ts';
import { randomToken, type Randomness } from '../kernel/randomness.ts';
import { loadOrCreateSealed } from '../session/durable-key.ts';
import type { Sealing } from '../session/sealing.ts';
import type { OpenedSession, Store } from '../session/types.ts';
import { makeAssertionKey, parseAssertionKey } from './assertion-key.ts';
import type { IdentityStanding } from './types.ts';

/** How long an assertion lives, in seconds. */
export const assertionLifeSeconds = 60;

/** A signed assertion. */
export interface SignedAssertion {
  readonly jwt: string;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
}

/** Signs who is asking, for upstreams that verify instead of trusting the network (SPEC section 7). */
export interface AssertionSigner {
  /** @param origin the origin that the request came to: the assertion's `iss` */
  sign(
    session: OpenedSession,
    standing: IdentityStanding,
    origin: string,
    nowSeconds: number,
  ): Promise<SignedAssertion>;
  /** The public keys, as `<prefix>/jwks.json` shows them (RFC 7517). @throws store_unavailable while there are none yet */
  jwks(): { readonly keys: readonly JWK[] };
  /**
   * Puts the shared key back into a store that has lost it, so that replicas which start later sign with the same one; where another
   * has been put there meanwhile, signs with that from now on.
   *
   * @returns whether the store had lost it
   * @throws store_unavailable
   * @throws config_invalid when what is kept there opens with none of the configured secrets
   */
  restore(): Promise<boolean>;
}

/** What {@link createAssertionSigner} is made of. */
export interface AssertionSignerOptions {
  /** `session.assertion_key_file`. Without it a key is made once and kept sealed in the store. */
  readonly keyFile?: string | undefined;
  readonly store: Store;
  readonly sealing: Sealing;
  /** `session.assertion_audience`, or else `upstream.url` as written. */
  readonly audience: string;
  readonly randomness: Randomness;
}

/** The name under which the key stands in the store. */
const storedKeyName = 'assertion';

/**
 * Makes the signer: reads the key file, or takes the key that all replicas share from the store. A store that does not
 * answer now is no reason not to start: the key is then asked for again whenever something is to be signed.
 *
 * @throws config_invalid for a key that cannot be used
 */
export async function createAssertionSigner(options: AssertionSignerOptions): Promise<AssertionSigner> {
  let loaded: LoadedKey | undefined;
  let loading: Promise<LoadedKey> | undefined;
  /** What was signed with the key before this one is still to be verified for a minute; another change is rarer than that. */
  let former: readonly JWK[] = [];

  async function load(onLost?: () => void): Promise<LoadedKey> {
    const known = loaded;
    const make = (): Buffer | Promise<Buffer> => {
      if (known === undefined) return makeAssertionKey();
      onLost?.();
      return Buffer.from(known.text, 'utf8');
    };
    loading ??= loadKey(options, make).finally(() => (loading = undefined));
    const found = await loading;
    if (known !== undefined && known.header.kid !== found.header.kid) former = known.publicKeys;
    return (loaded = found);
  }
  await load().catch((error: unknown) => {
    if (!isFault(error, 'store_unavailable')) throw error;
  });

  return {
    async sign(session, standing, origin, nowSeconds) {
      const { privateKey, header } = loaded ?? (await load());
      const expiresAt = nowSeconds + assertionLifeSeconds;
      const jwt = await new SignJWT(statement(session, standing))
        .setProtectedHeader(header)
        .setIssuer(origin)
        .setAudience(options.audience)
        .setIssuedAt(nowSeconds)
        .setExpirationTime(expiresAt)
        .setJti(randomToken(options.randomness, 128))
        .sign(privateKey);
      return { jwt, expiresAt };
    },
    jwks() {
      if (loaded !== undefined) return { keys: [...loaded.publicKeys, ...former] };
      // No empty set: verifiers keep what they fetched, and would refuse everyone for as long.
      void load().catch(() => undefined);
      throw new SallyportError('store_unavailable', 'the assertion key could not be read from the store yet');
    },
    async restore() {
      if (options.keyFile !== undefined) return false;
      let wasLost = false;
      await load(() => (wasLost = true));
      return wasLost;
    },
  };
}

/** What is asserted; absent where the IdP said nothing. `email` only where it is verified. */
function statement(
  { record }: OpenedSession,
  { verdict, outcome }: IdentityStanding,
): Record<string, unknown> {
  if (!outcome.admit) {
    throw new SallyportError('internal', `session ${record.id} is not admitted by its source's policy`);
  }
  const { identity, claims } = record;
  const { evidence } = verdict;
  return dropUndefined({
    sub: identity.subject,
    source: record.source,
    username: identity.username,
    email: identity.emailVerified ? identity.email : undefined,
    groups: identity.groups,
    aal: outcome.aal,
    acr: claims['acr'],
    amr: claims['amr'],
    auth_time: claims['auth_time'],
    mfa: dropUndefined({
      status: outcome.status,
      evidence: evidence === undefined ? undefined : { claim: evidence.claim, value: evidence.value },
      weak: outcome.weak ?? false,
    }),
  });
}

function dropUndefined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The signing key, and what goes with it. */
interface LoadedKey {
  /** As it is kept. */
  readonly text: string;
  readonly privateKey: KeyObject;
  readonly header: { readonly alg: string; readonly kid: string; readonly typ: 'JWT' };
  readonly publicKeys: readonly JWK[];
}

/** @param make the key to keep where the store has none */
async function loadKey(
  options: AssertionSignerOptions,
  make: () => Buffer | Promise<Buffer>,
): Promise<LoadedKey> {
  const { text, where } = await readKey(options, make);
  const { privateKey, algorithm, publicJwk } = parseAssertionKey(text, where);
  const kid = await calculateJwkThumbprint(publicJwk);
  const publicKeys = Object.freeze([Object.freeze({ ...publicJwk, kid, alg: algorithm, use: 'sig' })]);
  return { text, privateKey, header: { alg: algorithm, kid, typ: 'JWT' }, publicKeys };
}

async function readKey(
  { keyFile, store, sealing }: AssertionSignerOptions,
  make: () => Buffer | Promise<Buffer>,
): Promise<{ readonly text: string; readonly where: string }> {
  if (keyFile === undefined) {
    const stored = await loadOrCreateSealed(store, sealing, storedKeyName, make);
    return { text: stored.toString('utf8'), where: 'the assertion key in the store' };
  }
  const where = `session.assertion_key_file ${keyFile}`;
  try {
    return { text: await readFile(keyFile, 'utf8'), where };
  } catch (cause) {
    throw new SallyportError('config_invalid', `${where}: cannot be read`, {
      cause,
      detail: 'assertion_key',
    });
  }
}
