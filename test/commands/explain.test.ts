import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { decide } from '../../src/assurance/decide.ts';
import { decideOutcome } from '../../src/assurance/outcome.ts';
import { explainCommand } from '../../src/commands/explain.ts';
import { policyOf } from '../assurance/policies.ts';

const at = '2026-06-01T12:00:00Z';
const atSeconds = Date.parse(at) / 1000;

const yaml = `
server: { public_url: "https://forge.example.com" }
upstream: { url: "http://127.0.0.1:3000" }
session: { secrets: ["0123456789abcdef0123456789abcdef0123456789abcdef"] }
sources:
  - { id: authelia, issuer: "https://auth.example.com", client_id: a, client_secret: s, mfa: { preset: authelia } }
  - { id: wide, issuer: "https://wide.example.com", client_id: a, client_secret: s, mfa: { preset: generic } }
  - id: staged
    issuer: https://staged.example.com
    client_id: a
    client_secret: s
    mfa: { preset: authelia, mode: report_only, report_only_until: 2026-07-01, enforce_for: { emails: [ann@example.com] } }
  - { id: fresh, issuer: "https://fresh.example.com", client_id: a, client_secret: s, mfa: { preset: authelia, max_auth_age: 15m } }
  - { id: trusted, issuer: "https://trusted.example.com", client_id: a, client_secret: s, mfa: { preset: authelia, mode: trust_idp } }
`;

const folder = await mkdtemp(join(tmpdir(), 'sallyport-explain-'));
t.teardown(() => rm(folder, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
const config = await file('sallyport.yaml', yaml);

/** Runs the command; claims are given as a file. */
async function run(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ status: number; out: string; err: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const status = await explainCommand.run(args, { stdout, stderr, env });
  const read = (stream: PassThrough) => ((stream.read() as Buffer | null) ?? '').toString();
  return { status, out: read(stdout), err: read(stderr) };
}
const explain = async (source: string, claims: unknown, ...more: string[]) =>
  run([
    ...['--config', config, '--source', source, '--now', at],
    ...['--claims', await file('claims.json', JSON.stringify(claims)), ...more],
  ]);

t.test('AAL2 is exit status 0, with the evidence', async (t) => {
  const { status, out } = await explain('authelia', { amr: ['pwd', 'otp', 'mfa'] });
  t.equal(status, 0);
  t.match(out, /Verdict: AAL2, on the evidence of amr = "mfa"/);
  t.match(out, /Outcome: a session at AAL2/);
  t.notMatch(out, /weak|Hint/);
});

t.test('AAL1 is exit status 1, with the steps, the reason and a hint for this vendor', async (t) => {
  const { status, out } = await explain('authelia', { amr: ['pwd', 'kba'] });
  t.equal(status, 1);
  t.match(out, /amr: no\./);
  t.match(out, /found \["pwd","kba"\], wanted "strict"/);
  t.match(out, /Verdict: AAL1: amr_not_mfa\./);
  t.match(out, /Outcome: refused: no session \(mode enforce\)/);
  t.match(out, /Hint: .*authorization_policy: two_factor/);
});

t.test('weak evidence is called weak', async (t) => {
  const { status, out } = await explain('wide', { amr: ['pwd', 'kba'] });
  t.equal(status, 0);
  t.match(out, /evidence of amr = "kba", which is weak/);
  t.match(out, /Hint: .*strict/);
});

t.test('the mode, the date and enforce_for decide the outcome, not the exit status', async (t) => {
  const bob = { amr: ['pwd'], email: 'bob@example.com', email_verified: true };
  const ann = { ...bob, email: 'Ann@Example.com' };
  const reported = await explain('staged', bob);
  t.equal(reported.status, 1);
  t.match(reported.out, /marked would_reject.*\(mode report_only\)/);
  t.match((await explain('staged', ann)).out, /refused: no session \(enforce_for names this user/);
  t.match((await explain('staged', { ...ann, email_verified: false })).out, /cannot tell this user apart/);
  const later = await explain('staged', bob, '--now', '2026-07-01T00:00:00Z');
  t.match(later.out, /report_only_until has passed/);
  t.equal((await explain('staged', { amr: ['mfa'] })).status, 0);
  const trusted = await explain('trusted', {});
  t.equal(trusted.status, 1);
  t.match(trusted.out, /attested: the IdP is trusted, nothing was verified/);
});

t.test('freshness is judged as of --now', async (t) => {
  const claims = { amr: ['mfa'], auth_time: atSeconds - 600 };
  t.equal((await explain('fresh', claims)).status, 0);
  const late = await explain('fresh', claims, '--now', '2026-06-01T13:00:00Z');
  t.equal(late.status, 1);
  t.match(late.out, /auth_too_old/);
});

t.test('what stands in claims of a support ticket steers no terminal, as text and as JSON', async (t) => {
  const claims = { amr: ['\u001b[2J\u009b2J\u202e\ud800'] };
  for (const more of [[], ['--json']]) {
    const { out } = await explain('authelia', claims, ...more);
    t.notMatch(out.replaceAll('\n', ''), /[\p{Cc}\u202e]/u, more.join());
  }
  const { out } = await explain('authelia', claims, '--json');
  t.same((JSON.parse(out) as { observed: unknown }).observed, { amr: ['\u001b[2J\u009b2J\u202e\ufffd'] });
});

t.test('--json is the decision that serve takes', async (t) => {
  for (const claims of [{ amr: ['mfa'] }, { amr: ['pwd', 'kba'] }, { amr: 7 }, {}, { acr: 'x' }]) {
    const { status, out } = await explain('authelia', claims, '--json');
    const policy = policyOf({ preset: 'authelia' });
    const verdict = decide(claims, policy, atSeconds);
    const outcome = decideOutcome(
      verdict,
      policy,
      { verifiedEmail: undefined, groups: undefined },
      atSeconds * 1000,
    );
    const shown = JSON.parse(out) as Record<string, unknown>;
    t.match(shown, { source: 'authelia', aal: verdict.aal, weak: verdict.weak, outcome: outcome.status });
    t.equal(shown['reason'], verdict.reason);
    t.equal(shown['admitted'], outcome.admit);
    t.strictSame(shown['steps'], JSON.parse(JSON.stringify(verdict.steps)));
    t.equal(status, verdict.aal === 'aal2' ? 0 : 1);
  }
});

t.test('a token is decoded, and said not to be verified', async (t) => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = `${part({ alg: 'none' })}.${part({ amr: ['mfa'], name: 'Änn' })}.c2ln`;
  const path = await file('token', `${token}\n`);
  const { status, out } = await run([
    '--config',
    config,
    '--source',
    'authelia',
    '--token',
    path,
    '--now',
    at,
  ]);
  t.equal(status, 0);
  t.match(out, /decoded, NOT verified/);
  for (const bad of [
    '',
    'x',
    'a.b',
    'a.b.c.d.e',
    `${part({})}.${part([1])}.x`,
    `x.${part('s')}.x`,
    'x.e30=.x',
  ]) {
    const refused = await run([
      '--config',
      config,
      '--source',
      'authelia',
      '--token',
      await file('bad', bad),
    ]);
    t.equal(refused.status, 2, JSON.stringify(bad));
    t.equal(refused.out, '');
  }
});

t.test('usage and configuration faults are exit status 2, each with its sentence', async (t) => {
  const claims = await file('good.json', '{"amr":["mfa"]}');
  const rows: readonly [readonly string[], RegExp][] = [
    [['--source', 'authelia', '--claims', claims], /no configuration/],
    [['--config', config, '--claims', claims], /give --source/],
    [['--config', config, '--source', 'authelia'], /either --claims FILE or --token/],
    [['--config', config, '--source', 'authelia', '--claims', claims, '--token', claims], /either/],
    [
      ['--config', config, '--source', 'nobody', '--claims', claims],
      /no source has the id "nobody"; there are: authelia/,
    ],
    [
      ['--config', config, '--source', 'authelia', '--claims', join(folder, 'nowhere')],
      /cannot be read: ENOENT/,
    ],
    [
      ['--config', config, '--source', 'authelia', '--claims', await file('l.json', '["mfa"]')],
      /no JSON object/,
    ],
    [
      ['--config', config, '--source', 'authelia', '--claims', await file('b.json', '{"amr":')],
      /no JSON object/,
    ],
    [['--config', config, '--source', 'authelia', '--claims', claims, '--now', 'yesterday'], /is not a time/],
    [['--config', join(folder, 'nowhere.yaml'), '--source', 'authelia', '--claims', claims], /nowhere\.yaml/],
    [
      [
        '--config',
        await file('bad.yaml', yaml.replace('preset: generic', 'preset: nope')),
        '--source',
        'wide',
        '--claims',
        claims,
      ],
      /nope/,
    ],
  ];
  for (const [args, message] of rows) {
    const { status, out, err } = await run(args);
    t.equal(status, 2, args.join(' '));
    t.match(err, message);
    t.equal(out, '');
  }
  await t.rejects(run(['--unknown']), { code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' });
  const byEnvironment = await run(['--source', 'authelia', '--claims', claims], { SALLYPORT_CONFIG: config });
  t.equal(byEnvironment.status, 0);
});

t.test('what a token holds cannot steer the terminal', async (t) => {
  const { out } = await explain('authelia', { amr: ['\u001b[2J\u009b2J\u202emfa'], acr: 'x'.repeat(5000) });
  // eslint-disable-next-line no-control-regex -- control characters are what must not be there
  t.notMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  t.ok(out.length < 4000, 'and is bounded');
});
