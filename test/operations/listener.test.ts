import t from 'tap';
import { request } from 'undici';
import { createHealth, type Dependency, type DependencyState } from '../../src/operations/health.ts';
import { startOperationsListener } from '../../src/operations/listener.ts';
import { createMetrics } from '../../src/operations/metrics.ts';

const sinceMs = Date.UTC(2026, 10, 21, 12);
const dependency = (name: string, required: boolean, state: { now: DependencyState }): Dependency => ({
  name,
  required,
  state: () => state.now,
});
const up: DependencyState = { up: true, sinceMs };
const down: DependencyState = { up: false, sinceMs, cause: `ECONNREFUSED ${'x'.repeat(1000)}` };

t.test('ready, degraded or not, by what is down and what is required', async (t) => {
  const table: [string, DependencyState, boolean, DependencyState, string][] = [
    ['all up', up, false, up, 'ready'],
    ['Redis down', down, false, up, 'degraded'],
    ['Redis down and required', down, true, up, 'not_ready'],
    ['an IdP down', up, true, down, 'degraded'],
    ['both down', down, false, down, 'degraded'],
  ];
  for (const [title, redis, required, idp, status] of table) {
    const health = createHealth(() => [
      dependency('redis', required, { now: redis }),
      dependency('idp:entra', false, { now: idp }),
    ]);
    t.equal(health.report().status, status, title);
    health.beginShutdown();
    t.match(health.report(), { status: 'not_ready', shutting_down: true }, `${title}, shutting down`);
  }
  t.equal(createHealth(() => []).report().status, 'ready', 'in memory, nothing to depend on');
});

t.test('each dependency is named with its state, since when, and a short cause', async (t) => {
  const [one, two] = createHealth(() => [
    dependency('redis', true, { now: down }),
    dependency('idp:entra', false, { now: up }),
  ]).report().dependencies;
  t.match(one, {
    name: 'redis',
    state: 'down',
    since: '2026-11-21T12:00:00.000Z',
    required: true,
    cause: /^ECONNREFUSED/,
  });
  t.ok((one?.cause?.length ?? 0) <= 200);
  t.same(two, { name: 'idp:entra', state: 'up', since: '2026-11-21T12:00:00.000Z', required: false });
});

t.test('what answers but refuses part of it makes degraded, and takes nobody out of service', (t) => {
  const full = { ...up, cause: 'OOM: the server is out of memory' };
  const report = createHealth(() => [dependency('redis', true, { now: full })]).report();
  t.match(report, {
    status: 'degraded',
    dependencies: [{ name: 'redis', state: 'impaired', cause: /^OOM/ }],
  });
  t.end();
});

t.test('the operations listener answers probes and scrapes, and nothing else', async (t) => {
  const redis = { now: up };
  const health = createHealth(() => [dependency('redis', true, redis)]);
  const { registry } = createMetrics({ version: '1', node: 'v20', sources: [], routes: [] });
  const listener = await startOperationsListener({ listen: '127.0.0.1:0', health, registry });
  t.teardown(() => listener.close());
  const get = async (path: string, method: 'GET' | 'POST' | 'HEAD' = 'GET') => {
    const { statusCode, headers, body } = await request(`http://${listener.address}${path}`, { method });
    return {
      statusCode,
      type: headers['content-type'],
      cache: headers['cache-control'],
      text: await body.text(),
    };
  };
  t.match(await get('/livez'), { statusCode: 200, text: '{"status":"live"}', cache: 'no-store' });
  const ready = await get('/readyz');
  t.equal(ready.statusCode, 200);
  t.match(JSON.parse(ready.text), { status: 'ready', dependencies: [{ name: 'redis', state: 'up' }] });
  redis.now = down;
  t.equal((await get('/readyz')).statusCode, 503);
  t.equal((await get('/livez')).statusCode, 200, 'a lost dependency is no reason to be killed');
  redis.now = up;
  health.beginShutdown();
  t.equal((await get('/readyz')).statusCode, 503);
  t.match(await get('/metrics'), {
    statusCode: 200,
    type: /^text\/plain; ?version=0\.0\.4/,
    text: /sallyport_build_info/,
  });
  t.equal((await get('/')).statusCode, 404);
  t.equal((await get('/readyz', 'POST')).statusCode, 404);
});

t.test('an address that cannot be had is a fault of the configuration', async (t) => {
  const health = createHealth(() => []);
  const registry = { contentType: 'text/plain', metrics: async () => '' };
  const first = await startOperationsListener({ listen: '127.0.0.1:0', health, registry });
  t.teardown(() => first.close());
  await t.rejects(startOperationsListener({ listen: first.address, health, registry }), {
    code: 'config_invalid',
  });
});
