import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { auditLine } from '../../src/audit/line.ts';
import { auditJsonSchema, formatAuditSchema } from '../../src/audit/schema.ts';
import type { AuditAction, AuditEvent } from '../../src/audit/types.ts';
import { parseConfig } from '../../src/config/load.ts';
import { snapshotMfa } from '../../src/reload/mfa-settings.ts';
import { auditFaults } from '../support/audit-lines.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

const nowMs = Date.UTC(2026, 10, 21, 12);

const refusal = {
  observed: { amr: ['pwd'], acr: '1', auth_time: 1_700_000_000 },
  required: { accept: 'any', aal2_acr_values: ['c2'] },
  reason: 'acr_mismatch',
  hint: 'a hint',
  log_row: 'oauth_signin_mfa_rejected',
};
const holder = {
  issuer: 'https://idp.example.com',
  subject: 'sub-1',
  source: 'entra',
  since: '2026-11-21T12:00:00.000Z',
};

/** One event of each action, with fields as the code writes them. */
const examples: Readonly<Record<AuditAction, Readonly<Record<string, unknown>>>> = {
  'tenant.auth_policy.oidc_mfa.rejected': { ...refusal, idp_error: 'access_denied' },
  'tenant.auth_policy.oidc_mfa.would_reject': refusal,
  'sso.auth-source.oidc-mfa-config.update': {
    previous: null,
    next: { mode: 'enforce', preset: 'entra_c2', acr_values: ['c2'], require_oidc_amr_mfa: true },
    actor: 'ci',
    actor_from: 'change',
    ref: 'abc1234',
  },
  'canary.completed': {
    via: 'operator',
    result: 'decided',
    aal: 'aal2',
    outcome: 'verified',
    reason: null,
    observed: {},
    required: {},
  },
  'signin.succeeded': {
    session_id: 's-1',
    aal: 'aal2',
    mfa: 'verified',
    evidence: { claim: 'amr', value: ['pwd', 'otp'] },
    weak: false,
    step_up: false,
  },
  'signin.failed': { reason: 'state_invalid', detail: 'attempt_expired', hint: 'a hint' },
  'session.stepped_up': {
    session_id: 's-2',
    previous_session_id: 's-1',
    aal: 'aal2',
    evidence: { claim: 'acr', value: 'phr' },
    weak: false,
    satisfied: false,
    auth_time: 1_700_000_000,
    previous_auth_time: null,
    reason: 'auth_too_old',
  },
  'session.refreshed': {
    session_id: 's-1',
    result: 'lowered',
    aal: 'aal1',
    lowered: true,
    reason: 'amr_not_mfa',
    observed: { amr: ['pwd'] },
    groups: ['dev'],
  },
  'session.ended': { why: 'signout', session_id: 's-1' },
  'sessions.revoked': {
    actor: 'root',
    count: 2,
    by: 'user',
    complete: true,
    user_email: 'alice@example.com',
  },
  'identity.username_conflict': {
    reason: 'username_conflict',
    username: 'alice',
    wanted_by: { ...holder, since: undefined },
    held_by: holder,
    hint: 'a hint',
  },
  'users.changed': { change: 'rebind', actor: 'root', username: 'alice', previous: holder, next: null },
};

function eventOf(action: AuditAction, fields: Readonly<Record<string, unknown>>): AuditEvent {
  return {
    action,
    requestId: 'request-1',
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    clientIp: '192.0.2.7',
    user: { id: 'sub-1', email: 'bob@example.com', name: 'Bob' },
    authSource: 'entra',
    tenant: 'acme',
    fields,
  };
}

const lineOf = (action: AuditAction, fields: Readonly<Record<string, unknown>>) =>
  JSON.parse(auditLine(eventOf(action, fields), nowMs)) as Record<string, unknown>;

t.test('the schema that ships is that of the code: npm run generate', async (t) => {
  const shipped = readFileSync(new URL('../../config/audit-events.schema.json', import.meta.url), 'utf8');
  t.ok(shipped === formatAuditSchema());
});

t.test('every action that the specification names has its fields', async (t) => {
  const { properties } = auditJsonSchema() as { properties: { action: { enum: string[] } } };
  const specified = [
    'tenant.auth_policy.oidc_mfa.rejected',
    'tenant.auth_policy.oidc_mfa.would_reject',
    'sso.auth-source.oidc-mfa-config.update',
    'signin.succeeded',
    'signin.failed',
    'session.stepped_up',
    'session.refreshed',
    'session.ended',
    'identity.username_conflict',
    'sessions.revoked',
    'users.changed',
  ];
  for (const action of specified) t.ok(properties.action.enum.includes(action), action);
});

t.test('a line of each action validates', async (t) => {
  for (const [action, fields] of Object.entries(examples)) {
    t.equal(auditFaults(lineOf(action as AuditAction, fields)), '', action);
  }
});

t.test(
  'a line that lacks a field of its action, or has one too many or of another type, does not',
  async (t) => {
    const withoutHint = { ...refusal, hint: undefined };
    const wrong: readonly [AuditAction, Readonly<Record<string, unknown>>][] = [
      ['tenant.auth_policy.oidc_mfa.rejected', withoutHint],
      ['tenant.auth_policy.oidc_mfa.rejected', { ...refusal, log_row: 'something_else' }],
      ['tenant.auth_policy.oidc_mfa.rejected', { ...refusal, access_token: 'x' }],
      ['signin.succeeded', { ...examples['signin.succeeded'], aal: 'aal3' }],
      ['session.ended', { why: 'boredom', session_id: 's-1' }],
      ['session.ended', { why: 'signout' }],
      ['users.changed', { change: 'import', actor: 'root', count: -1 }],
      ['sso.auth-source.oidc-mfa-config.update', { previous: {}, next: null, actor: 'ci' }],
    ];
    for (const [action, fields] of wrong)
      t.not(auditFaults(lineOf(action, fields)), '', JSON.stringify(fields));
    const line = lineOf('session.ended', examples['session.ended']);
    t.not(auditFaults({ ...line, action: 'session.began' }), '');
    t.not(auditFaults({ ...line, log_type: 'app' }), '');
    t.not(auditFaults({ ...line, '@timestamp': 'yesterday' }), '');
  },
);

t.test("every vendor's mfa, as a change of it is recorded, validates", async (t) => {
  const folder = new URL('../../config/idp/', import.meta.url);
  for (const name of readdirSync(folder)) {
    const parsed = parseConfig(readFileSync(new URL(name, folder), 'utf8'), name, {});
    if (!parsed.ok) throw new Error(parsed.report);
    const next = snapshotMfa(parsed.config.sources[0]!);
    const fields = { previous: null, next, actor: 'unknown', actor_from: 'unknown', ref: null };
    t.equal(auditFaults(lineOf('sso.auth-source.oidc-mfa-config.update', fields)), '', name);
  }
});

t.test('whatever an IdP sent, the line of its refusal validates, cut or left out', async (t) => {
  t.match(
    lineOf('tenant.auth_policy.oidc_mfa.rejected', {
      ...refusal,
      observed: Object.fromEntries(
        Array.from({ length: 99 }, (_, index) => [`claim-${index}`, 'x'.repeat(1000)]),
      ),
    }),
    {
      fields_omitted: 'too large',
    },
  );
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 8 })), (claims) => {
      const fault = auditFaults(
        lineOf('tenant.auth_policy.oidc_mfa.rejected', { ...refusal, observed: claims }),
      );
      if (fault !== '') throw new Error(fault);
    }),
  );
  t.pass();
});

t.test('what real sign-ins leave in the trail validates', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const op = await startOp({ clients: [clientOf(origin, 'strict', 'lenient')] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [
      { id: 'strict', issuer: op.issuer, mfa: { preset: 'authelia' } },
      { id: 'lenient', issuer: op.issuer, mfa: { preset: 'authelia', mode: 'report_only' } },
    ],
  });
  t.teardown(async () => {
    await sallyport.close();
    await op.stop();
    await upstream.close();
  });
  const claims = { email: 'bob@example.com', email_verified: true, preferred_username: 'bob' };
  for (const [source, amr] of [
    ['strict', ['pwd']],
    ['lenient', ['pwd']],
    ['strict', ['pwd', 'otp', 'mfa']],
  ] as const) {
    op.nextLogin = { sub: 'bob', amr: [...amr], claims };
    await new UserAgent().follow(`${origin}/_sallyport/signin?source=${source}`);
  }
  await new UserAgent().follow(`${origin}/_sallyport/callback/strict?code=x&state=y`);
  const lines = sallyport.audit.lines();
  for (const line of lines) t.equal(auditFaults(line), '', String(line['action']));
  t.same([...new Set(lines.map((line) => line['action']))].sort(), [
    'signin.failed',
    'signin.succeeded',
    'tenant.auth_policy.oidc_mfa.rejected',
    'tenant.auth_policy.oidc_mfa.would_reject',
  ]);
});
