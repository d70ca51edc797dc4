import { jsonText } from '../kernel/json-text.ts';
import { boundString, boundValue } from './bounds.ts';
import type { AuditAction, AuditEvent, AuditUser } from './types.ts';

/** Beyond this an event's own fields are left out altogether. Characters. */
const maxFieldsCharacters = 16 * 1024;

const levels: Readonly<Record<AuditAction, 'info' | 'warn'>> = {
  'tenant.auth_policy.oidc_mfa.rejected': 'warn',
  'tenant.auth_policy.oidc_mfa.would_reject': 'warn',
  'sso.auth-source.oidc-mfa-config.update': 'info',
  'canary.completed': 'info',
  'signin.succeeded': 'info',
  'signin.failed': 'warn',
  'session.stepped_up': 'info',
  'session.refreshed': 'info',
  'session.ended': 'info',
  'sessions.revoked': 'info',
  'identity.username_conflict': 'warn',
  'users.changed': 'info',
};

/** Names that an event's own fields can never take. */
const reserved: ReadonlySet<string> = new Set([
  '@timestamp',
  'log.level',
  'message',
  'log_type',
  'action',
  'request_id',
  'trace_id',
  'client.ip',
  'user',
  'auth_source',
  'tenant',
]);

const traceparentPattern = /^[0-9a-f]{2}-([0-9a-f]{32})-/;

/**
 * One event as one line of JSON with its line feed, in ECS's names (SPEC section 9). Whatever the values hold, there is
 * exactly one line feed, at the end, no control character, and a bounded number of characters.
 */
export function auditLine(event: AuditEvent, nowMs: number): string {
  const record = {
    '@timestamp': new Date(nowMs).toISOString(),
    'log.level': levels[event.action],
    message: event.action,
    log_type: 'audit',
    action: event.action,
    request_id: short(event.requestId),
    trace_id: traceparentPattern.exec(event.traceparent ?? '')?.[1],
    'client.ip': short(event.clientIp),
    user: event.user === undefined ? undefined : auditUser(event.user),
    auth_source: short(event.authSource),
    tenant: short(event.tenant),
    ...ownFields(event.fields),
  };
  return `${escapeSeparators(jsonText(record))}\n`;
}

function ownFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const own = Object.fromEntries(
    Object.entries(fields)
      .filter(([key]) => !reserved.has(key))
      .map(([key, value]) => [boundString(key, 128), boundValue(value)] as const),
  );
  return JSON.stringify(own).length > maxFieldsCharacters ? { fields_omitted: 'too large' } : own;
}

function auditUser(user: AuditUser): Record<string, string | undefined> {
  return { id: short(user.id), email: short(user.email), name: short(user.name) };
}

function short(text: string | undefined): string | undefined {
  return text === undefined ? undefined : boundString(text, 256);
}

/** JSON leaves DEL, C1 and Unicode's line separators as they are; terminals and line readers do not. */
function escapeSeparators(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
