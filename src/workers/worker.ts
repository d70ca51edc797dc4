import cluster from 'node:cluster';
import process from 'node:process';
import type { App, startApp as StartApp } from '../app.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../kernel/clock.ts';
import { isFault } from '../kernel/error.ts';
import { relayLineWriter } from '../operations/line-writer.ts';
import type { DrainPatience } from '../proxy/drain.ts';
import type { ReloadOutcome } from '../reload/outcome.ts';
import { openChannel } from './channel.ts';
import { unpackConfig } from './config-transfer.ts';
import { createSharedRates } from './rates.ts';
import type { StartFault, ToWorker } from './types.ts';

const beatEveryMs = 1_000;
/** Every so many beats bring the counters along: what a worker counts after that is lost if it is killed. */
const beatsBetweenMetrics = 5;

type Start = Extract<ToWorker, { type: 'start' }>;
type Reload = Extract<ToWorker, { type: 'reload' }>;

/** Whether this process is one that a primary has started. */
export function isWorker(): boolean {
  return cluster.isWorker && process.connected;
}

/**
 * Runs one of several processes on one port, until the primary says that it is to end, or is gone: then what runs is finished.
 * @param loadApp loads the proxy's modules; only now, since the primary has no use for them
 * @returns the exit status
 */
export async function runWorker(
  loadApp: () => Promise<{ readonly startApp: typeof StartApp }>,
  patience: DrainPatience,
): Promise<number> {
  // Else node:cluster ends this process, with its requests, in the moment that the primary is gone.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  // A terminal and some service managers send these to the whole group; what they mean, the primary tells.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

  let config: Config | undefined;
  let toStart: (message: Start) => void;
  const start = new Promise<Start>((resolve) => (toStart = resolve));
  let toEnd: () => void;
  const ending = new Promise<void>((resolve) => (toEnd = resolve));
  let app: App | undefined;

  const channel = openChannel(
    (message) => {
      switch (message.type) {
        case 'start':
          toStart(message);
          return;
        case 'reload':
          void reload(message);
          return;
        case 'look':
          void app?.metrics().then((metrics) => channel.tell({ type: 'looked', id: message.id, metrics }));
          return;
        case 'drain':
          toEnd();
      }
    },
    () => config?.audit.file,
  );
  void channel.broken.then(() => toEnd());

  async function reload({ id, config: packed, version, by }: Reload): Promise<void> {
    const next = unpackConfig(packed);
    const outcome = await apply(next, by);
    if (outcome.result === 'applied') config = next;
    await channel.tell({ type: 'reloaded', id, version, outcome });
  }

  async function apply(next: Config, by: Reload['by']): Promise<ReloadOutcome> {
    if (app === undefined) return { result: 'refused', report: 'this worker has not started\n' };
    try {
      return await app.reload({ ok: true, config: next, warnings: [] }, by);
    } catch (error) {
      app.logFault(error);
      return { result: 'refused', report: 'unexpected fault\n' };
    }
  }

  const stopBeating = beat(channel, () => app);
  const loading = loadApp();
  await channel.tell({ type: 'hello' });
  const first = await Promise.race([start, ending]);
  if (first === undefined) return 0;
  config = unpackConfig(first.config);
  try {
    const { startApp } = await loading;
    app = await startApp(config, {
      fileOwner: first.fileOwner,
      seat: {
        log: relayLineWriter(channel.sender('log')),
        audit: relayLineWriter(channel.sender('audit')),
        pid: process.pid,
        rates: createSharedRates((key, windowMs) => channel.count(key, windowMs), systemClock),
        workers: first.workers,
        joins: first.joins,
      },
    });
  } catch (error) {
    await channel.tell({ type: 'failed', fault: faultOf(error) });
    return 1;
  }
  const { listen } = app;
  const running = app;
  for (const event of ['uncaughtException', 'unhandledRejection'] as const)
    process.on(event, (error: unknown) => running.logFault(error));
  await channel.tell({ type: 'ready', listen, version: first.version, health: app.health() });

  await ending;
  // Without its primary it leaves the port at once: whoever starts another one needs it.
  await app.close(channel.connected ? patience : undefined);
  stopBeating();
  await channel.tell({ type: 'left', metrics: await app.metrics() });
  if (channel.connected) process.disconnect();
  return 0;
}

/** Tells the primary, again and again, that this process's event loop turns. @returns what ends it */
function beat(channel: Pick<ReturnType<typeof openChannel>, 'tell'>, app: () => App | undefined): () => void {
  let beats = 0;
  // A primary that does not read must not fill this process's memory.
  let unread = false;
  const timer = setInterval(() => {
    if (unread) return;
    unread = true;
    beats += 1;
    void say(beats % beatsBetweenMetrics === 0).finally(() => (unread = false));
  }, beatEveryMs);
  timer.unref();

  async function say(withMetrics: boolean): Promise<void> {
    const running = app();
    const metrics = withMetrics ? await running?.metrics() : undefined;
    await channel.tell({ type: 'beat', health: running?.health(), ...(metrics && { metrics }) });
  }
  return () => clearInterval(timer);
}

function faultOf(error: unknown): StartFault {
  const configInvalid = isFault(error, 'config_invalid');
  if (!(error instanceof Error)) return { configInvalid, message: String(error), stack: undefined };
  return { configInvalid, message: error.message, stack: error.stack };
}
