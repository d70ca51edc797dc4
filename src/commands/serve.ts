import { parseArgs } from 'node:util';
import type { App } from '../app.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Supervisor } from '../reload/supervisor.ts';
import { isWorker, runWorker } from '../workers/worker.ts';
import type { Command } from './command.ts';
import { configurationPath, fail, loadOrReport, noConfiguration } from './configuration.ts';

/** How long requests are still taken after `/readyz` has begun to fail: platforms and proxies need a moment to notice. */
const patience = { quietMs: 500, mostMs: 2_000 };

/** `sallyport serve`: runs the proxy until SIGTERM or SIGINT. */
export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the proxy',
  usage: `Usage: sallyport serve [--config FILE]

Reads the configuration (--config, else SALLYPORT_CONFIG), reports every fault in it at once and exits with 2,
or starts. Logs {"message":"ready"} once it accepts requests. SIGTERM and SIGINT: /readyz fails, no new connection
is accepted, what runs is finished within server.shutdown_grace. The configuration is read again on SIGHUP (which also opens
audit.file anew), when a file of it changes, and on sallyport reload. With server.workers, signals go to this process, which passes
on what they mean.`,

  async run(args, io) {
    // Started by a process like the one below, which has read the file.
    if (isWorker()) return await runWorker(() => import('../app.ts'), patience);
    const { values } = parseArgs({ args: [...args], options: { config: { type: 'string' } }, strict: true });
    const path = configurationPath(values.config, io);
    if (path === undefined) return fail(io, 'serve', noConfiguration);
    const loaded = await loadOrReport(path, io);
    if (loaded === undefined) return 2;
    // From before the start: a signal that comes between "ready" and here would end the process with its requests.
    const stopping = new Promise<void>((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
    });
    let supervisor: Supervisor | undefined;
    // A failed reload is logged and changes nothing. (Before there is anything to reload, the signal must not end the start.)
    process.on('SIGHUP', () => void supervisor?.reload({ trigger: 'signal' }).catch(() => undefined));
    const { startSupervisor } = await import('../reload/supervisor.ts');
    const app = await startServing(loaded, path);
    // One request's defect must not end everybody else's. What decides who passes throws within its own request, and fails closed there.
    for (const event of ['uncaughtException', 'unhandledRejection'] as const)
      process.on(event, (error: unknown) => app.logFault(error));
    try {
      const controlSocket = loaded.config.operations.control_socket;
      supervisor = await startSupervisor({ app, path, env: io.env, loaded, controlSocket });
    } catch (error) {
      await app.close();
      throw error;
    }
    await stopping;
    // At the same time: a reload under way must not keep /readyz from failing first.
    await Promise.all([supervisor.close(), app.close(patience)]);
    return 0;
  },
};

/** One process; or, with `server.workers`, one before several. */
async function startServing(
  loaded: Extract<LoadedConfig, { ok: true }>,
  path: string,
): Promise<Pick<App, 'reload' | 'reopenFiles' | 'logFault' | 'close'>> {
  const { config, warnings } = loaded;
  const { countWorkers } = await import('../workers/count.ts');
  const { ownerOf } = await import('../reload/file-owner.ts');
  const workers = countWorkers(config.server.workers);
  const fileOwner = await ownerOf(path);
  if (workers === 1) {
    const { startApp } = await import('../app.ts');
    return await startApp(config, { warnings, fileOwner });
  }
  const { prepareListen } = await import('../proxy/listen.ts');
  const { startPrimary } = await import('../workers/primary.ts');
  await prepareListen(config.server.listen);
  return await startPrimary(loaded, { workers, fileOwner });
}
