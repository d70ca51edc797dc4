import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { Meter } from '../kernel/meter.ts';
import { createBoundedLabel, createCells } from './metric-cells.ts';
import { createDurations } from './metric-durations.ts';
import * as known from './metric-labels.ts';

export interface MetricsOptions {
  readonly version: string;
  /** `process.version`. */
  readonly node: string;
  /** Ids of the configured sources. */
  readonly sources: readonly string[];
  /** The route rules in force. */
  readonly routes: readonly { readonly name: string; readonly access: string }[];
  /** Whether sessions live in Redis: without it `sallyport_redis_up` has no value that could alarm anyone. */
  readonly redis?: boolean;
  /** When this process's configuration was read, in milliseconds since the epoch; default: never. */
  readonly configuredAtMs?: number;
}

/** What is counted, and the registry that shows it. */
export interface Metrics {
  readonly meter: Meter;
  readonly registry: Registry;
  /** Another configuration is in force: what can be known of it stands at 0, a source that went is up or down no more. */
  adopt(next: Pick<MetricsOptions, 'sources' | 'routes'>): void;
}

const requestSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const storeSeconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

/** Series of one metric whose label values come from outside this file: never more than this many of them. */
const maxLabelValues = 500;

/**
 * The metrics of SPEC section 9, by their names and labels there; every series that can be
 * known beforehand stands at 0 from the start, so that a rate over its first event is not lost.
 */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  let currentSources: ReadonlySet<string> = new Set();

  const requests = createCells(registry, {
    name: 'sallyport_http_requests_total',
    help: 'Requests answered, by route rule, access, method and status code.',
    labelNames: ['route', 'access', 'method', 'code'],
  });
  const requestDuration = createDurations(registry, {
    name: 'sallyport_http_request_duration_seconds',
    help: 'From the first byte of a request to the last of its response.',
    labelName: 'access',
    buckets: requestSeconds,
  });
  const upstreamDuration = createDurations(registry, {
    name: 'sallyport_upstream_request_duration_seconds',
    help: 'From sending a request upstream to the end of its response.',
    buckets: requestSeconds,
  });
  const counter = <const L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <const L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name, help, labelNames, registers });

  const upstreamErrors = counter('sallyport_upstream_errors_total', 'Requests that the upstream failed.', [
    'kind',
  ]);
  const signIns = counter('sallyport_signins_total', 'Sign-ins that came back from the IdP.', [
    'auth_source',
    'result',
  ]);
  const verdicts = counter(
    'sallyport_mfa_verdicts_total',
    'Assurance verdicts and what followed from them.',
    ['auth_source', 'aal', 'outcome', 'reason', 'strength'],
  );
  const stepUps = counter('sallyport_step_ups_total', 'Fresh sign-ins for more assurance.', [
    'auth_source',
    'result',
  ]);
  const refreshes = counter('sallyport_token_refreshes_total', 'Token refreshes, by what came of them.', [
    'auth_source',
    'result',
  ]);
  const cacheResults = createCells(registry, {
    name: 'sallyport_session_cache_total',
    help: 'Look-ups of opened sessions in memory.',
    labelNames: ['result'],
  });
  const sessionsCreated = counter('sallyport_sessions_created_total', 'Sessions started.');
  const sessionsEnded = counter('sallyport_sessions_ended_total', 'Sessions ended, by why.', ['why']);
  const storeDuration = createDurations(registry, {
    name: 'sallyport_redis_command_duration_seconds',
    help: 'Round trips to the session store.',
    labelName: 'command',
    buckets: storeSeconds,
  });
  const redisUp = gauge('sallyport_redis_up', 'Whether Redis answered last.');
  const idpRequests = counter('sallyport_idp_requests_total', 'Requests to identity providers.', [
    'auth_source',
    'endpoint',
    'result',
  ]);
  const idpUp = gauge('sallyport_idp_up', 'Whether the identity provider can be used.', ['auth_source']);
  const logouts = counter('sallyport_logouts_total', 'Sign-outs, by how.', ['kind']);
  const auditLost = counter('sallyport_audit_lost_total', 'Audit lines that could not be written.');
  const rateLimited = counter('sallyport_rate_limited_total', 'Requests answered 429.', ['endpoint']);
  const reloads = counter('sallyport_config_reloads_total', 'Configurations read while running, by result.', [
    'result',
  ]);
  const reloadOk = gauge(
    'sallyport_config_last_reload_successful',
    'Whether the configuration that was read last is in force.',
  );
  const reloadedAt = gauge(
    'sallyport_config_last_reload_success_timestamp_seconds',
    'When the configuration in force was read.',
  );
  gauge('sallyport_build_info', 'Always 1; what runs here.', ['version', 'node'])
    .labels(options.version, options.node)
    .set(1);

  for (const { name, access } of known.ownRoutes) requests.zero(name, access, 'GET', '200');
  for (const code of known.unreadableCodes) requests.zero('none', 'none', known.otherMethod, code);
  for (const result of known.reloadResults) reloads.inc({ result }, 0);
  reloadOk.set(1);
  reloadedAt.set((options.configuredAtMs ?? 0) / 1000);
  for (const access of known.accesses) requestDuration.zero(access);
  for (const kind of known.upstreamErrors) upstreamErrors.inc({ kind }, 0);
  for (const result of known.cacheResults) cacheResults.zero(result);
  for (const why of known.endings) sessionsEnded.inc({ why }, 0);
  for (const kind of known.logouts) logouts.inc({ kind }, 0);
  for (const endpoint of known.limitedEndpoints) rateLimited.inc({ endpoint }, 0);
  for (const command of known.storeCommands) storeDuration.zero(command);
  if (options.redis === false) redisUp.remove();
  function adopt({ sources, routes }: Pick<MetricsOptions, 'sources' | 'routes'>): void {
    for (const { name, access } of routes) requests.zero(name, access, 'GET', '200');
    const before = currentSources;
    currentSources = new Set(sources);
    for (const auth_source of before) if (!currentSources.has(auth_source)) idpUp.remove({ auth_source });
    for (const auth_source of sources) {
      if (before.has(auth_source)) continue;
      idpUp.set({ auth_source }, 0);
      for (const result of known.signInResults) signIns.inc({ auth_source, result }, 0);
      for (const result of known.stepUpResults) stepUps.inc({ auth_source, result }, 0);
      for (const result of known.refreshResults) refreshes.inc({ auth_source, result }, 0);
      for (const verdict of known.verdicts()) verdicts.inc({ auth_source, ...verdict }, 0);
      for (const endpoint of known.idpEndpoints) {
        for (const result of known.idpResults) idpRequests.inc({ auth_source, endpoint, result }, 0);
      }
    }
  }
  adopt(options);

  const label = () => createBoundedLabel(maxLabelValues);
  const [route, source, why, command, endpoint, limited, reason] = [
    label(),
    label(),
    label(),
    label(),
    label(),
    label(),
    label(),
  ];

  const meter: Meter = {
    httpRequest(routeName, access, method, status, seconds) {
      requests.inc(route(routeName), access, known.methodLabel(method), known.codeLabel(status));
      requestDuration.observe(seconds, access);
    },
    unreadableRequest: (status) => requests.inc('none', 'none', known.otherMethod, known.codeLabel(status)),
    upstreamRequest: (seconds) => upstreamDuration.observe(seconds),
    upstreamError: (kind) => upstreamErrors.inc({ kind }),
    signIn: (id, result) => signIns.inc({ auth_source: source(id), result }),
    mfaVerdict: (verdict) =>
      verdicts.inc({
        auth_source: source(verdict.source),
        aal: verdict.aal,
        outcome: verdict.outcome,
        reason: reason(verdict.reason),
        strength: verdict.strength,
      }),
    stepUp: (id, result) => stepUps.inc({ auth_source: source(id), result }),
    tokenRefresh: (id, result) => refreshes.inc({ auth_source: source(id), result }),
    sessionCache: (result) => cacheResults.inc(result),
    sessionCreated: () => sessionsCreated.inc(),
    sessionEnded: (cause) => sessionsEnded.inc({ why: why(cause) }),
    storeCommand: (name, seconds) => storeDuration.observe(seconds, command(name)),
    storeUp: (up) => {
      if (options.redis !== false) redisUp.set(up ? 1 : 0);
    },
    idpRequest: (id, name, result) =>
      idpRequests.inc({ auth_source: source(id), endpoint: endpoint(name), result }),
    idpUp: (id, up) => {
      // One that a reload has removed may still be on its way out.
      if (currentSources.has(id)) idpUp.set({ auth_source: source(id) }, up ? 1 : 0);
    },
    logout: (kind) => logouts.inc({ kind }),
    auditLost: () => auditLost.inc(),
    rateLimited: (name) => rateLimited.inc({ endpoint: limited(name) }),
    configReload(result, atMs) {
      reloads.inc({ result });
      reloadOk.set(result === 'applied' ? 1 : 0);
      if (result === 'applied') reloadedAt.set(atMs / 1000);
    },
  };
  return { meter, registry, adopt };
}
