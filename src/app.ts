import type { Writable } from 'node:stream';
import { createAuditWriter } from './audit/writer.ts';
import type { Config } from './config/schema.ts';
import { registerEndpoints } from './endpoints/register.ts';
import { createRenderer } from './endpoints/render.ts';
import { endSession } from './endpoints/sign-out.ts';
import { buildGeneration, routeRules } from './generation-builder.ts';
import type { Generation } from './generation.ts';
import { createAssertionSigner } from './identity/assertion.ts';
import { createBindings } from './identity/binding.ts';
import { keepBindings } from './identity/binding-upkeep.ts';
import { createIdentityHeaders } from './identity/headers.ts';
import { systemClock, type Clock } from './kernel/clock.ts';
import { systemRandomness, type Randomness } from './kernel/randomness.ts';
import { createHealth, type Dependency } from './operations/health.ts';
import { openLineWriter, streamLineWriter, type LineWriter } from './operations/line-writer.ts';
import { startOperationsListener } from './operations/listener.ts';
import { createLog } from './operations/log.ts';
import { createMetrics } from './operations/metrics.ts';
import { productVersion } from './operations/version.ts';
import { boundCookieNames } from './policy/forge-routes.ts';
import { createProvider } from './provider/oidc-provider.ts';
import { createPublicServer, listenOptions } from './proxy/server.ts';
import { createBoundCookies } from './session/bound-cookies.ts';
import { createSealing } from './session/sealing.ts';
import { createSessions } from './session/sessions.ts';
import { createStore } from './session/store.ts';
import type { Store } from './session/types.ts';

/** How many opened sessions one process keeps in memory; the least recently used go first. */
const maxCachedSessions = 50_000;

/** Where a running Sallyport takes its world from, other than the machine's own. */
export interface AppOptions {
  /** Takes the log's lines; default: standard output. */
  readonly log?: Writable;
  /** Takes the audit trail's lines; default: `audit.file`, else where the log goes. */
  readonly audit?: Writable;
  readonly clock?: Clock;
  readonly randomness?: Randomness;
  /** What loading the configuration had to say. */
  readonly warnings?: readonly string[];
}

/** A running Sallyport. */
export interface App {
  /** The canonical public origin: the first of `server.public_url`. */
  readonly origin: string;
  /** Where it accepts requests, as bound. */
  readonly listen: string;
  /** Where `/livez`, `/readyz` and `/metrics` are, as bound. */
  readonly operations: string;
  /** `/readyz` fails first, then nothing new is accepted, then what runs is finished within `server.shutdown_grace`. */
  close(): Promise<void>;
}

/**
 * The composition root: builds every room of one configuration, and starts it.
 *
 * An IdP or a store that is down is no reason not to start: both are asked again in the background.
 * @throws SallyportError `config_invalid` for what only a start can find out (an address in use, a key that cannot be used)
 */
export async function startApp(config: Config, options: AppOptions = {}): Promise<App> {
  const clock = options.clock ?? systemClock;
  const randomness = options.randomness ?? systemRandomness;
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closers.reverse().splice(0)) await each();
  };
  try {
    const out = own(options.log === undefined ? openLineWriter({ fd: 1 }) : streamLineWriter(options.log));
    const log = createLog(config.log, out, clock);
    const metrics = createMetrics({
      version: productVersion(),
      node: process.version,
      sources: config.sources.map(({ id }) => id),
      routes: [...routeRules(config), { name: 'default', access: 'session' }],
      redis: config.session.redis !== undefined,
    });
    const { meter } = metrics;
    const logWarning = log.warning;
    const logFault = log.fault;
    const audit = createAuditWriter(own(auditDestination(config, options, out)), {
      clock,
      meter,
      log: logWarning,
    });
    for (const warning of options.warnings ?? []) logWarning(warning, {});

    const sealing = createSealing(
      (config.session.secrets ?? []).map((secret) => Buffer.from(secret.reveal(), 'utf8')),
      randomness,
    );
    const store = createStore(config.session, { clock, meter, logWarning });
    closers.push(() => store.close());
    const sessions = createSessions({
      store,
      sealing,
      clock,
      randomness,
      meter,
      idleTimeoutMs: config.session.idle_timeout,
      absoluteTimeoutMs: config.session.absolute_timeout,
      cacheMs: config.session.cache,
      outageGraceMs: config.session.outage_grace,
      maxCached: maxCachedSessions,
    });

    const signer = await createAssertionSigner({
      keyFile: config.session.assertion_key_file,
      store,
      sealing,
      audience: config.session.assertion_audience ?? config.upstream.url,
      randomness,
    });
    if (config.upstream.username.bind) {
      const upkeep = await keepBindings(createBindings({ store, sealing, clock }), {
        logWarning,
        logFault: (error) => logFault(error, undefined),
      });
      closers.push(() => upkeep.stop());
    }
    const generation = buildGeneration(config, {
      providerOf: (source, policy) => {
        const provider = createProvider(source, policy, { clock, randomness, meter, logWarning });
        closers.push(() => provider.close());
        return provider;
      },
      identityHeaders: createIdentityHeaders(config.upstream, signer, {
        onGroupOmitted: (group, record) =>
          logWarning('a group was left out of a header list: it holds a comma', {
            group,
            session: record.id,
          }),
      }),
    });
    const generations = { current: () => generation };
    const health = createHealth(() => dependencies(config, generation, store));

    const server = await createPublicServer(config, {
      generations,
      sessions,
      boundCookies: createBoundCookies(boundCookieNames(config.upstream), sealing),
      endSession: (request, record, cookieValue) =>
        endSession({ sessions, audit, meter, randomness }, request, record, cookieValue),
      render: createRenderer({ clock }),
      registerEndpoints: (scope) =>
        registerEndpoints(scope, {
          sealing,
          store,
          sessions,
          audit,
          meter,
          clock,
          randomness,
          logFault,
          jwks: () => signer.jwks(),
        }),
      accessLog: log.access,
      logFault,
      logWarning,
      meter,
      clock,
      randomness,
    });
    const operations = await startOperationsListener({
      listen: config.operations.listen,
      health,
      registry: metrics.registry,
    });
    // Closed in reverse: the public server drains first, while /readyz still says why.
    closers.push(() => operations.close());
    closers.push(() => server.close());

    for (const { provider } of generation.sources.values()) void provider.start();
    const listen = await server.listen(listenOptions(config.server.listen));
    log.logger.info({ listen, operations: operations.address }, 'ready');

    return {
      origin: generation.publicOrigins[0] ?? '',
      listen,
      operations: operations.address,
      async close() {
        health.beginShutdown();
        log.logger.info('shutting down');
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }

  function own(writer: LineWriter): LineWriter {
    closers.push(() => writer.close());
    return writer;
  }
}

function auditDestination(config: Config, options: AppOptions, out: LineWriter): LineWriter {
  if (options.audit !== undefined) return streamLineWriter(options.audit);
  return config.audit.file === undefined ? out : openLineWriter({ file: config.audit.file });
}

/** What the health report watches: Redis, where there is one, and each source's IdP. */
function dependencies(config: Config, generation: Generation, store: Store): readonly Dependency[] {
  const idps = [...generation.sources.values()].map(({ provider }): Dependency => ({
    name: `idp:${provider.sourceId}`,
    required: false,
    state: () => {
      const { available, sinceMs, cause } = provider.status();
      return { up: available, sinceMs, cause };
    },
  }));
  if (config.session.redis === undefined) return idps;
  const required = config.operations.readiness_requires.includes('redis');
  return [{ name: 'redis', required, state: () => store.health() }, ...idps];
}
