import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openDesk, soundConfig, startReplica } from '../reload/stage.ts';
import { auditFaults } from '../support/audit-lines.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

const routes = [{ name: 'open', path: '/open/**', access: 'public' }] as never;
const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());

/** Requests, each with how long it took: none may wait for whoever keeps the trail. */
async function hammer(origin: string, count: number): Promise<number> {
  let slowestMs = 0;
  for (let at = 0; at < count; at += 1) {
    const startedAt = performance.now();
    const refused = at % 4 === 0;
    const path = refused ? '/_sallyport/callback/idp?code=x&state=y' : '/open/door';
    const { status } = await fetch(`${origin}${path}`);
    if (status !== (refused ? 400 : 200)) throw new Error(`${path}: ${status}`);
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
  }
  return slowestMs;
}

t.test('a disk that is full: everything goes on, and the lines are counted as lost', async (t) => {
  const desk = openDesk();
  const { origin, config } = await soundConfig(upstream.url);
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  op.nextLogin = { sub: 'ada', amr: ['pwd', 'mfa'], claims: { preferred_username: 'ada' } };
  desk.write({
    ...config,
    sources: [{ id: 'idp', issuer: op.issuer, ...testClient }],
    audit: { file: '/dev/full' },
    routes,
  });
  const replica = await startReplica(desk.path, { audit: 'file' });
  t.teardown(async () => {
    await replica.close();
    await op.stop();
    desk.clear();
  });
  t.ok((await hammer(origin, 100)) < 2_000, 'nobody waits');
  t.equal((await new UserAgent().follow(`${origin}/page`)).last.status, 200, 'people sign in');
  const lost = (): Promise<number | undefined> => replica.metric('sallyport_audit_lost_total');
  // 25 callbacks that were refused, and a sign-in.
  await until(async () => (await lost()) === 26, 'each line is counted');
  t.ok(replica.told('audit lines are being lost').length === 1, 'the operator is told, not flooded');

  const kept = join(desk.directory, 'audit.jsonl');
  desk.write({
    ...config,
    sources: [{ id: 'idp', issuer: op.issuer, ...testClient }],
    audit: { file: kept },
    routes,
  });
  await replica.supervisor.reload({ trigger: 'signal' });
  await hammer(origin, 4);
  await until(
    () => readFileSync(kept, 'utf8').includes('"action":"signin.failed"'),
    'on another disk it goes on',
  );
  t.equal(await lost(), 26, 'and nothing more is lost');
});

for (const { title, spoil } of [
  { title: 'a pipe whose reader is gone', spoil: 'close' as const },
  { title: 'a pipe whose reader has stopped', spoil: 'stall' as const },
]) {
  t.test(`${title}: the process lives, and nobody waits for it`, async (t) => {
    const desk = openDesk();
    const { origin, config } = await soundConfig(upstream.url);
    const operations = new URL(await loopbackOrigin()).host;
    desk.write({ ...config, operations: { listen: operations }, log: { access: true }, routes });
    const child = spawn(process.execPath, ['--import=tsx', 'src/main.ts', 'serve', '--config', desk.path], {
      env: { PATH: process.env['PATH'] ?? '' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exit = once(child, 'exit');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await exit;
      desk.clear();
    });
    let ready = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (ready += chunk));
    await until(() => ready.includes('"ready"'), 'ready', 30_000);
    child.stdout.removeAllListeners('data').pause();
    if (spoil === 'close') child.stdout.destroy();
    t.ok((await hammer(origin, 800)) < 2_000, 'nobody waits');
    if (spoil === 'close') {
      await until(async () => {
        const page = await (await fetch(`http://${operations}/metrics`)).text();
        return /^sallyport_audit_lost_total 200$/m.test(page);
      }, 'each line of the trail is counted');
    }
    t.equal(child.exitCode, null, 'it runs');
  });
}

t.test(
  'whatever an IdP, a browser or a client writes: one event is one line, and it validates',
  async (t) => {
    const nasty =
      'x"}\r\n{"log_type":"audit","action":"signin.succeeded","user":{"id":"root"}}\n\u2028\u0085\u0000\u001b[2J\ud800';
    const desk = openDesk();
    const { origin, config } = await soundConfig(upstream.url);
    const op = await startOp({ clients: [clientOf(origin, 'idp')] });
    const file = join(desk.directory, 'audit.jsonl');
    desk.write({
      ...config,
      sources: [{ id: 'idp', issuer: op.issuer, ...testClient, mfa: { mode: 'report_only' } }],
      audit: { file },
      server: { ...(config['server'] as object), trusted_proxies: ['127.0.0.1/32'] },
      routes,
    });
    const replica = await startReplica(desk.path, { audit: 'file' });
    t.teardown(async () => {
      await replica.close();
      await op.stop();
      desk.clear();
    });
    op.nextLogin = {
      sub: 'ada',
      amr: [nasty, 'pwd'],
      acr: nasty,
      claims: { preferred_username: 'ada', name: nasty, email: `${nasty}@example.com`, groups: [nasty] },
    };
    await new UserAgent().follow(`${origin}/page`);
    op.nextError = { error: 'access_denied', error_description: nasty.replace(/[^\x20-\x7e]/g, ' ') };
    await new UserAgent().follow(`${origin}/page`);
    const encoded = encodeURIComponent(nasty.replace('\ud800', ''));
    for (const path of [
      `callback/idp?error=${encoded}&error_description=${encoded}&state=${encoded}`,
      `callback/idp?code=${encoded}&state=${encoded}`,
    ])
      await fetch(`${origin}/_sallyport/${path}`, {
        headers: {
          'user-agent': 'x"}\t{"log_type":"audit"}',
          'x-forwarded-for': '"}{"log_type":"audit"',
          traceparent: '"}{',
        },
      });
    const lines = await until(() => {
      const found = readFileSync(file, 'utf8').split('\n').slice(0, -1);
      return found.filter((line) => line.includes('"action":"signin.failed"')).length >= 2
        ? found
        : undefined;
    }, 'the last one is written');
    for (const line of lines) {
      t.equal(auditFaults(JSON.parse(line)), '');
      t.notMatch(
        line,
        /[\p{Cc}\u2028\u2029]/u,
        'nothing that a reader of lines or a terminal takes for its own',
      );
    }
    const actions = lines.map((line) => (JSON.parse(line) as { action: string }).action);
    t.same(actions.filter((action) => action === 'signin.succeeded').length <= 1, true, 'none was made up');
    t.ok(actions.length <= 5, actions.join(' '));
  },
);
