import type { IncomingMessage } from 'node:http';
import type { Standing } from '../assurance/types.ts';
import type { Generation } from '../generation.ts';
import type { Clock } from '../kernel/clock.ts';
import { isFault, type FaultCode } from '../kernel/error.ts';
import { createRecent, recentSessions } from '../kernel/recent.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { canonicalTarget } from '../policy/canonical-target.ts';
import { findBearer, findCredential } from '../policy/credential.ts';
import type { CredentialShape } from '../policy/credential.ts';
import { decideGate } from '../policy/gate.ts';
import type { GateRequest, RouteRule, SessionFacts } from '../policy/types.ts';
import { readCookie, sessionCookie } from '../session/cookie.ts';
import { isRefreshDue } from '../session/kept-tokens.ts';
import type { OpenedSession, Sessions } from '../session/types.ts';
import { refusalOf } from './gate-refusals.ts';
import type { BearerResult, OpenBearer, RefreshSession } from './types.ts';

/** What the gate has decided about one request. */
export interface GateResult {
  /** Undefined: the request may pass. */
  readonly refusal: Refusal | undefined;
  /** The rule that matched, if it came to that. */
  readonly rule: RouteRule | undefined;
  /** Who asks, if anyone: for the log in any case, for the upstream only where the rule says so. */
  readonly session: OpenedSession | undefined;
  /** Whether the session's identity and cookies go along. */
  readonly withSession: boolean;
  /** Whether the client's own credential goes along; never beside a session. */
  readonly withCredential: boolean;
  /** The session is that of an access token: neither the client's cookies nor the upstream's belong to it. */
  readonly withToken?: boolean;
}

/** Judges one request; synchronously where memory knows its session. */
export type Gate = (
  raw: IncomingMessage,
  facts: RequestFacts,
  generation: Generation,
) => GateResult | Promise<GateResult>;

const retryAfterSeconds = '5';

/** The gate over a set of sessions. One for HTTP and WebSocket alike. */
export function createGate(
  sessions: Sessions,
  clock: Clock,
  openBearer?: OpenBearer,
  refreshSession?: RefreshSession,
): Gate {
  const originSets = new WeakMap<Generation, ReadonlySet<string>>();
  const sessionFacts = createRecent<OpenedSession, SessionFacts>(recentSessions);

  function originsOf(generation: Generation): ReadonlySet<string> {
    let origins = originSets.get(generation);
    if (origins === undefined) {
      origins = new Set(generation.publicOrigins);
      originSets.set(generation, origins);
    }
    return origins;
  }

  /** What today's policy makes of the session; undefined when it opens nothing. */
  function factsOf(session: OpenedSession, generation: Generation, nowMs: number): SessionFacts | undefined {
    const standing = generation.standing(session, nowMs);
    if (standing === undefined) return undefined;
    const known = sessionFacts.get(session);
    if (known?.standing === standing) return known;
    const made = sessionFactsOf(session, standing);
    sessionFacts.set(session, made);
    return made;
  }

  function conclude(
    rule: RouteRule,
    raw: IncomingMessage,
    facts: RequestFacts,
    generation: Generation,
    session: OpenedSession | undefined,
    credential?: CredentialShape,
    bearer?: GateRequest['bearer'],
  ): GateResult {
    const nowMs = clock.nowMs();
    const known = session === undefined ? undefined : factsOf(session, generation, nowMs);
    const request: GateRequest = {
      method: facts.method,
      navigation: facts.navigation,
      upgrade: facts.upgrade,
      fetchSite: single(raw.headers['sec-fetch-site'])?.toLowerCase(),
      fetchDest: single(raw.headers['sec-fetch-dest'])?.toLowerCase(),
      requestOrigin: raw.headers.origin,
      publicOrigins: originsOf(generation),
      credential,
      bearer,
    };
    const decision = decideGate(rule, request, known, nowMs);
    const opened = known === undefined ? undefined : session;
    if (decision.kind === 'pass') {
      return {
        refusal: undefined,
        rule,
        session: opened,
        withSession: decision.withSession && opened !== undefined,
        withCredential: decision.withCredential === true,
        ...(bearer === undefined ? {} : { withToken: true }),
      };
    }
    return {
      refusal: refusalOf(decision, raw, facts, generation, known),
      rule,
      session: opened,
      withSession: false,
      withCredential: false,
    };
  }

  /** A request with an access token: that alone is looked at. It is no navigation, whoever sends it: it is told, not sent on. */
  function judgeBearer(
    rule: RouteRule,
    raw: IncomingMessage,
    asked: RequestFacts,
    generation: Generation,
  ): GateResult | Promise<GateResult> | undefined {
    const found = findBearer(raw.rawHeaders);
    if (found === undefined) return undefined;
    const facts = { ...asked, navigation: false, formNavigation: false };
    const settle = (result: BearerResult): GateResult =>
      result.ok
        ? conclude(rule, raw, facts, generation, result.session, undefined, { taken: true })
        : conclude(rule, raw, facts, generation, undefined, undefined, { ...result, taken: false });
    if (found === 'malformed' || openBearer === undefined) return settle(noToken);
    const result = openBearer(found.token, facts, generation);
    if (!(result instanceof Promise)) return settle(result);
    return result.then(settle, (error: unknown) => {
      const code = ['store_unavailable', 'idp_unavailable'].find((each) => isFault(error, each as FaultCode));
      if (code === undefined) throw error;
      return { ...refused({ status: 503, code, headers: { 'retry-after': retryAfterSeconds } }), rule };
    });
  }

  return function judge(raw, facts, generation) {
    const target = canonicalTarget(facts.rawTarget);
    if (!target.ok) return refused({ status: 400, code: target.code });
    if (isUnderPrefix(target.path, generation.config.server.path_prefix)) {
      // The plain spelling has gone to our own endpoints already: this is another one, or nothing of ours.
      return refused({ status: 404, code: 'not_found' });
    }
    const rule = generation.matchRoute(facts.method, target);
    // No session can matter: none is looked for, so that neither a cookie nor the store's state makes a difference.
    if (rule.access === 'upstream') return conclude(rule, raw, facts, generation, undefined);
    if (rule.access === 'credentials') {
      const credential = findCredential(raw.rawHeaders, rule.credentialHeaders);
      if (credential !== undefined) return conclude(rule, raw, facts, generation, undefined, credential);
    }
    if (rule.access === 'bearer') {
      const byToken = judgeBearer(rule, raw, facts, generation);
      if (byToken !== undefined) return byToken;
    }
    const cookie = readCookie(
      raw.headers.cookie,
      sessionCookie(generation.config.session.cookie_name, facts.origin.startsWith('https:')),
    );
    if (cookie === undefined) return conclude(rule, raw, facts, generation, undefined);
    const known = sessions.peek(cookie);
    if (known !== undefined) return welcome(rule, raw, facts, generation, known, cookie);
    return sessions
      .open(cookie)
      .then(
        (session) => welcome(rule, raw, facts, generation, session, cookie),
        withoutStore(rule, raw, facts, generation),
      );
  };

  /** Where every session passes that came by its cookie: what is due for refresh is begun here, and waited for only where it must be. */
  function welcome(
    rule: RouteRule,
    raw: IncomingMessage,
    facts: RequestFacts,
    generation: Generation,
    session: OpenedSession | undefined,
    cookie: string,
  ): GateResult | Promise<GateResult> {
    const result = conclude(rule, raw, facts, generation, session);
    // A request that gets nowhere has no need of tokens; most sessions have none that are ever due, and no clock is read for them.
    if (session?.record.tokens.refreshDueAt === undefined || refreshSession === undefined) return result;
    if (rule.access === 'deny' || !isRefreshDue(session, clock.nowMs())) return result;
    const refreshed = refreshSession(session, facts, generation);
    if (refreshed === undefined || !result.withSession) return result;
    return refreshed
      .then(() => sessions.open(cookie))
      .then(
        (renewed) => conclude(rule, raw, facts, generation, renewed),
        withoutStore(rule, raw, facts, generation),
      );
  }

  function withoutStore(
    rule: RouteRule,
    raw: IncomingMessage,
    facts: RequestFacts,
    generation: Generation,
  ): (error: unknown) => GateResult {
    return (error) => {
      if (!isFault(error, 'store_unavailable')) throw error;
      // Who has no need of a session has no need of the store either; everyone else waits, and keeps the cookie.
      if (goesWithoutStore(rule)) return conclude(rule, raw, facts, generation, undefined);
      return {
        ...refused({ status: 503, code: 'store_unavailable', headers: { 'retry-after': retryAfterSeconds } }),
        rule,
      };
    };
  }
}

const noToken: BearerResult = {
  ok: false,
  status: 401,
  code: 'bearer_token_invalid',
  hint: 'the Authorization header holds no access token',
};

function goesWithoutStore(rule: RouteRule): boolean {
  return rule.access === 'public' || (rule.access === 'deny' && !rule.signInInstead);
}

/** What the gate needs to know of a session that stands so. */
export function sessionFactsOf({ record }: OpenedSession, standing: Standing): SessionFacts {
  const { identity } = record;
  const authTime = record.claims['auth_time'];
  return {
    sourceId: record.source,
    groups: identity.groups,
    verifiedEmail: identity.emailVerified ? identity.email : undefined,
    authTime: Number.isInteger(authTime) ? (authTime as number) : undefined,
    authenticatedAt: record.authenticatedAt,
    forced: record.forced,
    standing,
  };
}

/** A refusal before any rule was asked. */
export function refused(refusal: Refusal): GateResult {
  return { refusal, rule: undefined, session: undefined, withSession: false, withCredential: false };
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/**
 * Whether a canonical path lies under our prefix in any reading: case folded, an encoded slash taken for one, path
 * parameters dropped; since the upstream must never see what a user could take for our own page.
 */
export function isUnderPrefix(canonicalPath: string, prefix: string): boolean {
  // The hot path: most paths differ in their second character.
  const second = canonicalPath.charCodeAt(1);
  if (second !== percent && fold(second) !== fold(prefix.charCodeAt(1))) return false;
  const path = canonicalPath
    .toLowerCase()
    .replaceAll('%2f', '/')
    .replace(/;[^/]*/g, '')
    .replace(/\/{2,}/g, '/');
  const under = prefix.toLowerCase();
  return path === under || path.startsWith(`${under}/`);
}

const percent = 0x25;

function fold(code: number): number {
  return code >= 0x41 && code <= 0x5a ? code + 0x20 : code;
}
