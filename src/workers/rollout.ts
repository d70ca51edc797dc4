import type { LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { ReloadCause, ReloadOutcome } from '../reload/outcome.ts';
import { keepRunning } from '../reload/restart-keys.ts';
import { packConfig } from './config-transfer.ts';
import type { Fleet, InForce, Member } from './fleet.ts';

/** What a roll-out works on. */
export interface RolloutDeps {
  readonly fleet: Pick<Fleet, 'ready' | 'reload' | 'retire'>;
  /** What this process itself needs of a configuration, made before it is in force. @throws config_invalid */
  readonly prepare: (next: Config) => { take(): void; leave(): void };
  readonly tell: {
    applied(
      what: { readonly warnings: readonly string[]; readonly restartRequired: readonly string[] },
      by: ReloadCause,
      before: Config,
      next: Config,
    ): void;
    refused(report: string, by: ReloadCause): void;
  };
}

/** Puts configurations in force in all workers, or in none. */
export interface Rollout {
  inForce(): InForce;
  /** What is in force, as it is. */
  config(): Config;
  /** One after the other. */
  reload(loaded: LoadedConfig, by: ReloadCause): Promise<ReloadOutcome>;
  /** A worker has started with what was in force a while ago, perhaps. */
  catchUp(member: Member): void;
}

/** How long a reload waits for a worker that it can be tried in, when none is there. Milliseconds. */
const trialPatienceMs = 5_000;

/**
 * One worker tries the configuration first. What it refuses, or dies of, changes nothing. What it takes is in force from then on: whoever
 * of the others does not take it is replaced by one that starts with it.
 */
export function createRollout(first: Config, fileOwner: string | undefined, deps: RolloutDeps): Rollout {
  const { fleet, tell } = deps;
  let config = first;
  let inForce: InForce = { config: packConfig(first), version: 1, fileOwner };
  let cause: ReloadCause = { trigger: 'file' };
  let queue: Promise<unknown> = Promise.resolve();

  async function apply(loaded: LoadedConfig, by: ReloadCause): Promise<ReloadOutcome> {
    if (!loaded.ok) return refuse(loaded.report, by);
    const before = config;
    const { config: next, restartRequired } = keepRunning(before, loaded.config);
    let prepared: ReturnType<RolloutDeps['prepare']>;
    try {
      prepared = deps.prepare(next);
    } catch (error) {
      return refuse(error instanceof Error ? `${error.message}\n` : 'unexpected fault\n', by);
    }
    const candidate: InForce = {
      config: packConfig(next),
      version: inForce.version + 1,
      fileOwner: by.fileOwner ?? fileOwner,
    };
    const trial = await anyReady();
    if (trial !== undefined) {
      const outcome = await fleet.reload(trial, candidate, by);
      if (outcome?.result !== 'applied') {
        prepared.leave();
        // It may have taken it after all, and nobody has heard: then it must not stay.
        if (outcome === undefined) fleet.retire(trial);
        return refuse(outcome?.report ?? 'the worker that tried it died or did not answer\n', by);
      }
    }
    config = next;
    inForce = candidate;
    cause = by;
    prepared.take();
    const others = fleet.ready().filter((member) => member !== trial);
    await Promise.all(others.map((member) => bring(member)));
    const { warnings } = loaded;
    tell.applied({ warnings, restartRequired }, by, before, next);
    return { result: 'applied', restartRequired, warnings };
  }

  async function bring(member: Member): Promise<void> {
    const outcome = await fleet.reload(member, inForce, cause);
    if (outcome?.result !== 'applied') fleet.retire(member);
  }

  function refuse(report: string, by: ReloadCause): ReloadOutcome {
    tell.refused(report, by);
    return { result: 'refused', report };
  }

  /** Undefined where none comes up: then they die of what is in force, and what comes next can hardly be worse. */
  async function anyReady(): Promise<Member | undefined> {
    for (let waitedMs = 0; fleet.ready().length === 0 && waitedMs < trialPatienceMs; waitedMs += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return fleet.ready()[0];
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  }

  return {
    inForce: () => inForce,
    config: () => config,
    reload: (loaded, by) => inTurn(() => apply(loaded, by)),
    catchUp(member) {
      void inTurn(async () => {
        if (member.version !== inForce.version) await bring(member);
      });
    },
  };
}
