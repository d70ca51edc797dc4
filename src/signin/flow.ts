import { claimsToRequest } from '../assurance/policy.ts';
import { SallyportError } from '../kernel/error.ts';
import { nowSeconds } from '../kernel/clock.ts';
import { readCookie, serializeExpiredCookie } from '../session/cookie.ts';
import type { VerifiedSignIn } from '../provider/types.ts';
import { createAdmission } from './admission.ts';
import {
  attemptLifeSeconds,
  createAttempt,
  policyFingerprint,
  stateDigest,
  type Attempt,
} from './attempt.ts';
import { beginAttemptCookies, cookieSite } from './attempt-cookies.ts';
import { findAttempt, type StateFault } from './callback-state.ts';
import { judgeIdpRefusal } from './idp-refusal.ts';
import { createRecorder } from './sign-in-audit.ts';
import { stepUpMaxAgeSeconds } from './step-up.ts';
import { auditCanary, reportCanary, type CanaryAnswer } from './canary.ts';
import { createCanaryTickets } from './canary-ticket.ts';
import type { BeginOptions, CanaryDone, SentOn, SignInDeps, SignInRefused, SignInRequest } from './types.ts';

/** A sign-in's two steps. Refusals are data; only a store that cannot answer throws. */
export interface SignInFlow {
  /** Starts an attempt: where to send the browser, and the cookies that go along. @throws store_unavailable */
  begin(request: SignInRequest, options: BeginOptions): Promise<SentOn | SignInRefused>;
  /**
   * Ends an attempt: checks the state, redeems the code, decides, and makes the session.
   *
   * @param query the callback's query string as it came, without `?`
   * @throws store_unavailable
   */
  complete(request: SignInRequest, query: string): Promise<SentOn | SignInRefused | CanaryDone>;
}

/** The redirect URI of a source on an origin; one for each source (mix-up defence, RFC 9700 section 4.4). */
export function redirectUri(origin: string, pathPrefix: string, sourceId: string): string {
  return `${origin}${pathPrefix}/callback/${sourceId}`;
}

/** The sign-in flow over its ports. */
export function createSignInFlow(deps: SignInDeps): SignInFlow {
  const admission = createAdmission(deps);
  const tickets = createCanaryTickets(deps);

  async function start(
    request: SignInRequest,
    options: BeginOptions,
    restarted: boolean,
  ): Promise<SentOn | SignInRefused> {
    const { facts, generation, source, cookieHeader } = request;
    const { canary } = options;
    const fresh = options.fresh || options.stepUp || canary !== undefined;
    const attempt = createAttempt(
      {
        source: source.config.id,
        purpose: canary !== undefined ? 'canary' : options.stepUp ? 'step_up' : 'signin',
        fingerprint: policyFingerprint(source),
        returnTo: options.returnTo,
        origin: facts.origin,
        fresh,
        restarted,
        canary,
      },
      deps,
    );
    let url: URL;
    try {
      url = await source.provider.authorizationUrl({
        redirectUri: redirectUri(facts.origin, generation.config.server.path_prefix, source.config.id),
        state: attempt.state,
        nonce: attempt.nonce,
        codeVerifier: attempt.verifier,
        acrValues: source.policy.acrValues,
        requestedClaims: claimsToRequest(source.policy, deps.clock.nowMs()),
        maxAgeSeconds:
          options.stepUp && !options.fresh
            ? stepUpMaxAgeSeconds(generation, source, options.returnTo)
            : fresh
              ? 0
              : source.policy.maxAuthAgeSeconds,
        prompt: options.selectAccount ? 'select_account' : fresh ? 'login' : undefined,
        loginHint: options.loginHint,
      });
    } catch (error) {
      return refuseFault(request, error, options.returnTo, [], canary !== undefined);
    }
    const setCookies = beginAttemptCookies(
      deps.sealing,
      cookieSite(generation, facts.origin),
      cookieHeader,
      attempt,
    );
    return { kind: 'sent_to_idp', location: url.href, setCookies };
  }

  async function complete(
    request: SignInRequest,
    query: string,
  ): Promise<SentOn | SignInRefused | CanaryDone> {
    const { facts, generation, source, cookieHeader } = request;
    const site = cookieSite(generation, facts.origin);
    const parameters = new URLSearchParams(query);
    const found = findAttempt(deps.sealing, site, {
      cookieHeader,
      states: parameters.getAll('state'),
      sourceId: source.config.id,
      origin: facts.origin,
      now: nowSeconds(deps.clock),
    });
    if (!found.ok) {
      const spent =
        found.cookieName === undefined ? [] : [serializeExpiredCookie(found.cookieName, site.secure)];
      return refuseState(request, found.fault, found.returnTo, spent);
    }
    const { attempt, cookieName } = found;
    const spent = [serializeExpiredCookie(cookieName, site.secure)];
    const first = await deps.store.putIfAbsent(
      `attempt:${stateDigest(attempt.state)}`,
      Buffer.of(1),
      // As long as the cookie could come back, with the clock skew between two replicas.
      (attemptLifeSeconds + 120) * 1000,
    );
    if (!first) return refuseState(request, 'attempt_replayed', attempt.returnTo, spent);

    if (attempt.fingerprint !== policyFingerprint(source) && !attempt.restarted) {
      // What was asked for is not what is asked for now: the answer could only be judged by what it was not asked.
      const again = await start(request, restartOptions(attempt), true);
      return { ...again, setCookies: [...spent, ...again.setCookies] };
    }

    let signIn: VerifiedSignIn;
    try {
      const uri = redirectUri(facts.origin, generation.config.server.path_prefix, source.config.id);
      const answer = await source.provider.exchange({
        callbackUrl: new URL(`${uri}?${query}`),
        redirectUri: uri,
        state: attempt.state,
        nonce: attempt.nonce,
        codeVerifier: attempt.verifier,
      });
      if (attempt.purpose === 'canary') return await endCanary(request, attempt, answer, spent);
      if ('refused' in answer) {
        return judgeIdpRefusal(deps, request, answer.refused, attempt, spent);
      }
      signIn = answer.signIn;
    } catch (error) {
      if (attempt.purpose === 'canary')
        return await endCanary(request, attempt, faultIn(error), spent, error);
      return refuseFault(request, error, attempt.returnTo, spent, false);
    }
    const result = await admission.admit(request, attempt, signIn, readCookie(cookieHeader, site.name));
    return { ...result, setCookies: [...spent, ...result.setCookies] };
  }

  /** Shows what came instead of deciding what follows: no session is started, none is looked at, and none is ended. */
  async function endCanary(
    request: SignInRequest,
    attempt: Attempt,
    answer: CanaryAnswer,
    setCookies: readonly string[],
    fault?: unknown,
  ): Promise<CanaryDone> {
    if (fault !== undefined) deps.logFault(fault, request.facts);
    const report = reportCanary(deps, request, answer);
    const { origin = 'anyone', startedBy, ticket } = attempt.canary ?? {};
    auditCanary(deps, request, origin, startedBy, answer, report);
    // An IdP that is down says nothing about MFA: the link may be tried again.
    const delivered =
      ticket === undefined
        ? 'no'
        : report.result === 'idp_unavailable'
          ? 'link_open'
          : (await tickets.settle(ticket, report))
            ? 'delivered'
            : 'link_used';
    return { kind: 'canary', report, delivered, setCookies };
  }

  function refuseState(
    request: SignInRequest,
    fault: StateFault,
    returnTo: string,
    setCookies: readonly string[],
  ): SignInRefused {
    createRecorder(deps, request).failed('state_invalid', { detail: fault }, undefined);
    return refused({ status: 400, code: 'state_invalid', detail: fault, returnTo, setCookies });
  }

  /** A fault of the IdP is a refusal of this sign-in, with a page of its own; any other goes on up. */
  function refuseFault(
    request: SignInRequest,
    error: unknown,
    returnTo: string,
    setCookies: readonly string[],
    canary: boolean,
  ): SignInRefused {
    const { fault: code, detail } = faultIn(error);
    deps.logFault(error, request.facts);
    // A canary is no sign-in that failed.
    if (!canary)
      createRecorder(deps, request).failed(code, detail === undefined ? {} : { detail }, undefined);
    return refused({ status: code === 'token_invalid' ? 403 : 503, code, detail, returnTo, setCookies });
  }

  return { begin: (request, options) => start(request, options, false), complete };
}

/** What an IdP did wrong, as data; every other fault goes on up. */
function faultIn(error: unknown): Extract<CanaryAnswer, { fault: unknown }> {
  if (!(error instanceof SallyportError)) throw error;
  const { code, detail } = error;
  if (code !== 'idp_unavailable' && code !== 'token_invalid') throw error;
  return { fault: code, detail };
}

/** A refusal without MFA or IdP particulars. */
function refused(
  parts: Pick<SignInRefused, 'status' | 'code' | 'detail' | 'returnTo' | 'setCookies'>,
): SignInRefused {
  return { kind: 'refused', mfa: undefined, idp: undefined, ...parts };
}

function restartOptions(attempt: Attempt): BeginOptions {
  return {
    returnTo: attempt.returnTo,
    // Of every step-up a fresh authentication is asked for.
    fresh: attempt.fresh && attempt.purpose !== 'step_up',
    selectAccount: false,
    stepUp: attempt.purpose === 'step_up',
    loginHint: undefined,
    canary: attempt.canary,
  };
}
