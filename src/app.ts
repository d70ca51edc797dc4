import type { Writable } from 'node:stream';
import { bindPublic } from './assembly/bind.ts';
import { dependencies } from './assembly/dependencies.ts';
import { createFront } from './assembly/front.ts';
import { createInForce } from './assembly/in-force.ts';
import { closeAudit, makeParts, type World } from './assembly/parts.ts';
import { createReloads } from './assembly/reloads.ts';
import { keepSessions } from './assembly/session-keeping.ts';
import { createTelling } from './assembly/telling.ts';
import type { Config } from './config/schema.ts';
import type { AssertionSigner } from './identity/assertion.ts';
import { keepAssertionKey } from './identity/assertion-upkeep.ts';
import { systemClock, type Clock } from './kernel/clock.ts';
import { systemRandomness, type Randomness } from './kernel/randomness.ts';
import type { RateCounter } from './kernel/rate.ts';
import { SharedParts } from './kernel/shared-parts.ts';
import { createHealth, type HealthReport } from './operations/health.ts';
import { openLineWriter, streamLineWriter, type LineWriter } from './operations/line-writer.ts';
import { startOperationsListener } from './operations/listener.ts';
import { createLog } from './operations/log.ts';
import { takeSnapshot, type MetricSnapshot } from './operations/metric-merge.ts';
import type { Provider } from './provider/types.ts';
import { drainConnections, type DrainPatience } from './proxy/drain.ts';
import { createMfaTrail } from './reload/mfa-trail.ts';
import { authorOf, type Reloadable } from './reload/outcome.ts';
import { currentSealing } from './session/current-sealing.ts';
import { createStore } from './session/store.ts';
import { createTokenRefresh } from './signin/token-refresh.ts';

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
export interface App extends Reloadable {
  /** The canonical public origin: the first of `server.public_url`. */
  readonly origin: string;
  /** Where it accepts requests, as bound. */
  readonly listen: string;
  /** Where `/livez`, `/readyz` and `/metrics` are, as bound; empty where another process serves them. */
  readonly operations: string;
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
  const { seat, clock = systemClock, randomness = systemRandomness } = options;
  // Closed in reverse.
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closers.reverse().splice(0)) await each();
  };
  const own = (writer: LineWriter): LineWriter => {
    closers.push(() => writer.close());
    return writer;
  };
  try {
    const inForce = createInForce();
    const generations = { current: () => inForce.current().generation };
    const out = own(seat?.log ?? (options.log ? streamLineWriter(options.log) : openLineWriter({ fd: 1 })));
    const firstLog = createLog(config.log, out, clock, seat?.pid);
    const telling = createTelling(config, clock, firstLog, inForce);
    const { audit, meter, metrics, logWarning, logOwnFault: logFault } = telling;
    for (const warning of options.warnings ?? []) logWarning(warning, {});

    const sealing = currentSealing(() => inForce.current().sealing);
    const store = createStore(config.session, { clock, meter, logWarning });
    closers.push(() => store.close());
    const { opened, foreign } = keepSessions({
      ...{ store, sealing, clock, randomness, telling },
      limits: () => inForce.current().config.session,
      workers: seat?.workers ?? 1,
    });
    closers.push(() => foreign.close());
    const providers = new SharedParts<Provider>((provider) => void provider.close().catch(logFault));
    closers.push(() => Promise.all(providers.drain().map((provider) => provider.close())));
    const signer = (): AssertionSigner | undefined => inForce.known()?.signer;
    closers.push(keepAssertionKey({ store, signer, logWarning, logFault }));

    const givenAudit = seat?.audit ?? (options.audit && streamLineWriter(options.audit));
    const world: World = {
      ...{ clock, randomness, meter, store, out, providers, logWarning, logFault },
      audit: givenAudit && own(givenAudit),
      pid: seat?.pid,
      onForeignSession: (session) => foreign.seen(session),
    };
    const parts = await makeParts(config, world, { log: firstLog });
    inForce.swap(parts);
    closers.push(async () => {
      await inForce.current().upkeep?.stop();
      await closeAudit(inForce.current().auditOut, world);
    });
    foreign.inForce(config.sources, parts.sinceMs);

    const trail = createMfaTrail({
      ...{ store, sealing, audit, clock, randomness, logWarning, logFault },
      lasting: config.session.redis !== undefined,
    });
    closers.push(() => trail.stop());
    const refresh = createTokenRefresh({
      ...{ sessions: opened, store, audit, meter, clock, randomness, logWarning, logFault },
      current: generations.current,
    });
    closers.push(() => refresh.close());

    const server = await createFront(config, {
      ...{ generations, store, sealing, sessions: foreign.sessions, sessionWatch: opened },
      ...{ refresh, seat, telling, clock, randomness },
      jwks: () => reloads.jwks(),
    });
    const health = createHealth(() => dependencies(generations.current(), store));
    const { registry } = metrics;
    const operations =
      seat === undefined
        ? await startOperationsListener({ listen: config.operations.listen, health, registry })
        : undefined;
    // The public server drains first, while /readyz still says why.
    closers.push(() => operations?.close());
    closers.push(() => server.close());
    const reloads = createReloads({
      ...{ world, server, inForce, trail },
      adopt(next) {
        telling.adopt(next);
        foreign.inForce(next.sources, inForce.current().sinceMs);
      },
      quiet: seat !== undefined,
    });
    closers.push(() => reloads.close());

    for (const { provider } of parts.generation.sources.values()) void provider.start();
    const known = seat?.joins === true ? config.sources : undefined;
    trail.applied(config.sources, known, authorOf(config, { fileOwner: options.fileOwner }));
    const listen = await bindPublic(server, config.server.listen, seat !== undefined);
    const tell = (fields: object, message: string): void => {
      if (seat === undefined) telling.log().logger.info(fields, message);
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
      logFault,
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
}
