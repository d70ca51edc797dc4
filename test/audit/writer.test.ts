import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { auditLine } from '../../src/audit/line.ts';
import type { AuditEvent } from '../../src/audit/types.ts';
import { createAuditWriter } from '../../src/audit/writer.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { openLineWriter } from '../../src/operations/line-writer.ts';

const nowMs = Date.UTC(2026, 10, 21, 12);
const event: AuditEvent = {
  action: 'tenant.auth_policy.oidc_mfa.rejected',
  requestId: 'request-1',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  clientIp: '192.0.2.7',
  user: { id: 'sub-1', email: 'bob@example.com', name: 'Bob' },
  authSource: 'entra',
  tenant: 'acme',
  fields: {
    observed: { amr: ['pwd'], acr: '1', auth_time: 1_700_000_000 },
    required: { aal2_acr_values: ['c2'] },
    reason: 'acr_mismatch',
    hint: 'a hint',
    log_row: 'oauth_signin_mfa_rejected',
  },
};
const parse = (line: string) => JSON.parse(line) as Record<string, unknown>;
const directory = mkdtempSync(join(tmpdir(), 'sallyport-audit-'));
t.teardown(() => rmSync(directory, { recursive: true }));

function auditTo(destination: Parameters<typeof createAuditWriter>[0]) {
  const state = { lost: 0, told: [] as unknown[] };
  const writer = createAuditWriter(destination, {
    clock: { nowMs: () => nowMs },
    meter: { auditLost: () => (state.lost += 1) },
    log: (message, fields) => state.told.push({ message, ...fields }),
  });
  return { state, writer };
}

t.test("a line has ECS's names, the action and its own fields", async (t) => {
  t.same(parse(auditLine(event, nowMs)), {
    '@timestamp': '2026-11-21T12:00:00.000Z',
    'log.level': 'warn',
    message: event.action,
    log_type: 'audit',
    action: event.action,
    request_id: 'request-1',
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    'client.ip': '192.0.2.7',
    user: { id: 'sub-1', email: 'bob@example.com', name: 'Bob' },
    auth_source: 'entra',
    tenant: 'acme',
    ...event.fields,
  });
});

t.test('what is not known is left out', async (t) => {
  const bare: AuditEvent = {
    action: 'signin.failed',
    requestId: undefined,
    clientIp: undefined,
    user: undefined,
    authSource: undefined,
    tenant: undefined,
    fields: {},
  };
  t.same(Object.keys(parse(auditLine(bare, nowMs))).sort(), [
    '@timestamp',
    'action',
    'log.level',
    'log_type',
    'message',
  ]);
});

t.test("an event's own fields cannot take the place of the line's", async (t) => {
  const line = parse(
    auditLine(
      {
        ...event,
        fields: {
          action: 'signin.succeeded',
          user: { id: 'other' },
          log_type: 'app',
          '@timestamp': 'x',
          mine: 1,
        },
      },
      nowMs,
    ),
  );
  t.equal(line['action'], event.action);
  t.same(line['user'], event.user);
  t.equal(line['log_type'], 'audit');
  t.equal(line['mine'], 1);
});

t.test('no value from outside forges a line or grows it without bound', async (t) => {
  const wild = fc.jsonValue({ maxDepth: 8 });
  const text = fc.string({ unit: 'binary', maxLength: 3000 });
  fc.assert(
    fc.property(text, text, text, wild, (name, ip, traceparent, observed) => {
      const line = auditLine(
        { ...event, clientIp: ip, traceparent, user: { id: name, name }, fields: { observed, [name]: name } },
        nowMs,
      );
      const record = parse(line);
      return (
        line.endsWith('}\n') &&
        !/[\p{Cc}\u2028\u2029]/u.test(line.slice(0, -1)) &&
        line.length < 32_768 &&
        record['action'] === event.action
      );
    }),
  );
  const long = 'x'.repeat(1_000_000);
  const hostile: Record<string, unknown>[] = [
    { observed: long },
    { [long]: 1 },
    { observed: Array.from({ length: 100_000 }, () => long) },
    { observed: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, long])) },
    { observed: JSON.parse('['.repeat(500) + ']'.repeat(500)) },
    { observed: JSON.parse('{"__proto__": {"action": "forged"}}') },
  ];
  for (const fields of hostile) {
    const line = auditLine({ ...event, fields }, nowMs);
    t.ok(line.length < 32_768, `${line.length}`);
    t.equal(parse(line)['action'], event.action);
  }
});

t.test('half a character leaves a line that every reader takes, jq included', (t) => {
  const line = auditLine(
    {
      ...event,
      user: { id: 'a', name: 'x\udfff' },
      fields: { observed: { acr: '\ud800lone', acrs: { '\udc00': '\\ud800 \u{1f600}' } } },
    },
    nowMs,
  );
  t.notMatch(
    line.replaceAll('\\\\', ''),
    /\\ud[89a-f]/,
    'jq stops at such an escape, and shows nothing that follows',
  );
  t.match(parse(line), {
    user: { name: 'x\ufffd' },
    observed: { acr: '\ufffdlone', acrs: { '\ufffd': '\\ud800 \u{1f600}' } },
  });
  t.end();
});

t.test('claims are shown exactly as received', async (t) => {
  const observed = { amr: ['pwd', 'MFA ', '', 'ünï'], acr: '0', nested: { list: [null, true, 1.5, {}] } };
  t.same(parse(auditLine({ ...event, fields: { observed } }, nowMs))['observed'], observed);
});

t.test('a secret shows itself as redacted', async (t) => {
  t.notMatch(auditLine({ ...event, fields: { given: new Secret('hunter2') } }, nowMs), 'hunter2');
});

t.test('an event that JSON cannot hold is counted and told, not thrown', async (t) => {
  const { state, writer } = auditTo({ write: () => undefined });
  const trap = Object.defineProperty({}, 'x', {
    enumerable: true,
    get: () => {
      throw new Error('trap');
    },
  });
  writer.write({ ...event, fields: { trap } });
  writer.write({ ...event, fields: { trap } });
  t.equal(state.lost, 2);
  t.equal(state.told.length, 1, 'told once a minute at most');
});

t.test('an audit file is appended to and readable by its owner alone', async (t) => {
  const file = join(directory, 'audit.log');
  for (let start = 0; start < 2; start += 1) {
    const lines = openLineWriter({ file });
    auditTo(lines).writer.write(event);
    await lines.close();
  }
  t.equal(statSync(file).mode & 0o777, 0o600);
  const written = readFileSync(file, 'utf8').split('\n');
  t.equal(written.length, 3);
  t.equal(parse(written[0]!)['action'], event.action);
  t.throws(() => openLineWriter({ file: join(directory, 'no', 'such', 'audit.log') }), {
    code: 'config_invalid',
  });
});

t.test('lines that a full disk refuses are counted and told', async (t) => {
  const lines = openLineWriter({ file: '/dev/full' });
  const { state, writer } = auditTo(lines);
  for (let i = 0; i < 5; i += 1) writer.write(event);
  await lines.flush();
  t.equal(state.lost, 5);
  t.equal(state.told.length, 1);
  await lines.close();
});

/** Both ends of a pipe; opened without waiting for each other. */
function pipe() {
  const path = join(directory, `pipe-${randomBytes(6).toString('hex')}`);
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  return { reader, writer };
}

t.test('lines that a closed pipe refuses are counted', async (t) => {
  const ends = pipe();
  closeSync(ends.reader);
  const lines = openLineWriter({ fd: ends.writer });
  const { state, writer } = auditTo(lines);
  writer.write(event);
  writer.write(event);
  await lines.flush();
  t.equal(state.lost, 2);
  closeSync(ends.writer);
});

t.test('a reader that stalls costs lines, neither time nor memory', async (t) => {
  const ends = pipe();
  const lines = openLineWriter({ fd: ends.writer }, { maxBacklog: 100_000 });
  const { state, writer } = auditTo(lines);
  for (let i = 0; i < 2000; i += 1) writer.write(event);
  t.ok(state.lost > 1000, `${state.lost} of 2000 lost at once`);
  closeSync(ends.reader);
  await lines.flush();
  t.equal(state.lost, 2000, 'and those in the backlog once the pipe is closed');
  closeSync(ends.writer);
});
