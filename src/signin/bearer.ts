import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { UpstreamConfig } from '../config/schema.ts';
import type { Generation, Source } from '../generation.ts';
import { claimIdentity, isGranted } from '../identity/binding-claim.ts';
import { createBindings } from '../identity/binding.ts';
import { createKnownNames } from '../identity/known-name.ts';
import { resolveIdentity, type IdentityResult } from '../identity/resolve.ts';
import { nowSeconds } from '../kernel/clock.ts';
import { SallyportError } from '../kernel/error.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import type { OpenedSession, SessionRecord } from '../session/types.ts';

import { createBadTokenBound } from './bad-token-bound.ts';
import { namelessHint, refusedToken, refusedUser, tooManyBad, type BearerRefusal } from './bearer-refusal.ts';
import { auditUser, createRecorder } from './sign-in-audit.ts';
import { sourceOfToken } from './token-source.ts';
import type { SignInDeps } from './types.ts';

/** What an access token opens: something like a session, for as long as the token lives; or why it opens nothing. */
export type BearerResult = { readonly ok: true; readonly session: OpenedSession } | BearerRefusal;

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
/** How long a bad token stays bad without another look: a key may be published a moment later. */
const badMs = 5_000;
/** In one minute, from one address. What is known to be good is not held up by any number of them. */
const mostBadTokens = 120;

interface Remembered {
  readonly result: BearerResult;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/** What one configuration has made of tokens, by their hash. */
interface Memory {
  readonly good: LRUCache<string, Remembered>;
  readonly bad: LRUCache<string, Remembered>;
  readonly flights: Map<string, Promise<BearerResult>>;
}

/**
 * JWT access tokens as credentials (SPEC section 5, access `bearer`): verified by the keys of the source that issued them, and then
 * judged as that source's sign-ins are, user-name binding included. Each is counted as a verdict once; a bad one is logged once, by its
 * fault and never by itself.
 *
 * @param workers how many processes share the port, and the bound on bad tokens
 */
export function createBearer(deps: SignInDeps, workers = 1): OpenBearer {
  const { clock, meter } = deps;
  const bindings = createBindings(deps);
  const knownNames = createKnownNames(deps, bindings);
  const bound = createBadTokenBound(clock, mostBadTokens, workers);
  const byGeneration = new WeakMap<Generation, Memory>();
  /** Whose verdict has been counted: a token is looked at every few minutes, and by every configuration anew. */
  const counted = new LRUCache<string, true>({ max: maxRemembered });

  function memoryOf(generation: Generation): Memory {
    let memory = byGeneration.get(generation);
    if (memory === undefined) {
      memory = {
        // Apart, so that made-up tokens do not push good ones out.
        good: new LRUCache({ max: maxRemembered }),
        bad: new LRUCache({ max: maxRemembered }),
        flights: new Map(),
      };
      byGeneration.set(generation, memory);
    }
    return memory;
  }

  async function open(
    token: string,
    hash: string,
    facts: RequestFacts,
    generation: Generation,
  ): Promise<BearerResult> {
    const { config, sources } = generation;
    const source = sourceOfToken(token, sources);
    if (source === 'ambiguous') return turnDown('source_ambiguous', hash, facts, generation, undefined);
    const verify = source?.provider.verifyAccessToken?.bind(source.provider);
    if (source === undefined || verify === undefined)
      return turnDown('iss_mismatch', hash, facts, generation, source);
    let claims: Readonly<Record<string, unknown>>;
    try {
      claims = await verify(token, {
        audiences: config.bearer.audiences,
        types: config.bearer.typ,
        clientIds: [...sources.values()].map((each) => each.config.client_id),
      });
    } catch (error) {
      if (error instanceof SallyportError && error.code === 'token_invalid')
        return turnDown(error.detail ?? 'token_malformed', hash, facts, generation, source);
      throw error;
    }
    const result = await admit(claims, hash, source, facts, generation);
    const nowMs = clock.nowMs();
    const lifeMs = result.ok ? Math.min(maxRememberedMs, Number(claims['exp']) * 1000 - nowMs) : refusedMs;
    if (lifeMs > 0) memoryOf(generation).good.set(hash, { result, untilMs: nowMs + lifeMs });
    if (result.ok) countVerdict(result.session, hash, source, facts, generation);
    else {
      // Whose identity provider gives out tokens at will could fill the audit trail with conflicts.
      bound.count(facts.clientIp);
      tell(result.code, facts, source);
    }
    return result;
  }

  /** A token that opens nothing, whoever brings it: told, counted, and kept for a moment. */
  function turnDown(
    detail: string,
    hash: string,
    facts: RequestFacts,
    generation: Generation,
    source: Source | undefined,
  ): BearerResult {
    const result = refusedToken(detail);
    bound.count(facts.clientIp);
    // What was good is so no more, and would hide that.
    memoryOf(generation).good.delete(hash);
    memoryOf(generation).bad.set(hash, { result, untilMs: clock.nowMs() + badMs });
    tell(detail, facts, source);
    return result;
  }

  function tell(reason: string, facts: RequestFacts, source: Source | undefined): void {
    deps.logInfo?.('an access token was refused', {
      reason,
      auth_source: source?.config.id,
      request_id: facts.id,
      'client.ip': facts.clientIp,
    });
  }

  function countVerdict(
    session: OpenedSession,
    hash: string,
    source: Source,
    facts: RequestFacts,
    generation: Generation,
  ): void {
    if (counted.has(hash)) return;
    counted.set(hash, true);
    const standing = generation.standing(session, clock.nowMs());
    if (standing === undefined) return;
    createRecorder(deps, { facts, source }).verdict(standing);
    if (!standing.outcome.admit) tell(standing.outcome.reason, facts, source);
  }

  /**
   * Of a token that names its user by nothing that makes a user name: who that is, is known since they signed in. It is never asked
   * where the token says anything about it.
   */
  async function nameBySignIn(
    resolved: IdentityResult,
    claims: Readonly<Record<string, unknown>>,
    { config }: Source,
    upstream: UpstreamConfig,
  ): Promise<IdentityResult> {
    const { username, preset } = upstream;
    if (resolved.ok || resolved.code !== 'username_invalid' || resolved.observed['why'] !== 'absent')
      return resolved;
    const subject = claims['sub'];
    if (!username.bind || typeof subject !== 'string') return resolved;
    const name = await knownNames.find({ issuer: config.issuer, subject });
    if (name === undefined) return resolved;
    const profile = { ...claims, [ownClaim]: name };
    const byName = { ...username, claim: ownClaim, format: 'as_is' } as const;
    return resolveIdentity({ claims, profile }, config, byName, preset, headerClaimsOf(upstream));
  }

  /** Who it is, and whether the upstream may know them under that name: as at a sign-in. */
  async function admit(
    claims: Readonly<Record<string, unknown>>,
    hash: string,
    source: Source,
    facts: RequestFacts,
    generation: Generation,
  ): Promise<BearerResult> {
    const { config } = source;
    const { upstream } = generation.config;
    const named = resolveIdentity(
      { claims, profile: claims },
      config,
      upstream.username,
      upstream.preset,
      headerClaimsOf(upstream),
    );
    const resolved = await nameBySignIn(named, claims, source, upstream);
    const { identity } = resolved;
    if (identity === undefined) {
      const code = resolved.ok ? 'token_invalid' : resolved.code;
      return refusedUser(code, code === 'username_invalid' ? namelessHint(upstream) : undefined);
    }
    const { issuer } = config;
    if (!resolved.ok && !(upstream.username.bind && (await isGranted(bindings, { identity, issuer }))))
      return refusedUser(resolved.code);
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
    const session: OpenedSession = { record };
    // A token whose assurance is refused takes no name, as no sign-in does: whoever has but a password would keep names for good.
    const admitted = generation.standing(session, clock.nowMs())?.outcome.admit === true;
    if (admitted && upstream.username.bind) {
      const conflict = await claimIdentity(bindings, { identity, issuer, source: config.id }, upstream);
      if (conflict !== undefined) {
        createRecorder(deps, { facts, source }).conflicted(conflict, auditUser(identity));
        return refusedUser(conflict.code);
      }
    }
    return { ok: true, session };
  }

  return function openBearer(token, facts, generation) {
    const hash = createHash('sha256').update(token).digest('base64url');
    const { good, bad, flights } = memoryOf(generation);
    const nowMs = clock.nowMs();
    const remembered = good.get(hash) ?? bad.get(hash);
    // Also not where the clock was set back: nothing is remembered for longer than it was meant to be.
    if (
      remembered !== undefined &&
      nowMs < remembered.untilMs &&
      remembered.untilMs - nowMs <= maxRememberedMs
    )
      return remembered.result;
    // Whoever has had a good one is not held up by a neighbour's bad ones each time that it is due for another look.
    const waitSeconds = good.get(hash)?.result.ok === true ? undefined : bound.wait(facts.clientIp);
    if (waitSeconds !== undefined) {
      meter.rateLimited('bearer');
      return tooManyBad(waitSeconds);
    }
    // A client that begins with many requests at once has its token looked at once.
    let flight = flights.get(hash);
    if (flight === undefined) {
      flight = open(token, hash, facts, generation).finally(() => flights.delete(hash));
      flights.set(hash, flight);
    }
    return flight;
  };
}

/** A claim of our own making: no token has it, since it is put over what a token says. */
const ownClaim = 'sallyport_username';

const headerClaimsOf = ({ identity_headers: rules }: UpstreamConfig): readonly string[] | undefined =>
  rules?.map(({ claim }) => claim);
