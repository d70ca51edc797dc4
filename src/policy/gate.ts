import { checkAuthTime, clockSkewSeconds } from '../assurance/decide.ts';
import type { GateDecision, GateRequest, RouteRule, SessionFacts } from './types.ts';

/** Methods that change nothing. @see RFC 9110 section 9.2.1 */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * The gate's decision for one request (SPEC section 5). Pure; one function serves HTTP and WebSocket alike.
 *
 * The order: what is closed to everyone; where a WebSocket comes from; who is there; where a changing request comes from; whether this
 * user is meant at all; and only then whether the sign-in is strong and fresh enough, so that nobody is sent to the IdP for a door
 * that stays shut.
 *
 * @param session what is known of the request's session; undefined without one, or with one whose source is gone.
 * @param nowMs milliseconds since the epoch.
 */
export function decideGate(
  rule: RouteRule,
  request: GateRequest,
  session: SessionFacts | undefined,
  nowMs: number,
): GateDecision {
  switch (rule.access) {
    case 'deny':
      return decideDenied(rule, request, session);
    case 'public':
      return decidePublic(request, session);
    case 'session':
      return decideSession(rule, request, session, nowMs);
    case 'credentials':
      return decideCredentials(rule, request, session, nowMs);
    case 'upstream':
      // The upstream asks for its own means: no session of ours may stand in for them.
      return comesFromForeignSocket(request) ? refuse('origin_not_allowed') : passOn;
    case 'bearer':
      return decideBearer(rule, request, session, nowMs);
    default:
      return refuse('access_not_supported');
  }
}

const refuse = (code: string): GateDecision => ({ kind: 'refuse', status: 403, code });

/** With what the client brought itself, and nothing of ours. */
const passOn: GateDecision = { kind: 'pass', withSession: false, withCredential: true };

function decideDenied(
  rule: RouteRule,
  request: GateRequest,
  session: SessionFacts | undefined,
): GateDecision {
  if (!rule.signInInstead || !request.navigation || request.upgrade) return refuse('route_denied');
  if (session === undefined) return { kind: 'sign_in', reason: 'session_required' };
  return session.standing.outcome.admit
    ? { kind: 'redirect_home' }
    : { kind: 'sign_in', reason: 'session_not_sufficient' };
}

function decidePublic(request: GateRequest, session: SessionFacts | undefined): GateDecision {
  if (comesFromForeignSocket(request)) return refuse('origin_not_allowed');
  // A session that opens nothing is no session: the request goes on without it, as anybody's would.
  if (session?.standing.outcome.admit !== true) return { kind: 'pass', withSession: false };
  return isForged(request) ? refuse('cross_site_request') : { kind: 'pass', withSession: true };
}

/**
 * A credential decides alone, whatever session came along: an upstream that cannot make sense of it must find nothing else to go by.
 * What narrows a session says nothing about a credential, which the upstream checks.
 */
function decideCredentials(
  rule: RouteRule,
  request: GateRequest,
  session: SessionFacts | undefined,
  nowMs: number,
): GateDecision {
  switch (request.credential) {
    case 'token':
      return comesFromForeignSocket(request) ? refuse('origin_not_allowed') : passOn;
    case 'password':
      return { kind: 'refuse_credential', code: 'password_refused' };
    case 'malformed':
      return { kind: 'refuse_credential', code: 'credential_malformed' };
    case undefined:
      break;
    default:
      return refuse('credential_malformed');
  }
  if (session?.standing.outcome.admit !== true && !request.navigation && !request.upgrade)
    return { kind: 'ask_credential' };
  return decideSession(rule, request, session, nowMs);
}

/**
 * An access token decides alone, whatever session came along. Whoever sends one is no browser: nothing is forged in its name, and it is
 * told what would do, rather than sent anywhere.
 */
function decideBearer(
  rule: RouteRule,
  request: GateRequest,
  session: SessionFacts | undefined,
  nowMs: number,
): GateDecision {
  const { bearer } = request;
  if (bearer === undefined) {
    if (session?.standing.outcome.admit !== true && !request.navigation && !request.upgrade)
      return { kind: 'ask_bearer' };
    return decideSession(rule, request, session, nowMs);
  }
  if (comesFromForeignSocket(request)) return refuse('origin_not_allowed');
  if (!bearer.taken) return { kind: 'refuse_bearer', refusal: bearer };
  if (session === undefined) return refuse('access_not_supported');
  if (!session.standing.outcome.admit) {
    const { maxAuthAgeSeconds } = rule;
    return { kind: 'step_up', reason: 'aal2_required', requireAal: 'aal2', maxAuthAgeSeconds };
  }
  const outsider = judgeUser(rule, session);
  if (outsider !== undefined) return refuse(outsider);
  return judgeAssurance(rule, session, Math.floor(nowMs / 1000)) ?? { kind: 'pass', withSession: true };
}

function decideSession(
  rule: RouteRule,
  request: GateRequest,
  session: SessionFacts | undefined,
  nowMs: number,
): GateDecision {
  if (comesFromForeignSocket(request)) return refuse('origin_not_allowed');
  if (session === undefined)
    return rule.endsSession && request.navigation
      ? { kind: 'signed_out' }
      : { kind: 'sign_in', reason: 'session_required' };
  if (!session.standing.outcome.admit) return { kind: 'sign_in', reason: 'session_not_sufficient' };
  if (rule.endsSession ? isNoSignOut(request) : isForged(request)) return refuse('cross_site_request');
  const outsider = judgeUser(rule, session);
  if (outsider !== undefined) return refuse(outsider);
  return judgeAssurance(rule, session, Math.floor(nowMs / 1000)) ?? { kind: 'pass', withSession: true };
}

/** Cross-site WebSocket hijacking: browsers send cookies with any upgrade, and always an Origin; without one it is no browser of ours. */
function comesFromForeignSocket(request: GateRequest): boolean {
  return (
    request.upgrade &&
    !(request.requestOrigin !== undefined && request.publicOrigins.has(request.requestOrigin))
  );
}

/**
 * Cross-site request forgery: an unsafe method has to come from our own pages or from the user (`none`: typed, bookmarked). Without
 * `Sec-Fetch-Site`, `Origin` decides; without both it is no browser that could be abused.
 * @see W3C Fetch Metadata section 2.3
 */
function isForged(request: GateRequest): boolean {
  return !safeMethods.has(request.method) && isFromElsewhere(request);
}

/**
 * Some forges sign out by GET: another site's link or image must not, nor an image that one user has put into what others read here.
 * @see W3C Fetch Metadata section 2.1
 */
function isNoSignOut(request: GateRequest): boolean {
  const { fetchDest = 'document' } = request;
  return isFromElsewhere(request) || (fetchDest !== 'document' && fetchDest !== 'empty');
}

function isFromElsewhere(request: GateRequest): boolean {
  if (request.fetchSite !== undefined)
    return request.fetchSite !== 'same-origin' && request.fetchSite !== 'none';
  return request.requestOrigin !== undefined && !request.publicOrigins.has(request.requestOrigin);
}

/** Whether the route means this user: every list that is written has to be satisfied; an empty one is satisfied by nobody. */
function judgeUser(rule: RouteRule, session: SessionFacts): string | undefined {
  if (rule.sources?.includes(session.sourceId) === false) return 'source_not_allowed';
  if (rule.groups !== undefined) {
    const { groups } = rule;
    if (session.groups?.some((group) => groups.includes(group)) !== true) return 'group_not_allowed';
  }
  if (rule.emails !== undefined) {
    const email = session.verifiedEmail?.toLowerCase();
    const named = email !== undefined && rule.emails.some((entry) => entry.toLowerCase() === email);
    if (!named) return 'email_not_allowed';
  }
  return undefined;
}

/** Whether the sign-in is strong and fresh enough: undefined when it is. One fresh sign-in may mend it; what that did not mend is 403. */
function judgeAssurance(
  rule: RouteRule,
  session: SessionFacts,
  nowSeconds: number,
): GateDecision | undefined {
  const { requireAal, maxAuthAgeSeconds } = rule;
  const { outcome } = session.standing;
  if (requireAal === 'aal2' && outcome.aal !== 'aal2') {
    const attested = outcome.status === 'attested';
    if (!attested || !rule.acceptAttested) {
      const reason = attested ? 'attested_not_accepted' : 'aal2_required';
      return session.forced ? refuse(reason) : { kind: 'step_up', reason, requireAal, maxAuthAgeSeconds };
    }
  }
  if (maxAuthAgeSeconds === undefined) return undefined;
  const stale = checkAuthTime(session.authTime, maxAuthAgeSeconds, nowSeconds);
  if (stale === undefined) return undefined;
  // A sign-in that was forced within the window and still does not satisfy: the IdP ignores max_age, and asking again would loop.
  const ignored =
    session.forced && nowSeconds - session.authenticatedAt <= maxAuthAgeSeconds + clockSkewSeconds;
  return ignored ? refuse(stale) : { kind: 'step_up', reason: stale, requireAal, maxAuthAgeSeconds };
}
