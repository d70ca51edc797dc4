import type { AuditAction } from './types.ts';

/** JSON Schema, draft 2020-12, as far as it is used here. */
interface Schema {
  readonly [keyword: string]: unknown;
}

interface OwnFields {
  readonly description: string;
  readonly required: readonly string[];
  readonly properties: Readonly<Record<string, Schema>>;
}

const text: Schema = { type: 'string' };
const flag: Schema = { type: 'boolean' };
const aal: Schema = { enum: ['aal1', 'aal2'] };
const reason: Schema = { type: 'string', pattern: '^[a-z0-9_]+$', description: 'A reason code.' };
const hint: Schema = {
  type: 'string',
  description: 'What to look at, as the refusal and the guides say it.',
};
const observed: Schema = {
  type: 'object',
  description:
    'The claims on which the decision rests (amr, acr, auth_time, …), exactly as received; absent ones left out.',
};
const required: Schema = {
  type: 'object',
  description: "What the policy wanted, in the configuration's key names.",
};
const sessionId: Schema = { type: 'string', description: 'Public id of the session; it opens nothing.' };
const time: Schema = { type: 'string', format: 'date-time' };
const actor: Schema = { type: 'string', description: 'Who did it.' };

const evidence: Schema = {
  type: ['object', 'null'],
  description: 'The claim and value that made it AAL2.',
  properties: { claim: text, value: { type: ['string', 'array'], items: text } },
  required: ['claim', 'value'],
  additionalProperties: false,
};

const holder: Schema = {
  type: ['object', 'null'],
  properties: { issuer: text, subject: text, source: text, since: time },
  required: ['issuer', 'subject', 'source'],
  additionalProperties: false,
};

const mfaRefusal: OwnFields['properties'] = {
  observed,
  required,
  reason,
  hint,
  log_row: { const: 'oauth_signin_mfa_rejected' },
  idp_error: { type: 'string', description: "The IdP's error, where it refused by itself." },
};

const mfaSettings: Schema = {
  type: ['object', 'null'],
  description: "The source's mfa; null where there was none, or is none any more.",
  properties: {
    acr_values: { type: ['string', 'array', 'null'], items: text },
    require_oidc_amr_mfa: { type: 'boolean', description: 'True exactly under mode enforce.' },
  },
  required: ['acr_values', 'require_oidc_amr_mfa'],
};

const ownFields: Readonly<Record<AuditAction, OwnFields>> = {
  'tenant.auth_policy.oidc_mfa.rejected': {
    description: 'A sign-in was refused because MFA was not asserted.',
    required: ['observed', 'required', 'reason', 'hint', 'log_row'],
    properties: mfaRefusal,
  },
  'tenant.auth_policy.oidc_mfa.would_reject': {
    description: 'A sign-in was let in under report_only that enforce would refuse.',
    required: ['observed', 'required', 'reason', 'hint', 'log_row'],
    properties: mfaRefusal,
  },
  'sso.auth-source.oidc-mfa-config.update': {
    description: "A source's mfa changed, came or went: one event for all replicas.",
    required: ['previous', 'next', 'actor'],
    properties: {
      previous: mfaSettings,
      next: mfaSettings,
      actor,
      actor_from: {
        enum: ['command', 'change', 'file_owner', 'unknown'],
        description: 'How the actor is known.',
      },
      ref: { type: ['string', 'null'], description: 'change.ref: which commit.' },
    },
  },
  'canary.completed': {
    description: 'A canary sign-in came back: no session began, and what the IdP sent was shown.',
    required: ['via', 'result', 'observed', 'required'],
    properties: {
      via: text,
      started_by: text,
      result: text,
      failure: {
        type: 'object',
        description: "Why there is nothing to judge: the check that failed, or the IdP's own error.",
        properties: { detail: text, error: text, error_description: text },
        additionalProperties: false,
      },
      aal: { enum: ['aal1', 'aal2', null] },
      outcome: { type: ['string', 'null'] },
      reason: { type: ['string', 'null'] },
      observed,
      required,
      hint,
    },
  },
  'signin.succeeded': {
    description: 'A session began.',
    required: ['session_id', 'aal', 'mfa', 'evidence', 'weak'],
    properties: {
      session_id: sessionId,
      aal,
      mfa: { enum: ['verified', 'attested', 'would_reject', 'none'] },
      evidence,
      weak: { type: 'boolean', description: 'strict would not have accepted the evidence.' },
      step_up: flag,
    },
  },
  'signin.failed': {
    description: 'A sign-in was refused or broke for a reason other than MFA.',
    required: ['reason'],
    properties: {
      reason,
      hint,
      detail: text,
      observed: {},
      idp_error: text,
      idp_error_description: text,
    },
  },
  'session.stepped_up': {
    description:
      'A user came back from a step-up: with more assurance or a fresher authentication, if satisfied.',
    required: ['session_id', 'previous_session_id', 'aal', 'satisfied'],
    properties: {
      session_id: sessionId,
      previous_session_id: sessionId,
      aal,
      evidence,
      weak: flag,
      satisfied: { type: 'boolean', description: 'Whether the page that asked for more opens now.' },
      auth_time: { description: 'As received; null where the IdP sent none.' },
      previous_auth_time: { description: 'That of the session before.' },
      reason,
    },
  },
  'session.refreshed': {
    description:
      "A session's tokens were refreshed; or its refresh token was given up, and the session lives on to its own limits.",
    required: ['session_id', 'result', 'aal', 'lowered'],
    properties: {
      session_id: sessionId,
      result: {
        enum: ['refreshed', 'lowered', 'refused', 'rejected'],
        description:
          'lowered: refreshed, and the refreshed ID token contradicts the evidence; refused: by the IdP; rejected: its answer, by the checks.',
      },
      aal: { ...aal, description: 'That of the session, from now on.' },
      lowered: { type: 'boolean', description: 'Whether this refresh has taken its AAL2.' },
      reason,
      observed,
      groups: { type: 'array', items: text, description: 'The groups from now on, where they have changed.' },
      detail: { type: 'string', description: 'Which check of the answer failed.' },
      idp_error: text,
      idp_error_description: text,
    },
  },
  'session.ended': {
    description: 'A session ended.',
    required: ['why', 'session_id'],
    properties: {
      why: {
        enum: [
          'signout',
          'backchannel',
          'frontchannel',
          'revoked',
          'replaced',
          'subject_changed',
          'source_removed',
          'expired',
        ],
      },
      session_id: sessionId,
      actor,
    },
  },
  'identity.username_conflict': {
    description: 'A user name or email address was asked for that belongs to another subject.',
    required: ['reason', 'wanted_by', 'held_by'],
    properties: { reason, username: text, email: text, wanted_by: holder, held_by: holder, hint },
  },
  'sessions.revoked': {
    description: 'Sessions were ended by an operator; each has its session.ended as well.',
    required: ['actor', 'count', 'by', 'complete'],
    properties: {
      actor,
      count: { type: 'integer', minimum: 0 },
      by: { enum: ['user', 'sub', 'source', 'all'], description: 'By what they were chosen.' },
      complete: { type: 'boolean', description: 'False: the store failed on the way, and some may live on.' },
      user_email: text,
      subject: text,
      source: text,
    },
  },
  'users.changed': {
    description: 'A binding of a user name or email address was changed by an operator.',
    required: ['change', 'actor'],
    properties: {
      change: text,
      actor,
      username: text,
      email: text,
      previous: holder,
      next: holder,
      count: { type: 'integer', minimum: 0 },
    },
  },
};

const frame: Readonly<Record<string, Schema>> = {
  '@timestamp': { ...time, description: 'UTC, with milliseconds.' },
  'log.level': { enum: ['info', 'warn'] },
  message: { type: 'string', description: 'The action again, for readers of logs.' },
  log_type: { const: 'audit' },
  action: { enum: Object.keys(ownFields) },
  request_id: text,
  trace_id: { type: 'string', pattern: '^[0-9a-f]{32}$' },
  'client.ip': text,
  user: {
    type: 'object',
    properties: { id: text, email: text, name: text },
    additionalProperties: false,
  },
  auth_source: { type: 'string', description: 'Id of the source.' },
  tenant: text,
};

/**
 * The JSON Schema (draft 2020-12) of one line of the audit trail, as this version writes it: the frame that all lines share,
 * and for each action its own fields. What is too large is left out whole, and the line says so in `fields_omitted`.
 */
export function auditJsonSchema(): Schema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'An event of the audit trail of Sallyport',
    type: 'object',
    required: ['@timestamp', 'log.level', 'message', 'log_type', 'action'],
    properties: frame,
    allOf: Object.entries(ownFields).map(([action, own]) => ({
      if: { required: ['action'], properties: { action: { const: action } } },
      then: {
        description: own.description,
        properties: own.properties,
        if: { required: ['fields_omitted'] },
        then: { properties: { fields_omitted: { const: 'too large' } } },
        else: { required: own.required },
      },
    })),
    unevaluatedProperties: false,
  };
}

/** The same as it stands in config/audit-events.schema.json. */
export function formatAuditSchema(): string {
  return `${JSON.stringify(auditJsonSchema(), null, 2)}\n`;
}
