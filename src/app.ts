import type { Writable } from 'node:stream';
import { createAuditWriter } from './audit/writer.ts';
import type { LoadedConfig } from './config/load.ts';
import type { Config, SessionConfig } from './config/schema.ts';
import { registerEndpoints } from './endpoints/register.ts';
import { createRenderer } from './endpoints/render.ts';
import { endSession } from './endpoints/sign-out.ts';
import { routeRules } from './generation-builder.ts';
import type { Generation } from './generation.ts';
import { keepAssertionKey } from './identity/assertion-upkeep.ts';
import { systemClock, type Clock } from './kernel/clock.ts';
import { SallyportError } from './kernel/error.ts';
import { systemRandomness, type Randomness } from './kernel/randomness.ts';
import { SharedParts } from './kernel/shared-parts.ts';
import type { RateCounter } from './kernel/rate.ts';
import { parseListen } from './kernel/listen-address.ts';
import { createHealth, type Dependency, type HealthReport } from './operations/health.ts';
import { openLineWriter, streamLineWriter, type LineWriter } from './operations/line-writer.ts';
import { startOperationsListener } from './operations/listener.ts';
import { createLog, type Log } from './operations/log.ts';
import { takeSnapshot, type MetricSnapshot } from './operations/metric-merge.ts';
import { createMetrics } from './operations/metrics.ts';
import { productVersion } from './operations/version.ts';
import { boundCookieNames } from './policy/forge-routes.ts';
import { closeAudit, makeParts, type Parts, type World } from './parts.ts';
import type { Provider } from './provider/types.ts';
import { drainConnections, type DrainPatience } from './proxy/drain.ts';
import { prepareListen } from './proxy/listen.ts';
import { createPublicServer } from './proxy/server.ts';
import { createBoundCookies } from './session/bound-cookies.ts';
import { createForeignSessions } from './reload/foreign-sessions.ts';
import { createMfaTrail } from './reload/mfa-trail.ts';
import { authorOf, type ReloadCause, type ReloadOutcome } from './reload/outcome.ts';
import { createReloads } from './reloads.ts';
import type { Sealing } from './session/sealing.ts';
import { createSessions } from './session/sessions.ts';
import { createStore } from './session/store.ts';
import { createBearer } from './signin/bearer.ts';
import { createTokenRefresh } from './signin/token-refresh.ts';
import type { Store } from './session/types.ts';

/** How many opened sessions one process keeps in memory; the least recently used go first. */
const maxCachedSessions = 100_000;

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
  /** Who owns the configuration's file: the actor of its changes, where nobody says who it was. */
  readonly fileOwner?: string | undefined;
  /** It is one of several processes on one port. */
  readonly seat?: WorkerSeat | undefined;
}

/** What one of several processes shares with the others: the one before them does the rest for all (src/workers/). */
export interface WorkerSeat {
  /** Where lines go that would tear each other on one pipe. */
  readonly log: LineWriter;
  readonly audit: LineWriter;
  /** Named in every line of the log. */
  readonly pid: number;
  readonly rates: RateCounter;
  /** How many processes share the port. */
  readonly workers: number;
  /** Others run with this configuration already: its start is no change of anything. */
  readonly joins: boolean;
}

/** A running Sallyport. */
export interface App {
  /** The canonical public origin: the first of `server.public_url`. */
  readonly origin: string;
  /** Where it accepts requests, as bound. */
  readonly listen: string;
  /** Where `/livez`, `/readyz` and `/metrics` are, as bound; empty where another process serves them. */
  readonly operations: string;
  /**
   * Puts another configuration in force, without dropping a request or a session; one that can't be is refused, and changes
   * nothing. Several are applied one after the other.
   */
  reload(loaded: LoadedConfig, by: ReloadCause): Promise<ReloadOutcome>;
  /** Opens `audit.file` anew: what writes the old one is renamed away by log rotation. */
  reopenFiles(): Promise<void>;
  /** What `/readyz` says of this process. */
  health(): HealthReport;
  /** What this process counts. */
  metrics(): Promise<MetricSnapshot>;
  /** Puts an error that nobody caught on record, with its stack. */
  logFault(error: unknown): void;
  /**
   * `/readyz` fails first, then nothing new is accepted, then what runs is finished within `server.shutdown_grace`.
   * @param patience serves on for a while in between, so that whoever sends requests here has noticed; default: not at all
   */
  close(patience?: DrainPatience): Promise<void>;
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
    const { seat } = options;
    const out = own(seat?.log ?? (options.log ? streamLineWriter(options.log) : openLineWriter({ fd: 1 })));
    const firstLog = createLog(config.log, out, clock, seat?.pid);
    // What is in force: one assignment swaps it whole. Whoever outlives a reload asks here each time.
    let parts: Parts | undefined;
    const inForce = (): Parts => {
      if (parts === undefined) throw new SallyportError('internal', 'nothing is in force yet');
      return parts;
    };
    const log = (): Log => parts?.log ?? firstLog;
    const metrics = createMetrics({
      version: productVersion(),
      node: process.version,
      sources: config.sources.map(({ id }) => id),
      routes: metricRoutes(config),
      redis: config.session.redis !== undefined,
      configuredAtMs: clock.nowMs(),
    });
    const { meter } = metrics;
    const logWarning: Log['warning'] = (message, fields) => log().warning(message, fields);
    const logInfo: Log['warning'] = (message, fields) => log().logger.info(fields, message);
    const logFault: Log['fault'] = (error, facts) => log().fault(error, facts);
    const logOwnFault = (error: unknown): void => logFault(error, undefined);
    const audit = createAuditWriter(
      { write: (line, onLost) => inForce().auditOut.write(line, onLost) },
      { clock, meter, log: logWarning },
    );
    for (const warning of options.warnings ?? []) logWarning(warning, {});

    const sealing = currentSealing(() => inForce().sealing);
    const store = createStore(config.session, { clock, meter, logWarning });
    closers.push(() => store.close());
    const limits = (): SessionConfig => inForce().config.session;
    const opened = createSessions({
      store,
      sealing,
      clock,
      randomness,
      meter,
      get idleTimeoutMs() {
        return limits().idle_timeout;
      },
      get absoluteTimeoutMs() {
        return limits().absolute_timeout;
      },
      get cacheMs() {
        return limits().cache;
      },
      get outageGraceMs() {
        return limits().outage_grace;
      },
      maxCached: Math.ceil(maxCachedSessions / (seat?.workers ?? 1)),
      onPushedOut: ({ card }) => {
        audit.write({
          action: 'session.ended',
          requestId: undefined,
          clientIp: undefined,
          user: card === undefined ? undefined : { id: card.subject, email: card.email, name: card.username },
          authSource: card?.source,
          tenant: undefined,
          fields: { why: 'replaced', session_id: card?.id ?? 'unknown' },
        });
        meter.sessionEnded('replaced');
      },
    });
    const foreign = createForeignSessions({
      sessions: opened,
      audit,
      meter,
      logFault: logOwnFault,
    });
    const { sessions } = foreign;

    const providers = new SharedParts<Provider>((provider) => void provider.close().catch(logOwnFault));
    closers.push(() => Promise.all(providers.drain().map((provider) => provider.close())));
    const stopKeepingKey = keepAssertionKey({
      store,
      signer: () => parts?.signer,
      logWarning,
      logFault: logOwnFault,
    });
    closers.push(() => {
      stopKeepingKey();
      return Promise.resolve();
    });
    const auditWriter = seat?.audit ?? (options.audit && streamLineWriter(options.audit));
    const givenAudit = auditWriter && own(auditWriter);
    const world: World = {
      clock,
      randomness,
      meter,
      store,
      out,
      audit: givenAudit,
      pid: seat?.pid,
      providers,
      logWarning,
      logFault: logOwnFault,
      onForeignSession: (session) => foreign.seen(session),
    };
    parts = await makeParts(config, world, { log: firstLog });
    closers.push(async () => {
      await inForce().upkeep?.stop();
      await closeAudit(inForce().auditOut, world);
    });
    foreign.inForce(config.sources, parts.sinceMs);
    const generations = { current: () => inForce().generation };
    const trail = createMfaTrail({
      store,
      sealing,
      audit,
      clock,
      randomness,
      logWarning,
      logFault: logOwnFault,
      lasting: config.session.redis !== undefined,
    });
    closers.push(() => {
      trail.stop();
      return Promise.resolve();
    });
    const health = createHealth(() => dependencies(inForce().generation, store));

    const signIns = {
      ...{ sealing, store, sessions, audit, meter, clock, randomness },
      ...{ logFault, logWarning, logInfo },
    };
    const openBearer = createBearer(signIns);
    const refresh = createTokenRefresh({
      ...{ sessions: opened, store, audit, meter, clock, randomness },
      ...{ current: () => inForce().generation, logWarning, logFault: logOwnFault },
    });
    closers.push(() => refresh.close());
    const server = await createPublicServer(config, {
      generations,
      sessions,
      sessionWatch: opened,
      boundCookiesOf: ({ config: { upstream } }) => createBoundCookies(boundCookieNames(upstream), sealing),
      endSession: (request, record, cookieValue) =>
        endSession({ sessions, audit, meter, sealing, clock }, request, record, cookieValue),
      openBearer,
      refreshSession: (...noticed) => refresh.due(...noticed),
      render: createRenderer({ clock }),
      registerEndpoints: (scope) =>
        registerEndpoints(scope, {
          ...signIns,
          openBearer,
          refreshSession: (...noticed) => refresh.due(...noticed),
          jwks: () => reloads.jwks(),
          ...(seat && { rates: seat.rates, workers: seat.workers }),
        }),
      get accessLog() {
        return log().access;
      },
      logFault,
      logWarning,
      meter,
      clock,
      randomness,
    });
    const { registry } = metrics;
    const operations =
      seat === undefined
        ? await startOperationsListener({ listen: config.operations.listen, health, registry })
        : undefined;
    // Closed in reverse: the public server drains first, while /readyz still says why.
    closers.push(async () => operations?.close());
    closers.push(() => server.close());

    const reloads = createReloads({
      world,
      server,
      inForce,
      swap(next) {
        parts = next;
      },
      adopt(next) {
        metrics.adopt({ sources: next.sources.map(({ id }) => id), routes: metricRoutes(next) });
        foreign.inForce(next.sources, inForce().sinceMs);
      },
      trail,
      quiet: seat !== undefined,
    });
    closers.push(() => reloads.close());

    for (const { provider } of parts.generation.sources.values()) void provider.start();
    const known = seat?.joins === true ? config.sources : undefined;
    trail.applied(config.sources, known, authorOf(config, { fileOwner: options.fileOwner }));
    // A worker must not clear a socket away that the others are listening on.
    const address = seat === undefined ? undefined : parseListen(config.server.listen);
    const listen = await server
      .listen(address ?? (await prepareListen(config.server.listen)))
      .catch((cause: unknown) => {
        throw unbound(config.server.listen, cause);
      });
    const tell = (fields: object, message: string): void => {
      if (seat === undefined) log().logger.info(fields, message);
    };
    tell({ listen, operations: operations?.address }, 'ready');

    return {
      origin: config.server.public_url[0] ?? '',
      listen,
      operations: operations?.address ?? '',
      reload: (loaded, by) => reloads.reload(loaded, by),
      reopenFiles: () => reloads.reopenFiles(),
      health: () => health.report(),
      metrics: () => takeSnapshot(registry),
      logFault: logOwnFault,
      async close(patience) {
        health.beginShutdown();
        tell({}, 'shutting down');
        if (patience !== undefined) await drainConnections(server.server, patience);
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

/** A fault of the configuration, or of what else runs on this machine; a fault of ours is passed on as it is. */
function unbound(listen: string, cause: unknown): unknown {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException;
  if (code === undefined || (syscall !== 'listen' && syscall !== 'bind' && syscall !== 'getaddrinfo'))
    return cause;
  return new SallyportError('config_invalid', `server.listen ${listen}: cannot be bound (${code})`, {
    cause,
  });
}

/** The route rules by which requests are counted. */
function metricRoutes(config: Config): readonly { readonly name: string; readonly access: string }[] {
  return [...routeRules(config), { name: 'default', access: 'session' }];
}

/** A sealing that is always today's: whoever holds it need not know of reloads. */
function currentSealing(current: () => Sealing): Sealing {
  return {
    get id() {
      return current().id;
    },
    sessionKey: (cookieValue) => current().sessionKey(cookieValue),
    sealSession: (cookieValue, plaintext) => current().sealSession(cookieValue, plaintext),
    openSession: (cookieValue, sealed) => current().openSession(cookieValue, sealed),
    sealShared: (...given) => current().sealShared(...given),
    openShared: (purpose, sealed, aad) => current().openShared(purpose, sealed, aad),
    openSharedDetailed: (purpose, sealed, aad) => current().openSharedDetailed(purpose, sealed, aad),
    indexKeys: (purpose, value) => current().indexKeys(purpose, value),
  };
}

/** What the health report watches: Redis, where there is one, and each source's IdP. */
function dependencies({ config, sources }: Generation, store: Store): readonly Dependency[] {
  const idps = [...sources.values()].map(({ provider }): Dependency => ({
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
