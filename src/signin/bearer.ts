import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Generation, Source } from '../generation.ts';
import { claimIdentity, isGranted } from '../identity/binding-claim.ts';
import { createBindings } from '../identity/binding.ts';
import { resolveIdentity } from '../identity/resolve.ts';
import { nowSeconds } from '../kernel/clock.ts';
import { SallyportError } from '../kernel/error.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import type { OpenedSession, SessionRecord } from '../session/types.ts';
import { auditUser, createRecorder } from './sign-in-audit.ts';
import type { SignInDeps } from './types.ts';

/** What an access token opens: something like a session, for as long as the token lives; or why it opens nothing. */
export type BearerResult =
  | { readonly ok: true; readonly session: OpenedSession }
  | {
      readonly ok: false;
      /** 401: no such token is taken. 403: the token is good, and its user is refused. */
      readonly status: 401 | 403;
      readonly code: string;
      /** One sentence for whoever writes the client; ASCII. */
      readonly hint: string;
    };

/**
 * Opens the access token of a request. At once where it has been opened before.
 * @throws idp_unavailable, store_unavailable
 */
export type OpenBearer = (
  token: string,
  facts: RequestFacts,
  generation: Generation,
) => BearerResult | Promise<BearerResult>;

/** Tokens remembered by their hash; the least recently used go first. */
const maxRemembered = 10_000;
/** How long a token is taken without another look: a key that the IdP withdrew, or a user name that was moved, counts no longer. */
const maxRememberedMs = 300_000;
/** How long a refused user stays refused without another look. */
const refusedMs = 30_000;

interface Remembered {
  readonly result: BearerResult;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/**
 * JWT access tokens as credentials (SPEC section 5, access `bearer`): verified by the keys of the source that issued them, and then
 * judged as that source's sign-ins are, user-name binding included.
 */
export function createBearer(deps: SignInDeps): OpenBearer {
  const { clock } = deps;
  const bindings = createBindings(deps);
  const byGeneration = new WeakMap<Generation, LRUCache<string, Remembered>>();

  function memoryOf(generation: Generation): LRUCache<string, Remembered> {
    let memory = byGeneration.get(generation);
    if (memory === undefined)
      byGeneration.set(generation, (memory = new LRUCache<string, Remembered>({ max: maxRemembered })));
    return memory;
  }

  async function open(
    token: string,
    hash: string,
    facts: RequestFacts,
    generation: Generation,
  ): Promise<BearerResult> {
    const { config, sources } = generation;
    const source = sourceOf(token, sources);
    if (source === undefined) return refusedToken('iss_mismatch');
    const verify = source.provider.verifyAccessToken?.bind(source.provider);
    if (verify === undefined) return refusedToken('iss_mismatch');
    let claims: Readonly<Record<string, unknown>>;
    try {
      claims = await verify(token, {
        audiences: config.bearer.audiences,
        types: config.bearer.typ,
        clientIds: [...sources.values()].map((each) => each.config.client_id),
      });
    } catch (error) {
      // Not remembered: a key may be published a moment later; and made-up tokens must not push good ones out.
      if (error instanceof SallyportError && error.code === 'token_invalid')
        return refusedToken(error.detail ?? 'token_malformed');
      throw error;
    }
    const result = await admit(claims, hash, source, facts, generation);
    const nowMs = clock.nowMs();
    const lifeMs = result.ok ? Math.min(maxRememberedMs, Number(claims['exp']) * 1000 - nowMs) : refusedMs;
    if (lifeMs > 0) memoryOf(generation).set(hash, { result, untilMs: nowMs + lifeMs });
    return result;
  }

  /** Who it is, and whether the upstream may know them under that name: as at a sign-in. */
  async function admit(
    claims: Readonly<Record<string, unknown>>,
    hash: string,
    source: Source,
    facts: RequestFacts,
    { config: { upstream } }: Generation,
  ): Promise<BearerResult> {
    const { config } = source;
    const headerClaims = upstream.identity_headers?.map(({ claim }) => claim);
    const resolved = resolveIdentity(
      { claims, profile: claims },
      config,
      upstream.username,
      upstream.preset,
      headerClaims,
    );
    const { identity } = resolved;
    if (identity === undefined) return refusedUser(resolved.ok ? 'token_invalid' : resolved.code);
    const { issuer } = config;
    if (!resolved.ok && !(upstream.username.bind && (await isGranted(bindings, { identity, issuer }))))
      return refusedUser(resolved.code);
    if (upstream.username.bind) {
      const conflict = await claimIdentity(bindings, { identity, issuer, source: config.id }, upstream);
      if (conflict !== undefined) {
        createRecorder(deps, { facts, source }).conflicted(conflict, auditUser(identity));
        return refusedUser(conflict.code);
      }
    }
    const iat = Number(claims['iat']);
    const record: SessionRecord = {
      version: 1,
      id: `bearer-${hash.slice(0, 22)}`,
      source: config.id,
      issuer,
      clientId: config.client_id,
      identity,
      claims,
      issuedAt: nowSeconds(clock),
      // The IdP's word is as old as the token: what a sign-in's callback is to its ID token.
      authenticatedAt: iat,
      expiresAt: Number(claims['exp']),
      forced: false,
      tokens: {
        idToken: undefined,
        accessToken: undefined,
        accessTokenExpiresAt: undefined,
        refreshToken: undefined,
      },
    };
    return { ok: true, session: { record } };
  }

  return function openBearer(token, facts, generation) {
    const hash = createHash('sha256').update(token).digest('base64url');
    const remembered = memoryOf(generation).get(hash);
    if (remembered !== undefined && clock.nowMs() < remembered.untilMs) return remembered.result;
    return open(token, hash, facts, generation);
  };
}

/**
 * The source that a token says it comes from; nothing is believed yet. Of several sources of one issuer, whose rules may differ, it is
 * the one whose client got the token; when that cannot be told, none.
 */
function sourceOf(token: string, sources: ReadonlyMap<string, Source>): Source | undefined {
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    claims = undefined;
  }
  const { iss, azp, client_id: clientId } = isObject(claims) ? claims : {};
  const candidates = [...sources.values()].filter(({ config }) => config.issuer === iss);
  if (candidates.length < 2) return candidates[0] ?? soleSource(claims, sources);
  const named = candidates.filter(({ config }) => config.client_id === (clientId ?? azp));
  return named.length === 1 ? named[0] : undefined;
}

/** What is no JWT at all names no issuer: with one source, it can at least be told so in so many words. */
function soleSource(claims: unknown, sources: ReadonlyMap<string, Source>): Source | undefined {
  return isObject(claims) ? undefined : sources.values().next().value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refusedToken(detail: string): BearerResult {
  return {
    ok: false,
    status: 401,
    code: 'bearer_token_invalid',
    hint: hints[detail] ?? `the token is not valid: ${detail}`,
  };
}

function refusedUser(code: string): BearerResult {
  return { ok: false, status: 403, code, hint: 'the token is valid, and its user is refused' };
}

const hints: Readonly<Record<string, string>> = {
  token_malformed:
    'the token is no signed JWT: an opaque token cannot be verified here; have the identity provider issue JWT access tokens (RFC 9068)',
  token_encrypted:
    'the token is encrypted: have the identity provider issue signed JWT access tokens (RFC 9068)',
  typ_not_access_token:
    'the token is no access token: an ID token or a logout token is not accepted; its typ has to be among bearer.typ',
  aud_is_client:
    'the token is meant for a client, as an ID token is: ask for one whose aud is among bearer.audiences',
  aud_mismatch: 'the aud of the token is not among bearer.audiences',
  iss_mismatch: 'no source has issued the token',
  key_not_found: 'no key of the issuer fits the token',
  signature_invalid: 'the signature of the token does not verify',
  expired: 'the token has expired',
};
