import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { openDesk, soundConfig, startReplica } from './stage.ts';

type Json = Record<string, unknown>;

const updated = 'sso.auth-source.oidc-mfa-config.update';
const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());

function sallyport(...args: string[]) {
  const child = spawn(process.execPath, ['--import=tsx', 'src/main.ts', ...args], {
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (out.stderr += chunk));
  const exit = once(child, 'close') as Promise<[number | null]>;
  return { child, out, exit };
}

async function run(...args: string[]) {
  const { out, exit } = sallyport(...args);
  const [status] = await exit;
  return { status, ...out };
}

const jsonLines = (text: string): Json[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Json);

t.test('a running process: the command, the signal, and the log that is rotated', async (t) => {
  const desk = openDesk();
  const { origin, config } = await soundConfig(upstream.url);
  const socket = join(desk.directory, 'control.sock');
  const auditFile = join(desk.directory, 'audit.jsonl');
  const withMfa = (mfa: Json, more: Json = {}): Json => ({
    ...config,
    operations: { listen: '127.0.0.1:0', control_socket: 'control.sock' },
    audit: { file: 'audit.jsonl' },
    change: { actor: 'ci', ref: '4f1c2a9' },
    sources: (config['sources'] as Json[]).map((source) => ({ ...source, mfa })),
    ...more,
  });
  desk.write(withMfa({ mode: 'report_only' }));
  const server = sallyport('serve', '--config', desk.path);
  t.teardown(async () => {
    server.child.kill('SIGKILL');
    await server.exit;
    desk.clear();
  });
  const told = (message: string) =>
    jsonLines(server.out.stdout).filter((line) => String(line['message']).startsWith(message));
  const audited = (file: string) => (existsSync(file) ? jsonLines(readFileSync(file, 'utf8')) : []);
  await until(() => told('ready').length > 0 && existsSync(socket), 'ready', 30_000);
  t.equal(statSync(socket).mode & 0o777, 0o600, 'nobody else may open the socket');

  t.test('reload --actor: applied, and the audit trail says who', async (t) => {
    desk.write(withMfa({ mode: 'enforce' }));
    const { status, stdout } = await run('reload', '--config', desk.path, '--actor', 'alice@example.com');
    t.equal(status, 0);
    t.equal(stdout, 'applied\n');
    await until(() => audited(auditFile).length > 0, 'the event');
    const events = audited(auditFile);
    t.equal(events.length, 1);
    t.match(events[0], {
      action: updated,
      auth_source: 'idp',
      actor: 'alice@example.com',
      actor_from: 'command',
      ref: '4f1c2a9',
      previous: { require_oidc_amr_mfa: false },
      next: { require_oidc_amr_mfa: true },
    });
  });

  t.test('reload of a bad file: refused, with everything that is wrong, and nothing changes', async (t) => {
    desk.write(stringify(withMfa({ mode: 'enforced' }, { rotues: [] })));
    const { status, stderr } = await run('reload', '--config', desk.path);
    t.equal(status, 2);
    t.match(stderr, 'rotues');
    t.match(stderr, 'mfa.mode');
    t.match(stderr, 'stays in force');
    t.equal((await fetch(`${origin}/x`)).status, 401);
  });

  t.test('SIGHUP opens the audit file anew and applies the file', async (t) => {
    renameSync(auditFile, `${auditFile}.1`);
    desk.write(withMfa({ mode: 'carry_over' }));
    const before = told('a new configuration is in force').length;
    server.child.kill('SIGHUP');
    await until(() => told('a new configuration is in force').length > before, 'applied');
    await until(() => audited(auditFile).length > 0, 'the event is in the new file');
    t.match(audited(auditFile)[0], {
      action: updated,
      actor: 'ci',
      actor_from: 'change',
      next: { mode: 'carry_over' },
    });
    t.equal(audited(`${auditFile}.1`).length, 1, 'and not in the old one');
  });

  t.test('wrong use, and nobody there', async (t) => {
    t.equal((await run('reload', '--socket', socket, '--actor', 'a\u0007b')).status, 2);
    const nobody = await run('reload', '--socket', join(desk.directory, 'nobody.sock'));
    t.equal(nobody.status, 1);
    t.match(nobody.stderr, 'no process listens there');
  });

  t.test('the socket goes with the process', async (t) => {
    server.child.kill('SIGTERM');
    const [status] = await server.exit;
    t.equal(status, 0, server.out.stderr);
    t.notOk(existsSync(socket));
  });
});

t.test('two replicas on one Redis: one event for a change, none for a restart', async (t) => {
  const redis = await startRedis();
  const session = { redis: { url: redis.url } };
  const first = await soundConfig(upstream.url, { session });
  const second = await soundConfig(upstream.url, { session });
  const desks = [openDesk(), openDesk()];
  const write = (mfa: Json): void =>
    desks.forEach((each, index) => {
      const { config } = [first, second][index]!;
      each.write({
        ...config,
        sources: (config['sources'] as Json[]).map((source) => ({ ...source, mfa })),
      });
    });
  write({ mode: 'report_only' });
  let replicas = await Promise.all(desks.map(({ path }) => startReplica(path)));
  t.teardown(async () => {
    await Promise.all(replicas.map((replica) => replica.close()));
    await redis.stop();
    for (const each of desks) each.clear();
  });
  const events = () => replicas.flatMap((replica) => replica.audited(updated));
  await until(() => events().length === 1, 'the first start of all');
  for (const [mode, count] of [
    ['enforce', 2],
    ['report_only', 3],
    ['enforce', 4],
  ] as const) {
    write({ mode });
    await Promise.all(replicas.map(({ supervisor }) => supervisor.reload({ trigger: 'signal' })));
    await until(() => events().length === count, `${mode} is told`);
  }
  t.match(events().at(-1), { actor: /\S/, actor_from: 'file_owner' });
  t.equal(events().length, 4);

  await Promise.all(replicas.map((replica) => replica.close()));
  replicas = await Promise.all(desks.map(({ path }) => startReplica(path)));
  write({ mode: 'report_only' });
  await Promise.all(replicas.map(({ supervisor }) => supervisor.reload({ trigger: 'signal' })));
  await until(() => events().length > 0, 'the change after the restart');
  t.strictSame(
    events().map(({ next }) => (next as Json)['mode']),
    ['report_only'],
    'the restart itself told nothing',
  );
});
