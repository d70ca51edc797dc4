import type { Standing } from '../assurance/types.ts';
import type { AuditSink } from '../audit/types.ts';
import { sourceOf, type Generation } from '../generation.ts';
import { nowSeconds, type Clock } from '../kernel/clock.ts';
import { isFault, SallyportError } from '../kernel/error.ts';
import type { Meter } from '../kernel/meter.ts';
import type { Randomness } from '../kernel/randomness.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import type { VerifiedRefresh } from '../provider/types.ts';
import { isRefreshDue, spentTokens } from '../session/kept-tokens.ts';
import { createLeases } from '../session/leases.ts';
import type {
  HeldRecord,
  OpenedSession,
  SessionRecord,
  SessionRewriting,
  Store,
  StoredSession,
} from '../session/types.ts';
import { createRefreshBackoff } from './refresh-backoff.ts';
import { refreshedRecord } from './refreshed-record.ts';
import { auditUser } from './sign-in-audit.ts';

/** What became of a refresh: the label of its metric, and the `result` of its audit event. */
export type RefreshResult = Parameters<Meter['tokenRefresh']>[1];

/** Refreshes the tokens of sessions. */
export interface TokenRefresh {
  /**
   * Told by a request that its session's tokens are due: sees to it that they are refreshed, once for all requests and replicas.
   * @returns something to wait for, never long and never rejecting, only where the upstream would get an access token that has expired
   */
  due(session: OpenedSession, facts: RequestFacts, generation: Generation): Promise<void> | undefined;
  /** Begins no more, and waits a little for what is under way: a token that is spent has to be written down. */
  close(): Promise<void>;
}

/** What {@link createTokenRefresh} is made of. */
export interface TokenRefreshDeps {
  readonly sessions: SessionRewriting;
  readonly store: Store;
  readonly audit: AuditSink;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly randomness: Randomness;
  /** The generation in force. */
  readonly current: () => Generation;
  readonly logWarning: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly logFault: (error: unknown) => void;
}

interface Flight {
  readonly key: string;
  readonly source: string;
  readonly facts: RequestFacts;
  readonly promise: Promise<void>;
  /** A request waits for it. */
  awaited: boolean;
}

/** A request waits no longer: an IdP gets 10 s to answer (SPEC section 12). Milliseconds. */
const patienceMs = 10_000;
/** How often the store is asked what became of another replica's refresh, and how many times at most. */
const pollEveryMs = 200;
const mostPolls = 50;
/** What was spent is written down, if the store fails, by trying again: so often, and after so long each time. */
const mostWrites = 240;
const rewriteAfterMs = 500;
/**
 * An outage outlasts leases. Whoever spent a token before it has so long after it to write that down, before anybody spends anew what the
 * store still holds. Longer than it takes a replica to find the store again, and {@link rewriteAfterMs}.
 */
const settleMs = 3000;
const closeWithinMs = 5000;

/** Token refresh over its ports (SPEC section 6). */
export function createTokenRefresh(deps: TokenRefreshDeps): TokenRefresh {
  const { sessions, clock, meter } = deps;
  const leases = createLeases(deps);
  const backoff = createRefreshBackoff(deps);
  const flights = new Map<string, Flight>();
  let closed = false;

  function due(
    session: OpenedSession,
    facts: RequestFacts,
    generation: Generation,
  ): Promise<void> | undefined {
    const { key, record } = session;
    const nowMs = clock.nowMs();
    if (key === undefined || closed) return undefined;
    // Who opens nothing needs no tokens; and no refresh would change that.
    if (generation.standing(session, nowMs)?.outcome.admit !== true) return undefined;
    if (generation.sources.get(record.source)?.provider.refresh === undefined) return undefined;
    const { accessTokenExpiresAt = Infinity } = record.tokens;
    const waits = generation.config.upstream.pass_access_token && nowMs >= accessTokenExpiresAt * 1000;
    const flight = flights.get(key) ?? begin(key, record.source, facts, waits);
    if (flight === undefined || !waits) return undefined;
    flight.awaited = true;
    return Promise.race([flight.promise, pause(patienceMs)]);
  }

  function begin(key: string, source: string, facts: RequestFacts, eager: boolean): Flight | undefined {
    if (!backoff.mayBegin(key, source, eager)) return undefined;
    backoff.begun(key, source);
    const state = { key, source, facts, awaited: eager };
    const promise = fly(state)
      .catch((error: unknown) => {
        if (!isFault(error, 'store_unavailable')) deps.logFault(error);
        backoff.yielded(key);
      })
      .finally(() => {
        flights.delete(key);
        backoff.ended(key, source);
      });
    const flight: Flight = Object.assign(state, { promise });
    flights.set(key, flight);
    return flight;
  }

  /** Whether a lease says who is at it. While the store is down it says so itself. */
  function isSettled(): boolean {
    const { up, again, sinceMs, sinceSteadyMs } = deps.store.health();
    if (!up || again === undefined) return true;
    const steadyMs = clock.steadyMs?.();
    const sinceThenMs =
      steadyMs === undefined || sinceSteadyMs === undefined
        ? clock.nowMs() - sinceMs
        : steadyMs - sinceSteadyMs;
    return sinceThenMs < 0 || sinceThenMs >= settleMs;
  }

  /** One refresh of one session: by this replica if it gets the lease; else another one is at it, and whoever waits looks what becomes of it. */
  async function fly(flight: Omit<Flight, 'promise'>): Promise<void> {
    const { key } = flight;
    let cookieValue: string | undefined;
    for (let polls = 0; polls <= mostPolls && !closed; polls += 1) {
      const lease = isSettled() ? await leases.take(`lock:${key}`) : undefined;
      if (lease !== undefined) {
        try {
          await refresh(flight, await sessions.read(key, cookieValue));
        } finally {
          await lease.release();
        }
        return;
      }
      if (!flight.awaited) {
        backoff.yielded(key);
        return;
      }
      await pause(pollEveryMs);
      const stored = await sessions.read(key, cookieValue);
      if (stored === undefined || !isRefreshDue(stored, clock.nowMs())) {
        sessions.recheck(key);
        return;
      }
      ({ cookieValue } = stored);
    }
  }

  /** Under the lease: what the store holds now counts, since another replica may just have been here. */
  async function refresh(flight: Omit<Flight, 'promise'>, stored: StoredSession | undefined): Promise<void> {
    if (stored === undefined) return;
    const { key, source: sourceId } = flight;
    const { record } = stored;
    const { refreshToken } = record.tokens;
    const source = sourceOf(record, deps.current());
    if (refreshToken === undefined || source === undefined || !isRefreshDue(stored, clock.nowMs())) {
      sessions.recheck(key);
      return;
    }
    const { provider } = source;
    let answer;
    try {
      answer = await provider.refresh?.({ refreshToken, signIn: record.claims });
    } catch (error) {
      if (isFault(error, 'token_invalid')) {
        backoff.answered(key, sourceId);
        const detail = error instanceof SallyportError ? error.detail : undefined;
        await giveUp(flight, stored, 'rejected', { detail });
        return;
      }
      if (!isFault(error, 'idp_unavailable')) throw error;
      meter.tokenRefresh(sourceId, 'failed');
      if (backoff.failed(key, sourceId) === 1) {
        deps.logWarning('tokens cannot be refreshed: sessions go on without, and it is tried again', {
          auth_source: sourceId,
          cause: error instanceof Error ? error.message : undefined,
        });
      }
      return;
    }
    if (answer === undefined) return;
    backoff.answered(key, sourceId);
    if ('refused' in answer) {
      const { error, description } = answer.refused;
      await giveUp(flight, stored, 'refused', { idp_error: error, idp_error_description: description });
      return;
    }
    await take(flight, stored, answer.refreshed);
  }

  async function take(
    flight: Omit<Flight, 'promise'>,
    stored: StoredSession,
    brought: VerifiedRefresh,
  ): Promise<void> {
    const generation = deps.current();
    const source = sourceOf(stored.record, generation);
    const judge = judgeIn(generation);
    // The source is gone meanwhile: the session opens nothing, and so may its tokens.
    if (source === undefined) return;
    const { record, standing, lowered, groupsChanged, narrowed } = refreshedRecord(
      stored.record,
      brought,
      source,
      judge,
      generation.config.upstream.pass_access_token,
      nowSeconds(clock),
    );
    if (!(await write(stored, record, narrowed ? standing : undefined, narrowed))) return;
    tell(flight, record, standing, lowered ? 'lowered' : 'refreshed', {
      lowered,
      ...(lowered ? { reason: standing.verdict.reason, observed: standing.verdict.observed } : {}),
      ...(groupsChanged ? { groups: record.identity.groups } : {}),
    });
  }

  /** That refresh token is of no more use; the session lives on to its own limits. */
  async function giveUp(
    flight: Omit<Flight, 'promise'>,
    stored: StoredSession,
    result: 'refused' | 'rejected',
    fields: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { record } = stored;
    const next = { ...record, tokens: spentTokens(record.tokens, nowSeconds(clock)) };
    if (!(await write(stored, next, undefined, false))) return;
    const standing = judgeIn(deps.current())(next);
    tell(flight, next, standing, result, { lowered: false, ...fields });
  }

  /** Writes down what was spent, again and again if need be: what is forgotten now nobody can refresh any more. */
  async function write(
    stored: StoredSession,
    record: SessionRecord,
    standing: Standing | undefined,
    narrowed: boolean,
  ): Promise<boolean> {
    const judgement = standing === undefined ? undefined : judgementOf(standing);
    for (let tries = 1; ; tries += 1) {
      try {
        if (await sessions.rewrite(stored, record, judgement, narrowed)) return true;
        if (tries === 1) return false;
        // An answer that was lost: it may be ours that stands there.
        const now = await sessions.read(stored.key, stored.cookieValue);
        sessions.recheck(stored.key);
        const { refreshToken, refreshDueAt } = record.tokens;
        return (
          now?.record.tokens.refreshToken === refreshToken && now?.record.tokens.refreshDueAt === refreshDueAt
        );
      } catch (error) {
        if (!isFault(error, 'store_unavailable')) throw error;
        if (tries === mostWrites || closed) {
          const { source: auth_source, id: session_id } = record;
          meter.tokenRefresh(auth_source, 'failed');
          deps.logWarning(
            'refreshed tokens could not be written down: the session goes on without refreshes',
            {
              auth_source,
              session_id,
            },
          );
          throw error;
        }
        await pause(rewriteAfterMs);
      }
    }
  }

  function judgeIn(generation: Generation): (record: HeldRecord) => Standing {
    return (record) => {
      const standing = generation.standing({ record }, clock.nowMs());
      if (standing === undefined)
        throw new SallyportError('internal', 'a session of no source was refreshed');
      return standing;
    };
  }

  function tell(
    { facts, source }: Omit<Flight, 'promise'>,
    record: HeldRecord,
    { outcome }: Standing,
    result: RefreshResult,
    fields: Readonly<Record<string, unknown>>,
  ): void {
    meter.tokenRefresh(source, result);
    deps.audit.write({
      action: 'session.refreshed',
      requestId: facts.id,
      traceparent: facts.traceparent,
      clientIp: facts.clientIp,
      user: auditUser(record.identity),
      authSource: source,
      tenant: deps.current().sources.get(source)?.config.tenant,
      fields: { session_id: record.id, result, aal: outcome.aal, ...fields },
    });
  }

  return {
    due,
    async close() {
      closed = true;
      const underWay = Promise.all([...flights.values()].map(({ promise }) => promise));
      await Promise.race([underWay, pause(closeWithinMs)]);
    },
  };
}

function judgementOf({ outcome, verdict }: Standing) {
  return { aal: outcome.aal, status: outcome.status, evidence: verdict.evidence, weak: verdict.weak };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
