import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { createAuditPrinter, describeAuditLine } from '../../src/demo/audit-lines.ts';

const rejected = {
  '@timestamp': '2026-11-21T10:11:12.345Z',
  'log.level': 'warn',
  log_type: 'audit',
  action: 'tenant.auth_policy.oidc_mfa.rejected',
  request_id: 'r1',
  user: { id: 'bob', email: 'bob@demo.example', name: 'Bob Baker' },
  auth_source: 'demo',
  reason: 'amr_not_mfa',
  observed: { amr: ['pwd'] },
};

t.test('a refused sign-in reads as one, with what was observed', (t) => {
  const described = describeAuditLine(JSON.stringify(rejected));
  t.match(described, /^10:11:12 audit {2}REFUSED: MFA was not asserted – Bob Baker, bob@demo\.example\n/);
  t.match(described, /action +tenant\.auth_policy\.oidc_mfa\.rejected/);
  t.match(described, /reason +amr_not_mfa/);
  t.match(described, /observed +\{"amr":\["pwd"\]\}/);
  t.end();
});

t.test('nothing in a record can steer the terminal', (t) => {
  for (const hostile of ['\u001b[2J', '\u009b2J', '\r', '\u0007']) {
    const described = describeAuditLine(
      JSON.stringify({ ...rejected, reason: hostile, user: { name: hostile } }),
    );
    t.notOk(described.includes(hostile), JSON.stringify(hostile));
    t.notOk(describeAuditLine(`no json ${hostile}`).includes(hostile));
  }
  t.end();
});

t.test('a line that is no record comes through as it is', (t) => {
  for (const line of ['plain words', '[1]', 'null', '{"broken'])
    t.equal(describeAuditLine(line), `${line}\n`);
  t.end();
});

t.test('records that arrive in pieces are printed whole', async (t) => {
  const out = new PassThrough();
  const printer = createAuditPrinter(out);
  const line = `${JSON.stringify(rejected)}\n`;
  for (let index = 0; index < line.length; index += 7) printer.write(line.slice(index, index + 7));
  await new Promise<void>((resolve) => printer.end(resolve));
  out.end();
  t.equal(await text(out), describeAuditLine(line.trimEnd()));
});
