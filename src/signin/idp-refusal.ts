import { findModeInForce } from '../assurance/outcome.ts';
import { describeRequirement } from '../assurance/requirement.ts';
import type { IdpRefusal } from '../provider/types.ts';
import type { Attempt } from './attempt.ts';
import { createRecorder } from './sign-in-audit.ts';
import type { SignInDeps, SignInRefused, SignInRequest } from './types.ts';

/**
 * Errors by which an IdP says that the user could not or would not give what was asked for.
 * @see OpenID Connect Core Unmet Authentication Requirements 1.0; RFC 9470 section 3
 */
const mfaErrors: ReadonlySet<string> = new Set([
  'unmet_authentication_requirements',
  'insufficient_user_authentication',
]);

/**
 * An error that the IdP sent to the callback: a failed sign-in, and under `enforce`, where it says that the requested
 * assurance was not reached, a rejected one, with the page and the audit line of those.
 */
export function judgeIdpRefusal(
  deps: Pick<SignInDeps, 'audit' | 'meter' | 'clock'>,
  request: SignInRequest,
  idp: IdpRefusal,
  attempt: Attempt,
  setCookies: readonly string[],
): SignInRefused {
  const recorder = createRecorder(deps, request);
  const { config, policy } = request.source;
  const { returnTo } = attempt;
  const result = {
    kind: 'refused',
    status: 403,
    code: 'idp_refused',
    detail: undefined,
    returnTo,
    setCookies,
  } as const;
  // Nobody is known yet, so whoever cannot be told apart is enforced.
  const nobody = { verifiedEmail: undefined, groups: undefined };
  const { mode } = findModeInForce(policy, nobody, deps.clock.nowMs());
  if (mode === 'enforce' && mfaErrors.has(idp.error)) {
    const required = describeRequirement(policy);
    recorder.rejected(
      { observed: {}, required, reason: 'idp_refused', idpError: idp.error.slice(0, 100) },
      undefined,
    );
    const { meter } = deps;
    meter.mfaVerdict({
      source: config.id,
      aal: 'aal1',
      outcome: 'rejected',
      reason: 'idp_refused',
      strength: 'none',
    });
    if (attempt.purpose === 'step_up') meter.stepUp(config.id, 'insufficient');
    return { ...result, mfa: { reason: 'idp_refused', observed: {} }, idp };
  }
  const fields = {
    idp_error: idp.error.slice(0, 100),
    idp_error_description: idp.description?.slice(0, 300),
  };
  recorder.failed('idp_refused', fields, undefined);
  return { ...result, mfa: undefined, idp };
}
