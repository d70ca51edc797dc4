import { hintFor } from '../assurance/reasons.ts';
import type { Standing, Verdict } from '../assurance/types.ts';
import type { AuditAction, AuditUser } from '../audit/types.ts';
import type { BindingConflict } from '../identity/binding-claim.ts';
import type { Identity, HeldRecord } from '../session/types.ts';
import type { SignInDeps, SignInRequest } from './types.ts';

/** What is written and counted about a sign-in: one place, so that audit trail and metrics agree. */
export interface SignInRecorder {
  succeeded(session: HeldRecord, standing: Standing): void;
  /** The same user came back from a step-up. @param shortfall what the page still misses */
  steppedUp(
    session: HeldRecord,
    standing: Standing,
    previous: HeldRecord,
    shortfall: string | undefined,
  ): void;
  /** Refused because MFA was not asserted. */
  rejected(verdict: Observation, user: AuditUser | undefined): void;
  /** Refused or broken for any other reason. */
  failed(reason: string, fields: Readonly<Record<string, unknown>>, user: AuditUser | undefined): void;
  /** Refused because the user name, or the email address, belongs to another subject. */
  conflicted(conflict: BindingConflict, user: AuditUser): void;
  /** Counts a verdict. */
  verdict(standing: Standing): void;
}

/** The part of a verdict that an MFA audit line shows. */
export interface Observation {
  readonly observed: Verdict['observed'];
  readonly required: Verdict['required'];
  readonly reason: NonNullable<Verdict['reason']>;
  /** The IdP's `error`, where it refused by itself. */
  readonly idpError?: string;
}

/** The recorder of one request. */
export function createRecorder(
  { audit, meter }: Pick<SignInDeps, 'audit' | 'meter'>,
  { facts, source }: Pick<SignInRequest, 'facts' | 'source'>,
): SignInRecorder {
  const sourceId = source.config.id;
  const write = (
    action: AuditAction,
    user: AuditUser | undefined,
    fields: Readonly<Record<string, unknown>>,
  ): void => {
    audit.write({
      action,
      requestId: facts.id,
      traceparent: facts.traceparent,
      clientIp: facts.clientIp,
      user,
      authSource: sourceId,
      tenant: source.config.tenant,
      fields,
    });
  };
  const mfaFields = ({ observed, required, reason, idpError }: Observation): Record<string, unknown> => ({
    observed,
    required,
    reason,
    hint: hintFor(reason, source.policy.preset, observed),
    log_row: 'oauth_signin_mfa_rejected',
    ...(idpError === undefined ? {} : { idp_error: idpError }),
  });

  return {
    succeeded(session, { verdict, outcome }) {
      const user = auditUser(session.identity);
      if (outcome.status === 'would_reject' && verdict.reason !== undefined) {
        write(
          'tenant.auth_policy.oidc_mfa.would_reject',
          user,
          mfaFields({ ...verdict, reason: verdict.reason }),
        );
      }
      write('signin.succeeded', user, {
        session_id: session.id,
        aal: outcome.aal,
        mfa: outcome.status,
        evidence: verdict.evidence ?? null,
        weak: verdict.weak,
        step_up: session.forced,
      });
      meter.signIn(sourceId, 'succeeded');
    },
    steppedUp(session, { verdict, outcome }, previous, shortfall) {
      const { auth_time: authTime } = session.claims;
      const { auth_time: previousAuthTime } = previous.claims;
      write('session.stepped_up', auditUser(session.identity), {
        session_id: session.id,
        previous_session_id: previous.id,
        aal: outcome.aal,
        evidence: verdict.evidence ?? null,
        weak: verdict.weak,
        satisfied: shortfall === undefined,
        auth_time: authTime ?? null,
        previous_auth_time: previousAuthTime ?? null,
        ...(shortfall === undefined ? {} : { reason: shortfall }),
      });
    },
    rejected(observation, user) {
      write('tenant.auth_policy.oidc_mfa.rejected', user, mfaFields(observation));
      meter.signIn(sourceId, 'rejected');
    },
    failed(reason, fields, user) {
      const hint = hintFor(reason, source.policy.preset);
      write('signin.failed', user, { reason, ...fields, ...(hint === '' ? {} : { hint }) });
      meter.signIn(sourceId, 'failed');
    },
    conflicted({ code, wanted, holder }, user) {
      write('identity.username_conflict', user, {
        reason: code,
        [wanted.kind]: wanted.value,
        wanted_by: { issuer: wanted.issuer, subject: wanted.subject, source: wanted.source },
        held_by: {
          issuer: holder.issuer,
          subject: holder.subject,
          source: holder.source,
          since: new Date(holder.since * 1000).toISOString(),
        },
        hint: hintFor(code, source.policy.preset),
      });
      meter.signIn(sourceId, 'failed');
    },
    verdict({ verdict, outcome }) {
      meter.mfaVerdict({
        source: sourceId,
        aal: outcome.aal,
        outcome: outcome.status,
        reason: verdict.reason ?? 'none',
        strength: verdict.aal === 'aal1' ? 'none' : verdict.weak ? 'weak' : 'strict',
      });
    },
  };
}

/** Writes and counts that a session has ended. */
export function recordSessionEnd(
  { audit, meter }: Pick<SignInDeps, 'audit' | 'meter'>,
  { facts, generation }: Pick<SignInRequest, 'facts' | 'generation'>,
  session: HeldRecord,
  why: 'signout' | 'replaced' | 'subject_changed',
): void {
  audit.write({
    action: 'session.ended',
    requestId: facts.id,
    traceparent: facts.traceparent,
    clientIp: facts.clientIp,
    user: auditUser(session.identity),
    authSource: session.source,
    tenant: generation.sources.get(session.source)?.config.tenant,
    fields: { why, session_id: session.id },
  });
  meter.sessionEnded(why);
}

/** A user as the audit trail names them. */
export function auditUser(identity: Identity): AuditUser {
  return { id: identity.subject, email: identity.email, name: identity.username };
}

/** A user whose identity was not resolved, as the claims name them; bounded, since an IdP wrote it. */
export function claimedUser(claims: Readonly<Record<string, unknown>>): AuditUser {
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' ? value.slice(0, 254) : undefined;
  return { id: text(claims['sub']), email: text(claims['email']), name: text(claims['preferred_username']) };
}
