import cluster, { type Worker } from 'node:cluster';
import type { RateCount } from '../kernel/rate.ts';
import type { HealthReport } from '../operations/health.ts';
import type { MetricTotals } from '../operations/metric-merge.ts';
import type { ReloadCause, ReloadOutcome } from '../reload/outcome.ts';
import { createBackOff } from './back-off.ts';
import type { PackedConfig } from './config-transfer.ts';
import { createQuestions } from './questions.ts';
import type { LineKind, StartFault, ToPrimary, ToWorker } from './types.ts';

/** A configuration that is in force, for workers to start with. */
export interface InForce {
  readonly config: PackedConfig;
  readonly version: number;
  readonly fileOwner: string | undefined;
}

/** A worker process, as its primary knows it. */
export interface Member {
  readonly pid: number | undefined;
  /** `leaving`: it takes no new requests any more. */
  readonly state: 'starting' | 'ready' | 'leaving';
  /** Of the configuration that it runs with. */
  readonly version: number;
}

/** What {@link createFleet} is made of. */
export interface FleetDeps {
  /** How many workers there should be. */
  readonly wanted: number;
  readonly inForce: () => InForce;
  readonly totals: MetricTotals;
  readonly write: (kind: LineKind, bytes: Buffer, settled: (written: boolean) => void) => void;
  readonly count: (key: string, windowMs: number) => RateCount;
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields: object) => void;
  /** A worker accepts requests; perhaps with a configuration that is not in force any more. */
  readonly onReady: (member: Member) => void;
}

/** Keeps so many workers running. */
export interface Fleet {
  /**
   * Starts them, and resolves with the address once all accept requests.
   * @throws StartFailed when one of them finds that it can't start
   */
  start(): Promise<string>;
  /** Those that accept requests. */
  ready(): readonly Member[];
  /** Reports of those that accept requests and answer. */
  reports(): readonly HealthReport[];
  /** Puts a configuration in force in one of them; undefined when it died of it or does not answer. */
  reload(member: Member, inForce: InForce, by: ReloadCause): Promise<ReloadOutcome | undefined>;
  /** Has another take its place, which starts with what is in force, and lets it finish what it does. */
  retire(member: Member): void;
  /** Asks all what they count; waits a moment for those that don't answer. */
  look(): Promise<void>;
  /** Lets all of them finish, and ends those that have not after `mostMs`. */
  drain(mostMs: number): Promise<void>;
  /** Ends all of them now. */
  kill(): void;
}

/** A worker could not start, and so does the whole. */
export class StartFailed extends Error {
  readonly fault: StartFault;

  constructor(fault: StartFault) {
    super(fault.message);
    this.fault = fault;
  }
}

interface Hand extends Member {
  readonly worker: Worker;
  readonly bornAt: number;
  state: Member['state'];
  version: number;
  /** Looks since it was last heard. */
  silentFor: number;
  health: HealthReport | undefined;
  fault: StartFault | undefined;
}

const lookEveryMs = 1_000;
/** A worker that was not heard for so many looks hangs. Loading its modules may take longer on a machine with much to do. */
const silenceIsDeath = 10;
const silenceAtStartIsDeath = 60;
/** Whoever is silent for so long takes no requests either. */
const silenceIsAbsence = 3;
/** A reload that takes longer has failed. Milliseconds. */
const reloadPatienceMs = 30_000;
/** A scrape waits no longer for a worker. Milliseconds. */
const scrapePatienceMs = 1_000;
/** Killed again and again before all of them have ever accepted a request: this start comes to nothing. */
const mostDeathsAtStart = 4;

/** Makes the fleet of this process, which must be node:cluster's primary. Nothing is started yet. */
export function createFleet(deps: FleetDeps): Fleet {
  const { wanted, totals, log } = deps;
  const hands = new Set<Hand>();
  const backOff = createBackOff();
  const questions = createQuestions<Hand, ReloadOutcome>();
  /** Replacements that wait for their time. */
  let pending = 0;
  let ending = false;
  let deathsAtStart = 0;
  let begun: { resolve(listen: string): void; reject(error: StartFailed): void } | undefined;
  let looking: NodeJS.Timeout | undefined;
  const onGone = new Set<() => void>();

  const ready = (): readonly Hand[] => [...hands].filter(({ state }) => state === 'ready');
  const handOf = (member: Member): Hand | undefined => [...hands].find((hand) => hand === member);

  function tell(hand: Hand, message: ToWorker): void {
    // One that is dying is heard of by its exit.
    if (hand.worker.isConnected()) hand.worker.send(message, undefined, () => undefined);
  }

  function fill(): void {
    const serving = [...hands].filter(({ state }) => state !== 'leaving').length;
    for (let missing = wanted - serving - pending; missing > 0 && !ending; missing -= 1) launch();
  }

  function launch(): void {
    const worker = cluster.fork();
    const hand: Hand = {
      worker,
      pid: worker.process.pid,
      bornAt: performance.now(),
      state: 'starting',
      version: 0,
      silentFor: 0,
      health: undefined,
      fault: undefined,
    };
    hands.add(hand);
    worker.on('message', (message: ToPrimary) => hear(hand, message));
    worker.once('exit', (code, signal) => {
      // Its last words may still be on their way.
      if (worker.isConnected()) worker.once('disconnect', () => gone(hand, code, signal));
      else gone(hand, code, signal);
    });
    // It could not even be started (no memory, no process left): there is no exit then.
    worker.on('error', () => {
      if (hand.pid === undefined) gone(hand, null, null);
    });
  }

  function hear(hand: Hand, message: ToPrimary): void {
    hand.silentFor = 0;
    switch (message.type) {
      case 'hello': {
        const { config, version, fileOwner } = deps.inForce();
        hand.version = version;
        // While others run with it, its configuration is no news. (After a death of all, it may be.)
        const joins = begun === undefined && ready().length > 0;
        tell(hand, { type: 'start', config, version, fileOwner, workers: wanted, joins });
        return;
      }
      case 'ready': {
        hand.health = message.health;
        if (hand.state === 'starting') hand.state = 'ready';
        if (begun === undefined) {
          log('info', 'a worker has taken the place of one that ended', { worker: hand.pid });
          deps.onReady(hand);
        } else if (ready().length >= wanted) {
          begun.resolve(message.listen);
          begun = undefined;
        }
        return;
      }
      case 'failed':
        hand.fault = message.fault;
        return;
      case 'beat':
        hand.health = message.health;
        if (message.metrics !== undefined) totals.learn(hand.worker.id, message.metrics);
        return;
      case 'looked':
        totals.learn(hand.worker.id, message.metrics);
        questions.answered(message.id);
        return;
      case 'reloaded':
        if (message.outcome.result === 'applied') hand.version = message.version;
        questions.answered(message.id, message.outcome);
        return;
      case 'lines': {
        const { kind, bytes } = message;
        const { buffer, byteOffset, byteLength } = bytes;
        deps.write(kind, Buffer.from(buffer, byteOffset, byteLength), (written) =>
          tell(hand, { type: 'settled', kind, written }),
        );
        return;
      }
      case 'count': {
        const { count, remainingMs } = deps.count(message.key, message.windowMs);
        tell(hand, { type: 'counted', id: message.id, count, remainingMs });
        return;
      }
      case 'left':
        totals.learn(hand.worker.id, message.metrics);
    }
  }

  function gone(hand: Hand, code: number | null, signal: string | null): void {
    if (!hands.delete(hand)) return;
    totals.retire(hand.worker.id);
    questions.gone(hand);
    for (const each of onGone) each();
    if (ending || hand.state === 'leaving') return;
    if (begun !== undefined && endsTheStart(hand, code, signal)) return;
    const pauseMs = backOff.died(performance.now() - hand.bornAt);
    log('error', hand.fault === undefined ? 'a worker ended unexpectedly' : 'a worker could not start', {
      worker: hand.pid,
      exit_code: code,
      exit_signal: signal,
      ...(hand.fault && { report: hand.fault.message }),
      replaced_in_ms: pauseMs,
    });
    if (pauseMs === 0) {
      fill();
      return;
    }
    pending += 1;
    setTimeout(() => {
      pending -= 1;
      fill();
    }, pauseMs).unref();
  }

  /** What keeps a worker from starting keeps the others as well; what killed it, from outside, may be over. */
  function endsTheStart(hand: Hand, code: number | null, signal: string | null): boolean {
    deathsAtStart += 1;
    if (hand.fault === undefined && signal !== null && deathsAtStart < mostDeathsAtStart) return false;
    const message = `a worker ended while it started (${signal ?? `exit status ${String(code)}`})`;
    begun?.reject(new StartFailed(hand.fault ?? { configInvalid: false, message, stack: undefined }));
    begun = undefined;
    ending = true;
    return true;
  }

  /** By count, not by the clock: of a machine that slept, everybody was silent. */
  function listenForSilence(): void {
    for (const hand of hands) {
      hand.silentFor += 1;
      const limit = hand.version === 0 ? silenceAtStartIsDeath : silenceIsDeath;
      if (hand.silentFor !== limit) continue;
      log('error', 'a worker does not answer: it is ended', { worker: hand.pid });
      hand.worker.process.kill('SIGKILL');
    }
  }

  const ask = (
    hand: Hand,
    message: (id: number) => ToWorker,
    patienceMs: number,
  ): Promise<ReloadOutcome | undefined> => questions.ask(hand, (id) => tell(hand, message(id)), patienceMs);

  function kill(): void {
    ending = true;
    clearInterval(looking);
    for (const { worker } of hands) worker.process.kill('SIGKILL');
  }

  return {
    start() {
      // The workers accept for themselves. Handed round (the default), a connection on its way to a worker that dies is neither
      // answered nor closed, and this process would be part of every connection's way.
      // Read by the first set-up, and never again.
      cluster.schedulingPolicy = cluster.SCHED_NONE;
      cluster.setupPrimary({ serialization: 'advanced' });
      looking = setInterval(listenForSilence, lookEveryMs);
      return new Promise((resolve, reject) => {
        begun = { resolve, reject };
        fill();
      });
    },
    ready,
    reports: () =>
      ready().flatMap(({ health, silentFor }) =>
        health === undefined || silentFor > silenceIsAbsence ? [] : [health],
      ),
    async reload(member, { config, version }, by) {
      const hand = handOf(member);
      if (hand === undefined) return undefined;
      return await ask(hand, (id) => ({ type: 'reload', id, config, version, by }), reloadPatienceMs);
    },
    retire(member) {
      const hand = handOf(member);
      if (hand === undefined || hand.state === 'leaving') return;
      hand.state = 'leaving';
      tell(hand, { type: 'drain' });
      fill();
    },
    async look() {
      const asked = ready().map((hand) => ask(hand, (id) => ({ type: 'look', id }), scrapePatienceMs));
      await Promise.all(asked);
    },
    async drain(mostMs) {
      ending = true;
      for (const hand of hands) {
        hand.state = 'leaving';
        tell(hand, { type: 'drain' });
      }
      await new Promise<void>((resolve) => {
        const late = setTimeout(() => {
          log('warn', 'workers that have not finished in time are ended', { workers: hands.size });
          kill();
        }, mostMs);
        const check = (): void => {
          if (hands.size > 0) return;
          clearTimeout(late);
          resolve();
        };
        onGone.add(check);
        check();
      });
      clearInterval(looking);
    },
    kill,
  };
}
