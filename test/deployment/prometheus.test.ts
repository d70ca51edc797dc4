import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parse } from 'yaml';
import { findProgram } from '../setup/programs.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { readShipped } from './manifests.ts';

/*
 * The shipped rules and the dashboard against a running Sallyport: promtool's own unit tests, a scrape by a real Prometheus,
 * and every name that they use looked for on the real page.
 */

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}
const rules = (
  parse(readShipped('prometheus/alerts.yaml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
}
const dashboard = JSON.parse(readShipped('grafana/sallyport.json')) as {
  panels: Panel[];
  templating: { list: { name: string; definition?: string }[] };
  annotations: { list: { expr: string }[] };
};
const dashboardExpressions = [
  ...dashboard.panels.flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ expr }) => expr),
];
const variableQueries = dashboard.templating.list.flatMap(({ definition }) => definition ?? []);

const metricNames = (expression: string): readonly string[] =>
  expression.match(/\b(?:sallyport|nodejs|process)_[a-z0-9_]+/g) ?? [];

const promtool = (...args: readonly string[]) => {
  const folder = fileURLToPath(new URL('../../config/prometheus/', import.meta.url));
  const { status, stdout, stderr } = spawnSync(findProgram('promtool') ?? 'promtool', args, {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, said: stdout + stderr };
};

t.test(
  'promtool finds the rules and the example configuration sound, and their unit tests pass',
  async (t) => {
    t.match(promtool('check', 'config', 'prometheus.yaml'), { status: 0 });
    const { status, said } = promtool('test', 'rules', 'alerts.test.yaml');
    t.equal(status, 0, said);
  },
);

t.test('every alert is made to fire and shown silent, and stands in the operations manual', async (t) => {
  interface Case {
    readonly alert_rule_test: readonly {
      readonly alertname: string;
      readonly exp_alerts: readonly unknown[];
    }[];
  }
  const { tests } = parse(readShipped('prometheus/alerts.test.yaml')) as { tests: Case[] };
  const cases = tests.flatMap((each) => each.alert_rule_test);
  const manual = readShipped('../docs/operations.md');
  for (const { alert, labels, annotations } of rules) {
    const own = cases.filter(({ alertname }) => alertname === alert);
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts.length > 0),
      `${alert} fires`,
    );
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts.length === 0),
      `${alert} is silent`,
    );
    t.match(labels.severity, /^(?:critical|warning|info)$/);
    t.equal(annotations.runbook, `docs/operations.md#${alert.toLowerCase()}`);
    t.match(manual, `### ${alert}\n`);
  }
  t.equal(new Set(cases.map(({ alertname }) => alertname)).size, rules.length);
});

t.test('the dashboard has whole rows, unique ids, and asks the data source that was chosen', async (t) => {
  const { panels } = dashboard;
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const { title, type, gridPos, targets } of panels) {
    t.ok(gridPos.x + gridPos.w <= 24, title);
    if (type === 'row') continue;
    t.ok((targets ?? []).length > 0, title);
    for (const { datasource } of targets ?? []) t.equal(datasource.uid, '${datasource}', title);
  }
  const area = panels.reduce((sum, { gridPos }) => sum + gridPos.w * gridPos.h, 0);
  const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  t.equal(area, 24 * height, 'no gaps and no overlap');
});

t.test('a real Prometheus scrapes a running Sallyport', async (t) => {
  const origin = await loopbackOrigin();
  const redis = await startRedis();
  const sallyport = await startSallyport({
    origin,
    upstream: 'http://127.0.0.1:9',
    sources: [{ id: 'idp', issuer: 'http://127.0.0.1:9', mfa: { preset: 'authelia' } }],
    config: { session: { redis: { url: redis.url } } },
  });
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-prometheus-'));
  cpSync(new URL('../../config/prometheus/alerts.yaml', import.meta.url), join(directory, 'alerts.yaml'));
  const example = readShipped('prometheus/prometheus.yaml');
  t.match(example, '127.0.0.1:9464');
  writeFileSync(
    join(directory, 'prometheus.yaml'),
    example.replace('127.0.0.1:9464', sallyport.operations).replaceAll('15s', '1s'),
  );
  mkdirSync(join(directory, 'data'));
  const port = await freePort();
  const prometheus = spawn(
    findProgram('prometheus') ?? 'prometheus',
    [
      `--config.file=${join(directory, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=error',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  t.teardown(async () => {
    if (prometheus.exitCode === null) {
      prometheus.kill('SIGKILL');
      await once(prometheus, 'exit');
    }
    rmSync(directory, { recursive: true, force: true });
    await sallyport.close();
    await redis.stop();
  });

  const ask = async (path: string): Promise<{ status: string; error?: string; data: unknown }> => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    return (await answer.json()) as { status: string; error?: string; data: unknown };
  };
  const query = (expression: string) => ask(`query?query=${encodeURIComponent(expression)}`);
  const valuesOf = async (expression: string) =>
    (
      (await query(expression)).data as {
        result: { metric: Record<string, string>; value: [number, string] }[];
      }
    ).result;

  await until(
    () =>
      query('up').then(
        ({ status }) => status === 'success',
        () => false,
      ),
    'Prometheus',
    60_000,
  );
  // A request that is seen by the next scrape.
  await fetch(`${origin}/`, { redirect: 'manual' });
  await until(
    async () =>
      (await valuesOf('sum(sallyport_http_requests_total) > 0')).length > 0 &&
      (await valuesOf('up{job="sallyport"} == 1')).length > 0,
    'a scrape',
    60_000,
  );

  const targets = (await ask('targets')).data as { activeTargets: { health: string; lastError: string }[] };
  t.same(
    targets.activeTargets.map(({ health, lastError }) => ({ health, lastError })),
    [{ health: 'up', lastError: '' }],
  );

  const page = await (await fetch(`http://${sallyport.operations}/metrics`)).text();
  const there = new Set([...page.matchAll(/^([a-z_0-9]+)(?:\{| )/gm)].map(([, name]) => name));
  const used = [...rules.map(({ expr }) => expr), ...dashboardExpressions, ...variableQueries].flatMap(
    metricNames,
  );
  const manuals = ['operations', 'rollout'].map((name) => readShipped(`../docs/${name}.md`));
  for (const name of new Set(manuals.flatMap(metricNames))) {
    t.ok(there.has(name), `${name}, which a manual names, exists`);
  }
  t.ok(used.length > 50);
  for (const name of new Set(used)) t.ok(there.has(name), `${name} exists`);
  const unused = [...there].filter(
    (name) =>
      name?.startsWith('sallyport_') &&
      !used.some((other) => other.replace(/_bucket$/, '') === name.replace(/_(?:bucket|sum|count)$/, '')),
  );
  t.same(unused, [], 'no metric of ours is left unwatched');

  await until(
    async () => {
      const { groups } = (await ask('rules')).data as { groups: { rules: { health: string }[] }[] };
      return groups.flatMap((group) => group.rules).every(({ health }) => health === 'ok');
    },
    'every rule evaluated without an error',
    60_000,
  );
  const { groups } = (await ask('rules')).data as { groups: { rules: { name: string }[] }[] };
  t.same(
    groups.flatMap((group) => group.rules.map(({ name }) => name)).sort(),
    rules.map(({ alert }) => alert).sort(),
  );

  for (const expression of dashboardExpressions) {
    const filled = expression
      .replace(/\$__(?:range|interval|rate_interval)/g, '5m')
      .replace(/\$(?:job|instance|auth_source)/g, '.*');
    t.match(await query(filled), { status: 'success' }, filled);
  }
  const [build] = await valuesOf('sallyport_build_info');
  t.match(build?.metric, { job: 'sallyport', instance: sallyport.operations, node: process.version });
});
