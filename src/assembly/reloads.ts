import type { FastifyInstance } from 'fastify';
import type { LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { SallyportError } from '../kernel/error.ts';
import type { InForce } from './in-force.ts';
import { closeAudit, makeParts, openAudit, type Parts, type World } from './parts.ts';
import type { MfaTrail } from '../reload/mfa-trail.ts';
import { authorOf, type Reloadable, type ReloadCause, type ReloadOutcome } from '../reload/outcome.ts';
import { reportApplied, reportRefused } from '../reload/report.ts';
import { keepRunning } from '../reload/restart-keys.ts';

/** What a reload works on. */
export interface ReloadsDeps {
  readonly world: World;
  readonly server: Pick<FastifyInstance, 'lanes' | 'reviewSessions' | 'followCertificate'>;
  readonly inForce: InForce;
  /** Tells the rest of the process. */
  readonly adopt: (next: Config) => void;
  readonly trail: MfaTrail;
  /** Another process tells the log of reloads. */
  readonly quiet?: boolean;
}

/** The reloads of one process. */
export interface Reloads extends Reloadable {
  /** The public keys of the assertion; for a while those of the key before as well. */
  jwks(): { readonly keys: readonly object[] };
  /** Waits for a reload under way. */
  close(): Promise<void>;
}

/** A sign-in that began before a reload is through by then. Milliseconds. */
const providerGraceMs = 60_000;
/** Assertions of the key before live 60 s at most; whoever verifies them may ask for keys until then. Milliseconds. */
const formerKeysMs = 120_000;

/** Reloads over the parts in force, one after the other. */
export function createReloads(deps: ReloadsDeps): Reloads {
  const { world, server, inForce, trail } = deps;
  const { meter, clock, providers } = world;
  let queue: Promise<unknown> = Promise.resolve();
  let formerKeys: { readonly keys: readonly object[]; readonly untilMs: number } | undefined;

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  }

  async function apply(loaded: LoadedConfig, by: ReloadCause): Promise<ReloadOutcome> {
    if (!loaded.ok) return refuse(loaded.report, by);
    const before = inForce.current();
    const { config, restartRequired } = keepRunning(before.config, loaded.config);
    let next: Parts;
    let takeCertificate: (() => void) | undefined;
    try {
      takeCertificate =
        config.server.tls === undefined ? undefined : await server.followCertificate?.(config.server.tls);
      next = await makeParts(config, world, before);
      try {
        // The connections to the upstream: what can't be read or used is found here.
        server.lanes.of(next.generation);
      } catch (error) {
        for (const key of next.providerKeys) providers.release(key);
        if (next.auditOut !== before.auditOut) await closeAudit(next.auditOut, world);
        if (next.upkeep !== before.upkeep) await next.upkeep?.stop();
        throw error;
      }
    } catch (error) {
      if (!(error instanceof SallyportError && error.code === 'config_invalid')) world.logFault(error);
      return refuse(error instanceof Error ? `${error.message}\n` : 'unexpected fault\n', by);
    }

    rememberKeys(before, next);
    inForce.swap(next);
    takeCertificate?.();
    deps.adopt(config);
    showIdps();
    retire(before, next);
    meter.configReload('applied', clock.nowMs());
    const author = authorOf(config, by);
    trail.applied(config.sources, before.config.sources, author);
    if (before.digests.secrets !== next.digests.secrets) trail.reseal(author);
    const { warnings } = loaded;
    if (deps.quiet !== true) {
      reportApplied(inForce.current().log.logger, { warnings, restartRequired }, by, before.config, config);
    }
    return { result: 'applied', restartRequired, warnings };
  }

  function refuse(text: string, by: ReloadCause): ReloadOutcome {
    meter.configReload('refused', clock.nowMs());
    if (deps.quiet !== true) reportRefused(inForce.current().log.logger, text, by);
    return { result: 'refused', report: text };
  }

  /** Requests that captured the generation before go on with it to their end. */
  function retire(before: Parts, next: Parts): void {
    for (const { config, policy, provider } of next.generation.sources.values()) {
      if (before.generation.sources.get(config.id)?.provider === provider) provider.reconsider?.(policy);
    }
    const nowMs = clock.nowMs();
    server.reviewSessions((session) => {
      return next.generation.standing(session, nowMs)?.outcome.admit === true;
    });
    const grace = new Promise<void>((resolve) => setTimeout(resolve, providerGraceMs).unref());
    void Promise.race([server.lanes.retire(before.generation), grace]).then(() => {
      for (const key of before.providerKeys) providers.release(key);
      showIdps();
    });
    if (next.upkeep !== before.upkeep) void before.upkeep?.stop();
    if (next.auditOut !== before.auditOut) void closeAudit(before.auditOut, world).catch(world.logFault);
  }

  /**
   * What of an IdP was found out before its source was in force was not counted as that of a source; and the one that a source had before
   * speaks under the same name until it is gone.
   */
  function showIdps(): void {
    for (const { config, provider } of inForce.current().generation.sources.values())
      meter.idpUp(config.id, provider.status().available);
  }

  function rememberKeys(before: Parts, next: Parts): void {
    if (before.signer === next.signer) return;
    try {
      formerKeys = { keys: before.signer.jwks().keys, untilMs: clock.nowMs() + formerKeysMs };
    } catch {
      // It has never had one, so nothing was signed with it.
    }
  }

  function reopen(): Promise<void> {
    const before = inForce.current();
    if (before.config.audit.file === undefined) return Promise.resolve();
    try {
      inForce.swap({ ...before, auditOut: openAudit(before.config, world) });
    } catch (error) {
      // The trail goes on where it was: better in a rotated file than nowhere.
      world.logFault(error);
      return Promise.resolve();
    }
    return closeAudit(before.auditOut, world);
  }

  return {
    reload: (loaded, by) => inTurn(() => apply(loaded, by)),
    reopenFiles: () => inTurn(reopen),
    jwks() {
      const { keys } = inForce.current().signer.jwks();
      if (formerKeys === undefined || clock.nowMs() >= formerKeys.untilMs) return { keys };
      const ids = new Set(keys.map(({ kid }) => kid));
      return { keys: [...keys, ...formerKeys.keys.filter((key) => !ids.has((key as { kid?: string }).kid))] };
    },
    close: async () => {
      await queue;
    },
  };
}
