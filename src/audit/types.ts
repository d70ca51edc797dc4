/** Audit events (SPEC section 9). A line is written by the writer alone; nothing from outside can forge one. */
export type AuditAction =
  | 'tenant.auth_policy.oidc_mfa.rejected'
  | 'tenant.auth_policy.oidc_mfa.would_reject'
  | 'sso.auth-source.oidc-mfa-config.update'
  /** A canary sign-in came back: it opened nothing, but somebody's claims were shown. */
  | 'canary.completed'
  | 'signin.succeeded'
  | 'signin.failed'
  | 'session.stepped_up'
  /** A session's tokens were refreshed, or will be no more. */
  | 'session.refreshed'
  | 'session.ended'
  | 'sessions.revoked'
  | 'identity.username_conflict'
  | 'users.changed';

/** Whom an event is about. */
export interface AuditUser {
  readonly id?: string | undefined;
  readonly email?: string | undefined;
  readonly name?: string | undefined;
}

/** One event, as a room tells it; the writer bounds what came from outside, and adds the time. */
export interface AuditEvent {
  readonly action: AuditAction;
  readonly requestId: string | undefined;
  readonly traceparent?: string | undefined;
  readonly clientIp: string | undefined;
  readonly user: AuditUser | undefined;
  readonly authSource: string | undefined;
  readonly tenant: string | undefined;
  /** The action's own fields, snake_case, JSON-serialisable. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Takes events; never throws, never blocks a request; what is lost is counted (`sallyport_audit_lost_total`). */
export interface AuditSink {
  write(event: AuditEvent): void;
}
