import t from 'tap';
import type { AssuranceReason } from '../../src/assurance/types.ts';
import { silentMeter, type Meter } from '../../src/kernel/meter.ts';
import { assuranceReasons, accesses } from '../../src/operations/metric-labels.ts';
import { createMetrics } from '../../src/operations/metrics.ts';
import type { Access } from '../../src/policy/types.ts';

/** SPEC section 9, with the names of their labels. */
const specified: Record<string, readonly string[]> = {
  sallyport_http_requests_total: ['route', 'access', 'method', 'code'],
  sallyport_http_request_duration_seconds: ['access'],
  sallyport_upstream_request_duration_seconds: [],
  sallyport_upstream_errors_total: ['kind'],
  sallyport_signins_total: ['auth_source', 'result'],
  sallyport_mfa_verdicts_total: ['auth_source', 'aal', 'outcome', 'reason', 'strength'],
  sallyport_step_ups_total: ['auth_source', 'result'],
  sallyport_token_refreshes_total: ['auth_source', 'result'],
  sallyport_session_cache_total: ['result'],
  sallyport_sessions_created_total: [],
  sallyport_sessions_ended_total: ['why'],
  sallyport_redis_command_duration_seconds: ['command'],
  sallyport_redis_up: [],
  sallyport_idp_requests_total: ['auth_source', 'endpoint', 'result'],
  sallyport_idp_up: ['auth_source'],
  sallyport_logouts_total: ['kind'],
  sallyport_audit_lost_total: [],
  sallyport_rate_limited_total: ['endpoint'],
  sallyport_config_reloads_total: ['result'],
  sallyport_config_last_reload_successful: [],
  sallyport_config_last_reload_success_timestamp_seconds: [],
  sallyport_build_info: ['version', 'node'],
};

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const samplePattern = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/g;

/** The text exposition format, read strictly: a line that is none throws. */
function parse(page: string): readonly Sample[] {
  const samples: Sample[] = [];
  for (const line of page.split('\n')) {
    if (line === '' || /^# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* \S/.test(line)) continue;
    const match = samplePattern.exec(line);
    if (match === null) throw new Error(`not a sample: ${line}`);
    const labels = Object.fromEntries(
      [...(match[2] ?? '').matchAll(labelPattern)].map(([, key, value]) => [key!, value!]),
    );
    const rest = (match[2] ?? '').replace(labelPattern, '');
    if (rest !== '') throw new Error(`labels: ${rest}`);
    const value = match[3] === '+Inf' ? Infinity : Number(match[3]);
    if (Number.isNaN(value) && match[3] !== 'Nan') throw new Error(`value: ${line}`);
    samples.push({ name: match[1]!, labels, value });
  }
  return samples;
}

const make = (over: Partial<Parameters<typeof createMetrics>[0]> = {}) =>
  createMetrics({
    version: '0.1.0',
    node: 'v20.0.0',
    sources: ['entra', 'okta'],
    routes: [
      { name: 'admin', access: 'session' },
      { name: 'default', access: 'session' },
    ],
    ...over,
  });

const find = (samples: readonly Sample[], name: string, labels: Record<string, string>) =>
  samples.find(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );

t.test(
  'every metric of SPEC stands there from the start, by its name and with exactly its labels',
  async (t) => {
    const page = await make().registry.metrics();
    const samples = parse(page);
    for (const [name, labels] of Object.entries(specified)) {
      const histogram = name.endsWith('_duration_seconds');
      t.match(
        page,
        `# TYPE ${name} ${histogram ? 'histogram' : name.endsWith('_total') ? 'counter' : 'gauge'}\n`,
        name,
      );
      const own = samples.filter((sample) => sample.name === (histogram ? `${name}_count` : name));
      t.ok(own.length > 0, `${name} has a series`);
      for (const sample of own) t.same(Object.keys(sample.labels).sort(), [...labels].sort());
    }
    const ours = new Set(page.match(/^# TYPE sallyport_\w+/gm)?.map((line) => line.slice(7)));
    t.same([...ours].sort(), Object.keys(specified).sort(), 'and no other of ours');
  },
);

t.test('series that can be known stand at 0', async (t) => {
  const samples = parse(await make().registry.metrics());
  const known: [string, Record<string, string>][] = [
    ['sallyport_signins_total', { auth_source: 'okta', result: 'rejected' }],
    [
      'sallyport_mfa_verdicts_total',
      {
        auth_source: 'entra',
        aal: 'aal1',
        outcome: 'rejected',
        reason: 'mfa_claims_absent',
        strength: 'none',
      },
    ],
    [
      'sallyport_mfa_verdicts_total',
      { auth_source: 'entra', aal: 'aal2', outcome: 'verified', reason: 'none', strength: 'weak' },
    ],
    ['sallyport_http_requests_total', { route: 'admin', access: 'session' }],
    ['sallyport_http_requests_total', { route: 'sallyport' }],
    ['sallyport_session_cache_total', { result: 'miss' }],
    ['sallyport_idp_requests_total', { auth_source: 'entra', endpoint: 'token', result: 'timeout' }],
    ['sallyport_upstream_errors_total', { kind: 'refused' }],
    ['sallyport_sessions_ended_total', { why: 'signout' }],
    ['sallyport_redis_command_duration_seconds_count', { command: 'get' }],
    ['sallyport_rate_limited_total', { endpoint: 'callback' }],
    ['sallyport_audit_lost_total', {}],
    ['sallyport_idp_up', { auth_source: 'okta' }],
    ['sallyport_redis_up', {}],
  ];
  for (const [name, labels] of known)
    t.equal(find(samples, name, labels)?.value, 0, `${name} ${JSON.stringify(labels)}`);
  t.equal(find(samples, 'sallyport_build_info', { version: '0.1.0', node: 'v20.0.0' })?.value, 1);
  t.ok(
    samples.some(({ name }) => name.startsWith('nodejs_eventloop_lag')),
    'event-loop metrics',
  );
  t.ok(
    samples.some(({ name }) => name === 'process_cpu_seconds_total'),
    'process metrics',
  );
});

t.test('without Redis there is no redis_up that could alarm anyone', async (t) => {
  const { meter, registry } = make({ redis: false });
  meter.storeUp(true);
  t.equal(find(parse(await registry.metrics()), 'sallyport_redis_up', {}), undefined);
});

t.test('what the meter is told is what a scrape shows, more than once', async (t) => {
  const { meter, registry } = make();
  const tell: Record<keyof Meter, () => void> = {
    httpRequest: () => meter.httpRequest('admin', 'session', 'GET', 200, 0.02),
    unreadableRequest: () => meter.unreadableRequest(431),
    upstreamRequest: () => meter.upstreamRequest(0.2),
    upstreamError: () => meter.upstreamError('reset'),
    signIn: () => meter.signIn('entra', 'succeeded'),
    mfaVerdict: () =>
      meter.mfaVerdict({
        source: 'entra',
        aal: 'aal1',
        outcome: 'rejected',
        reason: 'amr_not_mfa',
        strength: 'none',
      }),
    stepUp: () => meter.stepUp('entra', 'satisfied'),
    tokenRefresh: () => meter.tokenRefresh('entra', 'refused'),
    sessionCache: () => meter.sessionCache('hit'),
    sessionCreated: () => meter.sessionCreated(),
    sessionEnded: () => meter.sessionEnded('signout'),
    storeCommand: () => meter.storeCommand('get', 0.001),
    storeUp: () => meter.storeUp(true),
    idpRequest: () => meter.idpRequest('entra', 'token', 'ok'),
    idpUp: () => meter.idpUp('entra', true),
    logout: () => meter.logout('local'),
    auditLost: () => meter.auditLost(),
    rateLimited: () => meter.rateLimited('signin'),
    configReload: () => meter.configReload('applied', 1_700_000_000_000),
  };
  t.same(Object.keys(tell).sort(), Object.keys(silentMeter).sort());
  const expected: [string, Record<string, string>, boolean][] = [
    [
      'sallyport_http_requests_total',
      { route: 'admin', access: 'session', method: 'GET', code: '200' },
      true,
    ],
    ['sallyport_http_requests_total', { route: 'none', method: 'OTHER', code: '431' }, true],
    ['sallyport_http_request_duration_seconds_count', { access: 'session' }, true],
    ['sallyport_upstream_request_duration_seconds_count', {}, true],
    ['sallyport_upstream_errors_total', { kind: 'reset' }, true],
    ['sallyport_signins_total', { auth_source: 'entra', result: 'succeeded' }, true],
    [
      'sallyport_mfa_verdicts_total',
      { auth_source: 'entra', outcome: 'rejected', reason: 'amr_not_mfa' },
      true,
    ],
    ['sallyport_step_ups_total', { auth_source: 'entra', result: 'satisfied' }, true],
    ['sallyport_token_refreshes_total', { auth_source: 'entra', result: 'refused' }, true],
    ['sallyport_session_cache_total', { result: 'hit' }, true],
    ['sallyport_sessions_created_total', {}, true],
    ['sallyport_sessions_ended_total', { why: 'signout' }, true],
    ['sallyport_redis_command_duration_seconds_count', { command: 'get' }, true],
    ['sallyport_redis_up', {}, false],
    ['sallyport_idp_requests_total', { auth_source: 'entra', endpoint: 'token', result: 'ok' }, true],
    ['sallyport_idp_up', { auth_source: 'entra' }, false],
    ['sallyport_logouts_total', { kind: 'local' }, true],
    ['sallyport_audit_lost_total', {}, true],
    ['sallyport_rate_limited_total', { endpoint: 'signin' }, true],
    ['sallyport_config_reloads_total', { result: 'applied' }, true],
    ['sallyport_config_last_reload_successful', {}, false],
  ];
  for (const round of [1, 2]) {
    for (const one of Object.values(tell)) one();
    const samples = parse(await registry.metrics());
    for (const [name, labels, adds] of expected)
      t.equal(find(samples, name, labels)?.value, adds ? round : 1, `${name}, round ${round}`);
    t.same(
      parse(await registry.metrics()).filter(({ name }) => name === 'sallyport_http_requests_total'),
      samples.filter(({ name }) => name === 'sallyport_http_requests_total'),
      'a second scrape counts nothing twice',
    );
  }
});

t.test('labels stay bounded whatever clients, upstreams and idps send', async (t) => {
  const { meter, registry } = make();
  for (let i = 0; i < 5000; i += 1) {
    meter.httpRequest(`route-${i}`, 'session', `M${i}`, i, 0.001);
    meter.signIn(`source-${i}`, 'failed');
    meter.sessionEnded(`why-${i}`);
    meter.rateLimited(`"} evil\n${i}`);
  }
  const page = await registry.metrics();
  const samples = parse(page);
  t.ok(samples.length < 6000, `${samples.length} samples`);
  t.ok(find(samples, 'sallyport_http_requests_total', { method: 'OTHER' }));
  t.ok(find(samples, 'sallyport_sessions_ended_total', { why: 'other' }));
});

t.test('the labels known here are those that other rooms define', async (t) => {
  const reasons: Record<AssuranceReason, true> = {
    amr_malformed: true,
    acr_malformed: true,
    claim_malformed: true,
    mfa_claims_absent: true,
    evidence_not_in_required_claim: true,
    amr_not_mfa: true,
    acr_mismatch: true,
    claim_mismatch: true,
    auth_time_missing: true,
    auth_too_old: true,
    auth_time_in_future: true,
    idp_refused: true,
  };
  t.same([...assuranceReasons].sort(), Object.keys(reasons).sort());
  const ways: Record<Access | 'sallyport' | 'none', true> = {
    session: true,
    credentials: true,
    bearer: true,
    public: true,
    upstream: true,
    deny: true,
    sallyport: true,
    none: true,
  };
  t.same([...accesses].sort(), Object.keys(ways).sort());
});

t.test(
  'another configuration: new sources start at 0, a source that went is no longer up or down',
  async (t) => {
    const metrics = make();
    const { meter, registry } = metrics;
    meter.idpUp('okta', true);
    meter.signIn('okta', 'succeeded');
    metrics.adopt({ sources: ['entra', 'google'], routes: [{ name: 'api', access: 'bearer' }] });
    meter.idpUp('okta', true);
    meter.configReload('refused', 5_000);
    const samples = parse(await registry.metrics());
    t.equal(find(samples, 'sallyport_idp_up', { auth_source: 'okta' }), undefined);
    t.equal(find(samples, 'sallyport_idp_up', { auth_source: 'google' })?.value, 0);
    t.equal(find(samples, 'sallyport_signins_total', { auth_source: 'google', result: 'failed' })?.value, 0);
    const counted = { auth_source: 'okta', result: 'succeeded' };
    t.equal(find(samples, 'sallyport_signins_total', counted)?.value, 1, 'what was counted stays');
    t.equal(find(samples, 'sallyport_http_requests_total', { route: 'api', access: 'bearer' })?.value, 0);
    t.equal(find(samples, 'sallyport_config_last_reload_successful', {})?.value, 0);
    t.equal(find(samples, 'sallyport_config_last_reload_success_timestamp_seconds', {})?.value, 0);
  },
);
