import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import t from 'tap';
import { parseConfig } from '../../src/config/load.ts';
import { mergeReports } from '../../src/operations/health-merge.ts';
import type { HealthReport } from '../../src/operations/health.ts';
import { createMetricTotals, takeSnapshot } from '../../src/operations/metric-merge.ts';
import { createBackOff } from '../../src/workers/back-off.ts';
import { countWorkers } from '../../src/workers/count.ts';
import { createRateWindows, createSharedRates } from '../../src/workers/rates.ts';

t.test('auto is a worker for each core, and no more than the container is given', async (t) => {
  for (const [workers, cores, cpuMax, expected] of [
    [3, 1, undefined, 3],
    ['auto', 8, undefined, 8],
    ['auto', 8, 'max 100000\n', 8],
    ['auto', 8, '200000 100000\n', 2],
    ['auto', 8, '50000 100000\n', 1],
    ['auto', 2, '350000 100000\n', 2],
    ['auto', 8, '350000 100000\n', 4],
    ['auto', 8, 'nonsense', 8],
    ['auto', 1, undefined, 1],
  ] as const) {
    t.equal(countWorkers(workers, { cores, cpuMax }), expected, `${workers} ${cores} ${cpuMax}`);
  }
});

t.test('several workers without Redis are a fault, with its place and its cure', async (t) => {
  for (const workers of ['2', 'auto']) {
    const loaded = parseConfig(
      `server:\n  public_url: "https://forge.example.com"\n  workers: ${workers}\nupstream: { url: "http://127.0.0.1:3000" }\nsession: { secrets: [0123456789abcdef0123456789abcdef] }\nsources: [{ id: idp, issuer: "https://idp.example.com", client_id: forge, client_secret: s }]\n`,
      'sallyport.yaml',
      {},
    );
    t.match(loaded, {
      ok: false,
      faults: [{ code: 'impossible', path: 'server.workers', line: 3, cure: /session\.redis/ }],
    });
  }
});

t.test('a worker is replaced at once; in a row, ever later; one that has lived begins anew', async (t) => {
  const backOff = createBackOff();
  const died = (livedMs: number): number => backOff.died(livedMs);
  t.same(
    Array.from({ length: 10 }, () => died(100)),
    [0, 250, 500, 1e3, 2e3, 4e3, 8e3, 16e3, 3e4, 3e4],
  );
  t.equal(died(60_000), 0);
  t.equal(died(100), 250);
});

t.test('a window counts for all, and ends; while nobody answers, each counts for itself', async (t) => {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs };
  const windows = createRateWindows(clock);
  t.same(windows.count('a', 1_000), { count: 1, remainingMs: 1_000 });
  nowMs = 400;
  t.same(windows.count('a', 1_000), { count: 2, remainingMs: 600 });
  t.same(windows.count('b', 1_000), { count: 1, remainingMs: 1_000 });
  nowMs = 1_000;
  t.same(windows.count('a', 1_000), { count: 1, remainingMs: 1_000 });
  nowMs = 0;
  t.same(windows.count('a', 1_000), { count: 1, remainingMs: 1_000 }, 'a clock that was set back');

  let answers = true;
  const shared = createSharedRates(
    () => (answers ? Promise.resolve({ count: 10, remainingMs: 5 }) : new Promise(() => undefined)),
    clock,
  );
  t.same(await shared.count('a', 1_000), { count: 10, remainingMs: 5 });
  answers = false;
  t.match(await shared.count('a', 1_000), { count: 2 });
});

t.test('a primary that has fallen silent is not asked for ever: what waits for it is bounded', async (t) => {
  const waiting: ((count: undefined) => void)[] = [];
  const shared = createSharedRates(() => new Promise((resolve) => waiting.push(resolve)), {
    nowMs: () => 0,
  });
  const counts = await Promise.all(Array.from({ length: 5_000 }, async () => shared.count('a', 1_000)));
  t.equal(counts.at(-1)?.count, 5_000, 'counted here all the same');
  t.equal(waiting.length, 1_000);
  for (const answer of waiting.splice(0)) answer(undefined);
  await new Promise((resolve) => setImmediate(resolve));
  await shared.count('a', 1_000);
  t.equal(waiting.length, 1, 'asked again once it has answered');
});

async function snapshotOf(requests: number, seconds: number, up: number, lag: number) {
  const registers = [new Registry()];
  new Counter({ name: 'requests_total', help: 'r', labelNames: ['code'], registers }).inc(
    { code: '200' },
    requests,
  );
  new Histogram({ name: 'seconds', help: 's', buckets: [1], registers }).observe(seconds);
  new Gauge({ name: 'sallyport_redis_up', help: 'u', registers }).set(up);
  new Gauge({ name: 'sallyport_build_info', help: 'b', registers }).set(1);
  new Gauge({ name: 'nodejs_eventloop_lag_p99_seconds', help: 'l', registers }).set(lag);
  new Gauge({ name: 'process_resident_memory_bytes', help: 'm', registers }).set(100);
  new Gauge({ name: 'process_start_time_seconds', help: 't', registers }).set(requests);
  return await takeSnapshot(registers[0]!);
}

t.test('one page of all: what counts adds up and never falls, what is up for some is not up', async (t) => {
  const totals = createMetricTotals();
  const own = (await snapshotOf(0, 0.5, 1, 0)).filter(({ name }) => name === 'process_start_time_seconds');
  totals.learn(1, await snapshotOf(3, 0.1, 1, 0.2));
  totals.learn(2, await snapshotOf(4, 0.2, 0, 0.1));
  const values = async () =>
    Object.fromEntries(
      (await totals.page(own))
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
    );
  t.match(await values(), {
    'requests_total{code="200"}': 7,
    'seconds_bucket{le="1"}': 2,
    seconds_count: 2,
    sallyport_redis_up: 0,
    sallyport_build_info: 1,
    nodejs_eventloop_lag_p99_seconds: 0.2,
    process_resident_memory_bytes: 200,
    process_start_time_seconds: 0,
  });
  totals.retire(1);
  t.match(await values(), {
    'requests_total{code="200"}': 7,
    seconds_count: 2,
    process_resident_memory_bytes: 100,
    nodejs_eventloop_lag_p99_seconds: 0.1,
  });
  totals.learn(3, await snapshotOf(1, 0.3, 1, 0));
  totals.retire(2);
  t.match(await values(), { 'requests_total{code="200"}': 8, seconds_count: 3, sallyport_redis_up: 1 });
});

t.test('the report of all: the worst of each dependency, degraded while one is missing', async (t) => {
  const report = (state: 'up' | 'impaired' | 'down', second: number, required = false): HealthReport => ({
    status: 'ready',
    shutting_down: false,
    dependencies: [{ name: 'redis', state, since: new Date(second * 1_000).toISOString(), required }],
  });
  const two = { wanted: 2, shuttingDown: false };
  t.match(mergeReports([report('up', 1), report('up', 2)], two), {
    status: 'ready',
    dependencies: [{ state: 'up', since: '1970-01-01T00:00:02.000Z' }],
    workers: { wanted: 2, accepting: 2 },
  });
  t.match(mergeReports([report('down', 2), report('up', 3), report('down', 1)], two), {
    status: 'degraded',
    dependencies: [{ state: 'down', since: '1970-01-01T00:00:01.000Z' }],
  });
  t.equal(mergeReports([report('impaired', 1), report('up', 1)], two).status, 'degraded');
  t.equal(mergeReports([report('up', 1)], two).status, 'degraded');
  t.equal(mergeReports([report('up', 1, true), report('down', 1, true)], two).status, 'not_ready');
  t.equal(mergeReports([], two).status, 'not_ready');
  t.match(mergeReports([report('up', 1), report('up', 1)], { wanted: 2, shuttingDown: true }), {
    status: 'not_ready',
    shutting_down: true,
  });
});
