import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, loopbackOrigin, startSallyport, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

const secret = 'a-secret-that-both-of-them-have-in-their-file';
const dir = mkdtempSync(join(tmpdir(), 'sallyport-canary-'));
const redis = await startRedis();
const upstream = await startEchoUpstream();
const origin = await loopbackOrigin();
const op = await startOp({ clients: [clientOf(origin, 'main')] });
const session = { secrets: [secret], redis: { url: redis.url } };
const sallyport = await startSallyport({
  origin,
  upstream: upstream.url,
  sources: [{ id: 'main', issuer: op.issuer, mfa: { mode: 'report_only' } }],
  config: { session },
});
t.teardown(async () => {
  await sallyport.close();
  await op.stop();
  await upstream.close();
  await redis.stop();
  rmSync(dir, { recursive: true });
});

/** The file that the command reads: the one of serve, changed. */
function fileWith(changes: Record<string, unknown> = {}): string {
  const file = join(dir, `${Object.keys(changes).join('-') || 'plain'}.yaml`);
  const source = { id: 'main', issuer: op.issuer, ...testClient, mfa: { mode: 'report_only' } };
  writeFileSync(
    file,
    stringify({
      server: { public_url: origin },
      upstream: { url: upstream.url },
      session,
      sources: [source],
      ...changes,
    }),
  );
  return file;
}

function run(...args: readonly string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const text = { out: '', err: '' };
  stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  return { text, status: dispatch(['canary', ...args], { stdout, stderr, env: {} }) };
}

async function openLink(text: () => string) {
  const link = await until(() => /http\S+ticket=[\w-]{43}/.exec(text())?.[0], 'the link is printed');
  return (await new UserAgent().follow(link)).last;
}

t.test('AAL2: the result comes to the terminal, exit 0, and Redis holds nothing readable', async (t) => {
  op.nextLogin = { sub: 'alice', amr: ['pwd', 'mfa'], claims: { preferred_username: 'alice' } };
  const { text, status } = run('--source', 'main', '--config', fileWith());
  const page = await openLink(() => text.out);
  t.match(page.body, /AAL2/);
  const ticket = /ticket=([\w-]{43})/.exec(text.out)?.[1] ?? '';
  const dump = (await redis.dump()).join('\n');
  t.notMatch(dump, ticket);
  t.notMatch(dump, /alice|amr|main\b/);
  t.equal(await status, 0);
  t.match(text.out, /The IdP sent:\n {2}amr: \["pwd","mfa"\]/);
  t.match(text.out, /other claims: \[.*"preferred_username"/);
  t.match(text.out, /1\. acr: not looked at/);
  t.match(text.out, /Verdict: AAL2, on the evidence of amr = "mfa"/);
  t.match(text.out, /Outcome: a session at AAL2/);
  t.equal(
    (await new UserAgent().request('GET', `${origin}/_sallyport/canary/main?ticket=${ticket}`)).status,
    403,
  );
});

t.test('AAL1: exit 1, one JSON object, and what an IdP wrote cannot steer the terminal', async (t) => {
  op.nextLogin = {
    sub: 'bob',
    amr: ['pwd', '\u001b[2J', '\u009b2J\u202e\ud800'],
    claims: { preferred_username: 'bob' },
  };
  const { text, status } = run('--source', 'main', '--json', '--config', fileWith());
  await openLink(() => text.err);
  t.equal(await status, 1);
  const report = JSON.parse(text.out) as Record<string, unknown>;
  t.match(report, {
    source: 'main',
    result: 'decided',
    decision: {
      aal: 'aal1',
      reason: 'amr_not_mfa',
      outcome: 'would_reject',
      admitted: true,
      observed: { amr: ['pwd', '\u001b[2J', '\u009b2J\u202e\ufffd'] },
      suggestion: { kind: 'none' },
    },
  });
  t.notMatch(text.out.replaceAll('\n', ''), /[\p{Cc}\u202e]/u);
  const plain = run('--source', 'main', '--config', fileWith());
  await openLink(() => plain.text.out);
  t.equal(await plain.status, 1);
  t.notMatch(plain.text.out.replaceAll('\n', ''), /[\p{Cc}\u202e]/u);
  t.match(plain.text.out, /Hint: Nothing in amr is accepted/);
});

t.test('an error of the IdP is told, and is no success', async (t) => {
  op.nextError = { error: 'access_denied', error_description: 'go away' };
  const { text, status } = run('--source', 'main', '--config', fileWith());
  await openLink(() => text.out);
  t.equal(await status, 1);
  t.match(text.out, /Nothing was decided: idp_refused \("access_denied", "go away"\)/);
});

t.test('nobody comes: exit 1, and the link is over', async (t) => {
  const { text, status } = run('--source', 'main', '--wait', '1s', '--config', fileWith());
  t.equal(await status, 1);
  t.match(text.err, /nobody came back within 1s/);
  t.equal((await openLink(() => text.out)).status, 403);
});

t.test('usage and configuration: exit 2', async (t) => {
  const table: readonly (readonly [readonly string[], RegExp])[] = [
    [['--config', fileWith()], /give --source/],
    [['--source', 'main'], /no configuration/],
    [['--source', 'nope', '--config', fileWith()], /there are: main/],
    [['--source', 'main', '--wait', 'long', '--config', fileWith()], /no duration/],
    [['--source', 'main', '--wait', '2d', '--config', fileWith()], /no duration/],
    [['--source', 'main', '--config', fileWith({ canary: 'off' })], /switched off/],
    [
      ['--source', 'main', '--config', fileWith({ session: { secrets: [secret] } })],
      /session\.redis is not set/,
    ],
    [['--source', 'main', '--config', fileWith({ upstream: {} })], /upstream\.url/],
  ];
  for (const [args, message] of table) {
    const { text, status } = run(...args);
    t.equal(await status, 2, args.join(' '));
    t.match(text.err, message);
    t.equal(text.out, '');
  }
});

t.test('Redis that is not there: exit 1, said in a sentence', async (t) => {
  const file = fileWith({ session: { secrets: [secret], redis: { url: 'redis://127.0.0.1:1' } } });
  const { text, status } = run('--source', 'main', '--config', file);
  t.equal(await status, 1);
  t.match(text.err, /^sallyport canary: Redis cannot be reached: .*\n$/);
});
