import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { askReload } from '../../src/reload/control-socket.ts';
import { buildProgram } from '../support/built.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, loopbackOrigin, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';
import { stopwatch } from '../support/stopwatch.ts';
import { ask, countersOf, lives, load, many, serve, startApp } from '../workers/stage.ts';

type Json = Record<string, unknown>;

const { main, clear } = buildProgram();
const redis = await startRedis();
t.teardown(async () => {
  await redis.stop();
  clear();
});
const updated = 'sso.auth-source.oidc-mfa-config.update';
const inForce = 'a new configuration is in force';
const replaced = 'a worker has taken the place of one that ended';

t.test('two workers are one to their users and to their operators', async (t) => {
  const app = await startApp(t);
  const origin = await loopbackOrigin();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  t.teardown(() => op.stop());
  const sources = (mode: string): Json[] => [
    { id: 'idp', issuer: op.issuer, ...testClient, mfa: { mode, aal2_amr_values: 'strict' } },
    { id: 'gone', issuer: 'http://127.0.0.1:9', ...testClient, mfa: { aal2_amr_values: 'strict' } },
  ];
  const served = await serve(t, main, {
    upstream: app.url,
    redis: redis.url,
    origin,
    more: {
      server: { rate_limit: { sign_in: '50/1m' } },
      operations: { control_socket: 'control.sock' },
      audit: { file: 'audit.jsonl' },
      sources: sources('enforce'),
    },
  });
  const { told, seen } = served;
  const auditFile = join(served.directory, 'audit.jsonl');
  const audited = (file = auditFile): readonly Json[] =>
    existsSync(file)
      ? readFileSync(file, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Json)
      : [];
  const reload = () => askReload(join(served.directory, 'control.sock'), 'alice@example.com');
  const workers = served.workers();
  const signIn = `${origin}/_sallyport/signin?source=idp&return_to=/page`;
  const cookieOf = (browser: UserAgent): Json => ({
    cookie: `sallyport=${browser.cookie(origin, 'sallyport') ?? ''}`,
  });
  const whoami = (headers: Json) =>
    ask(`${origin}/_sallyport/whoami`, { headers: headers as Record<string, string> });

  t.equal(workers.length, 2);
  await until(() => told('ready').length > 0, 'ready');
  t.equal(told('ready').length, 1, 'one ready line');
  t.match(told('ready')[0], { listen: origin, operations: served.operations, 'process.pid': served.pid });
  await until(async () => {
    await many(10, () => ask(`${origin}/open/a`));
    return workers.every((pid) => seen().has(pid));
  }, 'both serve');
  t.notOk(seen().has(served.pid), 'the primary serves nobody');

  await t.test('a sign-in counts once, whichever worker gets it', async (t) => {
    const browser = new UserAgent();
    const { last } = await browser.follow(signIn, {
      until: (url) => url.includes('/_sallyport/callback/'),
    });
    const cookie = browser
      .cookies(`${origin}/_sallyport/callback/idp`)
      .map(({ name, value }) => `${name}=${value}`);
    const callback = last.location ?? '';
    const answers = await many(12, () => ask(callback, { headers: { cookie: cookie.join('; ') } }));
    const signedIn = answers.filter(({ headers }) =>
      ((headers['set-cookie'] ?? []) as string[]).some((line) => /^sallyport=[^;]{20}/.test(line)),
    );
    t.equal(signedIn.length, 1, answers.map(({ status }) => status).join(' '));
  });

  const browser = new UserAgent();
  t.equal((await browser.follow(signIn)).last.status, 200);
  const session = cookieOf(browser);

  await t.test('a session opens in all, and a sign-out ends it in all at once', async (t) => {
    const other = new UserAgent();
    t.equal((await other.follow(signIn)).last.status, 200);
    const headers = cookieOf(other);
    const before = served.lines().length;
    await until(async () => {
      await many(5, () => whoami(headers));
      const opened = served
        .lines()
        .slice(before)
        .filter(
          (line) => line['url.path'] === '/_sallyport/whoami' && line['http.response.status_code'] === 200,
        );
      return workers.every((pid) => opened.some((line) => line['process.pid'] === pid));
    }, 'both have it open');
    const page = await other.request('GET', `${origin}/_sallyport/signout`);
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
    await other.follow(`${origin}/_sallyport/signout`, {
      method: 'POST',
      body: new URLSearchParams({ csrf }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      from: `${origin}/_sallyport/signout`,
      until: () => true,
    });
    const elapsedMs = stopwatch();
    await until(
      async () => (await many(20, () => whoami(headers))).every(({ status }) => status === 401),
      'ended',
    );
    t.ok(elapsedMs() < 2_000, 'long before session.cache is over');
    t.equal((await whoami(session)).status, 200, 'nobody else is signed out');
  });

  await t.test('the bound on sign-ins holds for both together', async (t) => {
    const answers = await many(90, () => ask(`${origin}/_sallyport/signin?source=gone`));
    t.equal(answers.filter(({ status }) => status !== 429).length, 50);
  });

  await t.test(
    'a worker is killed under load: it is replaced, and counters never go backwards',
    async (t) => {
      const clients = Array.from(
        { length: 6 },
        (_, index) => () => ask(`${origin}/open/${index % 2 ? 'slow' : 'a'}`),
      );
      const traffic = load([...clients, () => whoami(session)]);
      const pages: ReadonlyMap<string, number>[] = [];
      let unready = 0;
      const watch = { goesOn: true };
      const watching = (async () => {
        while (watch.goesOn) {
          pages.push(await countersOf(served));
          if ((await served.look('/readyz')).status !== 200) unready += 1;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      })();
      try {
        for (const pid of workers) {
          await until(() => pages.length > 2 && traffic.total() > 100, 'load');
          process.kill(pid, 'SIGKILL');
          await until(() => served.told(replaced).length > workers.indexOf(pid), 'a replacement', 30_000);
          pages.push(await countersOf(served));
        }
      } finally {
        watch.goesOn = false;
        await watching;
        await traffic.stop();
      }
      const { 200: whole = 0, ...lost } = Object.fromEntries(traffic.outcomes);
      t.ok(whole > 100);
      t.ok(
        Object.values(lost).reduce((sum, count) => sum + count, 0) <= 14,
        `no more than ran: ${JSON.stringify(lost)}`,
      );
      t.notOk(
        Object.keys(lost).some((outcome) => /^\d+$/.test(outcome)),
        JSON.stringify(lost),
      );
      t.equal(unready, 0, 'ready all the while');
      const ends = told('a worker ended unexpectedly');
      t.match(
        ends.map((line) => line['exit_signal']),
        ['SIGKILL', 'SIGKILL'],
      );
      t.notOk(workers.some(lives));
      const backwards = pages
        .slice(1)
        .flatMap((page, index) =>
          [...(pages[index] ?? [])]
            .filter(([series, value]) => (page.get(series) ?? -1) < value)
            .map(([series]) => series),
        );
      t.same([...new Set(backwards)], []);
      t.equal((await whoami(session)).status, 200, 'nobody is signed out');
      t.equal(
        audited().filter(({ action }) => action === updated).length,
        2,
        'the start of each source was told once',
      );
    },
  );

  await t.test('a reload under load: no request is lost, all have it, and it is told once', async (t) => {
    const traffic = load([
      ...Array.from({ length: 4 }, () => () => ask(`${origin}/open/slow`)),
      () => whoami(session),
    ]);
    for (const [index, mode] of ['report_only', 'enforce', 'report_only'].entries()) {
      served.write({
        sources: sources(mode),
        routes: [
          { name: 'open', path: '/open/**', access: 'public' },
          { name: 'more', path: `/more-${index}/**`, access: 'public' },
        ],
        server: { workers: 3 },
      });
      const outcome = await reload();
      t.match(outcome, { result: 'applied', restartRequired: ['server.workers'] });
      const statuses = (await many(20, () => ask(`${origin}/more-${index}/x`))).map(({ status }) => status);
      t.same([...new Set(statuses)], [200], 'all have it');
    }
    await traffic.stop();
    t.same([...traffic.outcomes.keys()], ['200'], JSON.stringify([...traffic.outcomes]));
    t.equal(told(inForce).length, 3);
    t.equal(told('not applied before a restart, the running values stay: server.workers').length, 3);
    const events = () =>
      audited().filter(({ action, auth_source }) => action === updated && auth_source === 'idp');
    await until(() => events().length >= 4, 'the events');
    t.same(
      events()
        .slice(1)
        .map(({ actor, next }) => [actor, (next as Json)['mode']]),
      ['report_only', 'enforce', 'report_only'].map((mode) => ['alice@example.com', mode]),
    );
    const page = (await served.look('/metrics')).text;
    t.match(page, /^sallyport_config_reloads_total\{result="applied"\} 3$/m);
    t.match(page, /^sallyport_config_last_reload_successful 1$/m);
  });

  await t.test(
    'a broken file lies on disk: who replaces a dead worker starts with what is in force',
    async (t) => {
      served.write('server: {');
      t.match(await reload(), { result: 'refused', report: /sallyport\.yaml/ });
      const refusals = () => told('the new configuration is refused: the one before stays in force').length;
      await until(() => refusals() > 0, 'it is told');
      t.equal(refusals(), 1);
      const before = served.told(replaced).length;
      const [victim = 0] = served.workers();
      process.kill(victim, 'SIGKILL');
      await until(() => served.told(replaced).length > before, 'a replacement', 30_000);
      const fresh = Number(served.told(replaced).at(-1)?.['worker']);
      await until(async () => {
        const statuses = (await many(10, () => ask(`${origin}/more-2/x`))).map(({ status }) => status);
        t.same([...new Set(statuses)], [200]);
        return seen().has(fresh);
      }, 'the new one serves');
      t.match((await served.look('/metrics')).text, /^sallyport_config_last_reload_successful 0$/m);
      t.equal(told(inForce).length, 3);
    },
  );

  await t.test('SIGHUP opens the audit trail anew, for all', async (t) => {
    served.write({ sources: sources('enforce') });
    renameSync(auditFile, `${auditFile}.1`);
    const before = audited(`${auditFile}.1`).length;
    process.kill(served.pid, 'SIGHUP');
    await until(() => told(inForce).length > 3, 'in force');
    t.equal((await new UserAgent().follow(signIn)).last.status, 200);
    await until(
      () => audited().some(({ action }) => action === 'signin.succeeded'),
      'the event is in the new file',
    );
    t.ok(audited().some(({ action }) => action === updated));
    t.equal(audited(`${auditFile}.1`).length, before, 'and nothing in the old one');
  });

  await t.test('every line is whole, and every request has one', async (t) => {
    const before = served.lines().length;
    const long = 'x'.repeat(1_000);
    for (let round = 0; round < 5; round += 1) await many(100, () => ask(`${origin}/open/${long}`));
    const lines = await until(() => {
      const found = served
        .lines()
        .slice(before)
        .filter((line) => String(line['url.path']).includes(long));
      return found.length >= 500 ? found : undefined;
    }, 'all lines');
    t.equal(lines.length, 500);
    t.equal(new Set(lines.map((line) => line['request_id'])).size, 500);
  });
  t.equal(served.out.stderr, '');
});
