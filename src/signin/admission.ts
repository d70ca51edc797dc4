import { stand } from '../assurance/outcome.ts';
import { claimIdentity, isGranted } from '../identity/binding-claim.ts';
import { createBindings } from '../identity/binding.ts';
import { createKnownNames } from '../identity/known-name.ts';
import { resolveIdentity, type IdentityResult } from '../identity/resolve.ts';
import { nowSeconds } from '../kernel/clock.ts';
import { randomToken } from '../kernel/randomness.ts';
import { boundCookieNames } from '../policy/forge-routes.ts';
import type { VerifiedSignIn } from '../provider/types.ts';
import { expiredBoundCookies, lineageOf } from '../session/bound-cookies.ts';
import { cardOf } from '../session/card.ts';
import { serializeExpiredCookie, serializeSessionCookie } from '../session/cookie.ts';
import { keptTokens } from '../session/kept-tokens.ts';
import { createEndNotes, type NotedSignIn } from '../session/end-notes.ts';
import type { Identity, Judgement, OpenedSession, SessionRecord } from '../session/types.ts';
import type { Attempt } from './attempt.ts';
import { cookieSite } from './attempt-cookies.ts';
import { recordEnded } from './ended-audit.ts';
import { auditUser, claimedUser, createRecorder, recordSessionEnd } from './sign-in-audit.ts';
import { createFreshnessWatch, shortfallOf } from './step-up.ts';
import type { SentOn, SignInDeps, SignInRefused, SignInRequest } from './types.ts';

/** Turns a verified sign-in into a session, or into a refusal. */
export interface Admission {
  /**
   * @param currentCookie the browser's session cookie value, if it has one
   * @throws store_unavailable
   */
  admit(
    request: SignInRequest,
    attempt: Attempt,
    signIn: VerifiedSignIn,
    currentCookie: string | undefined,
  ): Promise<SentOn | SignInRefused>;
}

/** The admission over its ports. */
export function createAdmission(deps: SignInDeps): Admission {
  const { sessions, meter, clock } = deps;
  const bindings = createBindings(deps);
  const knownNames = createKnownNames(deps, bindings);
  const watchFreshness = createFreshnessWatch(deps);
  const notes = createEndNotes(deps);

  async function admit(
    request: SignInRequest,
    attempt: Attempt,
    signIn: VerifiedSignIn,
    currentCookie: string | undefined,
  ): Promise<SentOn | SignInRefused> {
    const { generation, source, facts } = request;
    const { config, policy } = source;
    const { upstream } = generation.config;
    const recorder = createRecorder(deps, request);
    const site = cookieSite(generation, facts.origin);
    const { returnTo } = attempt;
    const stepUp = attempt.purpose === 'step_up';

    const setCookies: string[] = [];
    const current = stepUp && currentCookie !== undefined ? await sessions.open(currentCookie) : undefined;
    const changed = current !== undefined && isAnotherSubject(request, signIn, current);
    const boundCookies = expiredBoundCookies(boundCookieNames(upstream), site.secure);
    if (changed && currentCookie !== undefined) {
      // Whoever came back is not who was sent: the session that asked for more ends, whatever is decided about this one.
      await endSession(request, currentCookie, 'subject_changed');
      setCookies.push(serializeExpiredCookie(site.name, site.secure), ...boundCookies);
    }

    const headerClaims = upstream.identity_headers?.map(({ claim }) => claim);
    const resolved = resolveIdentity(signIn, config, upstream.username, upstream.preset, headerClaims);
    const admissible = resolved.ok ? resolved : await admitReserved(request, resolved);
    if (!admissible.ok) {
      const { code, observed } = admissible;
      recorder.failed(code, { observed }, claimedUser(signIn.claims));
      return refuse(code, returnTo, setCookies);
    }
    const { identity } = admissible;

    const now = nowSeconds(clock);
    const subject = {
      verifiedEmail: identity.emailVerified ? identity.email : undefined,
      groups: identity.groups,
    };
    const standing = stand(signIn.claims, policy, subject, now, clock.nowMs());
    const { verdict, outcome } = standing;
    recorder.verdict(standing);
    if (policy.maxAuthAgeSeconds !== undefined) watchFreshness(config.id, verdict.reason);
    if (!outcome.admit) {
      if (stepUp) meter.stepUp(config.id, 'insufficient');
      const { reason } = outcome;
      recorder.rejected(
        { observed: verdict.observed, required: verdict.required, reason },
        auditUser(identity),
      );
      return {
        ...refuse(reason, returnTo, setCookies),
        mfa: { reason, observed: verdict.observed },
      };
    }

    if (upstream.username.bind) {
      const conflict = await claimIdentity(
        bindings,
        { identity, issuer: config.issuer, source: config.id },
        upstream,
      );
      if (conflict !== undefined) {
        recorder.conflicted(conflict, auditUser(identity));
        return refuse(conflict.code, returnTo, setCookies);
      }
      await knownNames.remember({ issuer: config.issuer, subject: identity.subject }, identity.username);
    }

    // Whoever only proved more stays who the upstream takes them for; anyone else must not find a cookie of the one before.
    const steady =
      current !== undefined && !changed && current.record.identity.username === identity.username;
    const lineage = steady ? lineageOf(current) : randomToken(deps.randomness, 128);
    const record = { ...recordOf(request, attempt, signIn, identity, now), lineage };
    const judgement: Judgement = {
      aal: outcome.aal,
      status: outcome.status,
      evidence: verdict.evidence,
      weak: verdict.weak,
    };
    const { cookieValue, session } = await sessions.create(record, judgement);
    // Only now: a logout that has not found this session has left its note before.
    const card = cardOf(record, judgement);
    const why = await notes.find(card, whenSignedIn(attempt, signIn)).catch(async (error: unknown) => {
      // Nobody has its cookie. Where it can't be ended either, it ends by itself.
      await sessions.end(cookieValue).catch(() => undefined);
      throw error;
    });
    if (why !== undefined) {
      await sessions.end(cookieValue);
      recordEnded(deps, request, { key: session.key ?? '', card }, config.id, why);
      const detail = 'signed_out_meanwhile';
      recorder.failed('state_invalid', { detail }, auditUser(identity));
      return { ...refuse('state_invalid', returnTo, setCookies), status: 400, detail };
    }
    if (currentCookie !== undefined && !changed) await endSession(request, currentCookie, 'replaced');
    recorder.succeeded(record, standing);
    if (stepUp) {
      const shortfall = shortfallOf(generation, record, standing, returnTo, clock.nowMs());
      meter.stepUp(config.id, shortfall === undefined ? 'satisfied' : 'insufficient');
      watchFreshness(config.id, shortfall);
      if (current !== undefined && !changed) recorder.steppedUp(record, standing, current.record, shortfall);
    }
    setCookies.push(serializeSessionCookie(site.name, cookieValue, site.secure));
    if (!steady && !changed) setCookies.push(...boundCookies);
    return { kind: 'signed_in', location: returnTo, setCookies };
  }

  /** Names that nobody gets by signing in: whom the operator has given one may have it. */
  async function admitReserved(
    { generation, source }: SignInRequest,
    refused: Extract<IdentityResult, { ok: false }>,
  ): Promise<IdentityResult> {
    const { identity } = refused;
    if (identity === undefined || !generation.config.upstream.username.bind) return refused;
    const { issuer } = source.config;
    return (await isGranted(bindings, { identity, issuer })) ? { ok: true, identity } : refused;
  }

  function isAnotherSubject(
    { source }: SignInRequest,
    { claims }: VerifiedSignIn,
    { record }: OpenedSession,
  ): boolean {
    const { config } = source;
    return (
      record.source !== config.id ||
      record.issuer !== config.issuer ||
      record.identity.subject !== claims['sub']
    );
  }

  async function endSession(
    request: SignInRequest,
    cookieValue: string,
    why: 'replaced' | 'subject_changed',
  ): Promise<void> {
    const ended = await sessions.end(cookieValue);
    if (ended !== undefined) recordSessionEnd(deps, request, ended, why);
  }

  function recordOf(
    { source, generation }: SignInRequest,
    attempt: Attempt,
    signIn: VerifiedSignIn,
    identity: Identity,
    now: number,
  ): SessionRecord {
    const { config } = source;
    return {
      version: 1,
      id: randomToken(deps.randomness, 128),
      source: config.id,
      issuer: config.issuer,
      clientId: config.client_id,
      identity,
      claims: signIn.claims,
      issuedAt: now,
      authenticatedAt: now,
      expiresAt: now + Math.floor(generation.config.session.absolute_timeout / 1000),
      forced: attempt.purpose === 'step_up',
      tokens: keptTokens(signIn, generation.config.upstream.pass_access_token, now),
    };
  }

  return { admit };
}

/** By its ID token, which the IdP's own clock dates, and by the moment that the browser was sent there. */
function whenSignedIn({ createdAt, createdAtMs }: Attempt, { claims }: VerifiedSignIn): NotedSignIn {
  const { iat, auth_time: authTime } = claims;
  return {
    tokenIssuedAt: iat as number,
    authenticatedAt: typeof authTime === 'number' ? authTime : undefined,
    begunAtMs: createdAtMs ?? createdAt * 1000,
  };
}

function refuse(code: string, returnTo: string, setCookies: readonly string[]): SignInRefused {
  const plain = { detail: undefined, mfa: undefined, idp: undefined };
  return { kind: 'refused', status: 403, code, ...plain, returnTo, setCookies };
}
