import type { IncomingMessage } from 'node:http';
import type { Generation } from '../generation.ts';
import type { Refusal } from '../kernel/refusal.ts';
import type { RequestFacts } from '../kernel/request-facts.ts';
import { isStepUpReason } from '../policy/step-up-reasons.ts';
import type { BearerRefusal, GateDecision, SessionFacts } from '../policy/types.ts';

/** "Who is told what" (SPEC section 5), as data. */
export function refusalOf(
  decision: Exclude<GateDecision, { kind: 'pass' }>,
  raw: IncomingMessage,
  facts: RequestFacts,
  generation: Generation,
  session: SessionFacts | undefined,
): Refusal {
  const signIn = `${generation.config.server.path_prefix}/signin`;
  const returnTo = encodeURIComponent(facts.rawTarget);
  switch (decision.kind) {
    case 'sign_in':
      if (facts.navigation) {
        return { status: 302, code: decision.reason, location: `${signIn}?return_to=${returnTo}` };
      }
      return { status: 401, code: decision.reason };
    case 'step_up': {
      if (facts.navigation) {
        const source = encodeURIComponent(session?.sourceId ?? '');
        return {
          status: 302,
          code: decision.reason,
          location: `${signIn}?step_up=1&source=${source}&return_to=${returnTo}`,
        };
      }
      return stepUpChallenge(decision, generation, session);
    }
    case 'ask_credential':
      return { status: 401, code: 'session_required', headers: basicChallenge(raw, generation) };
    case 'refuse_credential':
      return {
        status: 401,
        code: decision.code,
        headers: basicChallenge(raw, generation),
        // Git shows its user what a server says in plain text, and nothing else.
        ...(raw.headers['user-agent']?.startsWith('git/') === true ? { plainText: true } : {}),
      };
    case 'ask_bearer':
      return { status: 401, code: 'session_required', headers: bearerChallenge(generation) };
    case 'refuse_bearer':
      return refusedBearer(decision.refusal, generation);
    case 'signed_out':
      return {
        status: 302,
        code: 'signed_out',
        location: `${generation.config.server.path_prefix}/signed-out`,
      };
    case 'redirect_home':
      return { status: 302, code: 'redirect_home', location: '/' };
    case 'refuse':
      return {
        status: decision.status,
        code: decision.code,
        ...(isStepUpReason(decision.code) ? evidenceOf(session) : {}),
      };
    default:
      return { status: 403, code: 'forbidden' };
  }
}

function evidenceOf(session: SessionFacts | undefined): Pick<Refusal, 'body'> {
  if (session === undefined) return {};
  const { observed, reason } = session.standing.verdict;
  // Of a page that needs aal2: why the sign-in was none.
  return { body: { source: session.sourceId, observed, ...(reason === undefined ? {} : { reason }) } };
}

/**
 * What makes git, docker and package managers ask for a credential. A browser, which says so by `Sec-Fetch-Mode`, is not told: for a
 * script or an image of a page whose session has ended it would ask its user for a password.
 * @see RFC 7617
 */
function basicChallenge(raw: IncomingMessage, { config }: Generation): Readonly<Record<string, string>> {
  if (raw.headers['sec-fetch-mode'] !== undefined) return {};
  const realm = config.branding.product_name.replace(/[^ !#-[\]-~]/g, '');
  return { 'www-authenticate': `Basic realm="${realm}", charset="UTF-8"` };
}

/** @see RFC 6750 section 3 */
function bearerChallenge(
  { config }: Generation,
  ...parameters: readonly string[]
): Readonly<Record<string, string>> {
  const realm = config.branding.product_name.replace(/[^ !#-[\]-~]/g, '');
  return { 'www-authenticate': [`Bearer realm="${realm}"`, ...parameters].join(', ') };
}

function refusedBearer(
  { status, code, hint, retryAfterSeconds }: BearerRefusal,
  generation: Generation,
): Refusal {
  if (status === 403) return { status, code, body: { hint } };
  if (status === 429)
    return { status, code, headers: { 'retry-after': String(retryAfterSeconds ?? 60) }, body: { hint } };
  const description = hint.replace(/[^ !#-[\]-~]/g, '');
  const headers = bearerChallenge(generation, 'error="invalid_token"', `error_description="${description}"`);
  return { status, code, headers, body: { hint } };
}

/**
 * What would do, for whoever gets themselves a fresher sign-in or token. Both ages hold for that: the route's, and the source's own, by
 * which it would be judged anew; the challenge that names the wider one alone would be met, and given again.
 * @see RFC 9470 section 3
 */
function stepUpChallenge(
  decision: Extract<GateDecision, { kind: 'step_up' }>,
  generation: Generation,
  session: SessionFacts | undefined,
): Refusal {
  const policy = session === undefined ? undefined : generation.sources.get(session.sourceId)?.policy;
  const acrValues =
    decision.requireAal === 'aal2' || decision.reason === 'attested_not_accepted'
      ? (policy?.acrValues.length ?? 0) > 0
        ? policy?.acrValues
        : policy?.aal2AcrValues
      : undefined;
  const acr = acrValues === undefined || acrValues.length === 0 ? undefined : acrValues.join(' ');
  const ages = [decision.maxAuthAgeSeconds, policy?.maxAuthAgeSeconds].filter((age) => age !== undefined);
  const maxAge = ages.length === 0 ? undefined : Math.min(...ages);
  const parameters = ['Bearer error="insufficient_user_authentication"'];
  if (acr !== undefined) parameters.push(`acr_values="${acr.replace(/[^!#-[\]-~ ]/g, '')}"`);
  if (maxAge !== undefined) parameters.push(`max_age=${maxAge}`);
  return {
    status: 401,
    code: 'insufficient_user_authentication',
    headers: { 'www-authenticate': parameters.join(', ') },
    body: {
      reason: decision.reason,
      ...(acr === undefined ? {} : { acr_values: acr }),
      ...(maxAge === undefined ? {} : { max_age: maxAge }),
    },
  };
}
