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

const dir = mkdtempSync(join(tmpdir(), 'sallyport-status-'));
const redis = await startRedis();
const upstream = await startEchoUpstream();
const origin = await loopbackOrigin();
const op = await startOp({ clients: [clientOf(origin, 'main', 'other')] });
const session = { secrets: ['a-secret-that-both-of-them-have-in-their-file'], redis: { url: redis.url } };
const sources = ['main', 'other'].map((id) => ({ id, issuer: op.issuer, mfa: { mode: 'report_only' } }));
const sallyport = await startSallyport({
  origin,
  upstream: upstream.url,
  sources,
  config: { session, operators: [{ source: 'main', emails: ['ada@example.com'] }] },
});
t.teardown(async () => {
  await sallyport.close();
  await op.stop();
  await upstream.close();
  await redis.stop();
  rmSync(dir, { recursive: true });
});

function fileWith(changes: Record<string, unknown> = {}): string {
  const file = join(dir, `${Object.keys(changes).join('-') || 'plain'}.yaml`);
  writeFileSync(
    file,
    stringify({
      server: { public_url: origin },
      upstream: { url: upstream.url },
      session,
      sources: sources.map((source) => ({ ...testClient, ...source })),
      ...changes,
    }),
  );
  return file;
}

async function run(...args: readonly string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const status = await dispatch(['status', ...args], { stdout, stderr, env: {} });
  return { status, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}

/** The program's own page as JSON, for its operator. */
async function pageJson(browser: UserAgent): Promise<{ sources: Record<string, unknown>[] }> {
  return (await browser.request('GET', `${origin}/_sallyport/status?format=json`)).json();
}

t.test('the terminal shows what the page shows, and steers no terminal', async (t) => {
  const signIn = async (name: string, amr: readonly string[]): Promise<UserAgent> => {
    op.nextLogin = {
      sub: name,
      amr,
      claims: { preferred_username: name, email: `${name}@example.com`, email_verified: true },
    };
    const browser = new UserAgent();
    await browser.follow(`${origin}/_sallyport/signin?source=main&return_to=/`);
    return browser;
  };
  const ada = await signIn('ada', ['pwd', 'mfa']);
  await signIn('uma', ['pwd', '\u001b[2J\u009b2J\u202e']);
  const shown = await until(async () => {
    const { status, out } = await run('--config', fileWith());
    t.equal(status, 0);
    return out.includes('uma@example.com') && out.includes('MFA verified') ? out : undefined;
  }, 'both are counted');
  t.match(shown, /^Source main \(.*\), preset generic, mode report_only$/m);
  t.match(shown, /^ +1 {2}MFA verified$/m);
  t.match(shown, /^ +1 {2}Let in, would be refused$/m);
  t.match(shown, /^ +1 {2}amr_not_mfa, would be refused$/m);
  t.match(
    shown,
    /"uma@example\.com" {2}amr_not_mfa, would be refused\n.*observed.*\n.*Nothing in amr is accepted/,
  );
  t.match(shown, /^Source other .*\n\nSign-ins of the last 14 days: none$/m);
  // eslint-disable-next-line no-control-regex -- exactly these are meant
  t.notMatch(shown, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);

  const { out } = await run('--config', fileWith(), '--source', 'main', '--json');
  const printed = JSON.parse(out) as { sources: Record<string, unknown>[] };
  const { idp, ...page } = (await pageJson(ada)).sources[0]!;
  t.ok(idp, 'known to the running process alone');
  t.same(printed.sources, [page]);
  t.match(JSON.stringify(printed), '\u009b2J');
  // eslint-disable-next-line no-control-regex -- exactly these are meant
  t.notMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/, 'as JSON neither');
});

t.test('wrong use, sessions in memory, and Redis that is not there', async (t) => {
  t.match(await run(), { status: 2, err: /no configuration/ });
  t.match(await run('--config', fileWith(), '--source', 'nobody'), {
    status: 2,
    err: /there are: main, other/,
  });
  t.match(await run('--config', fileWith({ session: { secrets: session.secrets } })), {
    status: 2,
    err: /session\.redis is not set/,
  });
  const gone = { secrets: session.secrets, redis: { url: 'redis://127.0.0.1:1' } };
  t.match(
    await run(
      '--config',
      fileWith({ sources: sources.map((each) => ({ ...testClient, ...each })), session: gone }),
    ),
    {
      status: 1,
      err: /Redis cannot be reached/,
    },
  );
});
