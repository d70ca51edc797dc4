import { parseArgs } from 'node:util';
import { startApp } from '../app.ts';
import { loadConfig } from '../config/load.ts';
import { ownerOf } from '../reload/file-owner.ts';
import { startSupervisor, type Supervisor } from '../reload/supervisor.ts';
import type { Command } from './command.ts';

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
audit.file anew), when a file of it changes, and on sallyport reload.`,

  async run(args, io) {
    const { values } = parseArgs({ args: [...args], options: { config: { type: 'string' } }, strict: true });
    const path = values.config ?? io.env['SALLYPORT_CONFIG'];
    if (path === undefined) {
      io.stderr.write('sallyport serve: no configuration: give --config FILE or set SALLYPORT_CONFIG\n');
      return 2;
    }
    const loaded = await loadConfig(path, io.env);
    if (!loaded.ok) {
      io.stderr.write(loaded.report);
      return 2;
    }
    // From before the start: a signal that comes between "ready" and here would end the process with its requests.
    const stopping = new Promise<void>((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
    });
    let supervisor: Supervisor | undefined;
    // A failed reload is logged and changes nothing. (Before there is anything to reload, the signal must not end the start.)
    process.on('SIGHUP', () => void supervisor?.reload({ trigger: 'signal' }).catch(() => undefined));
    const app = await startApp(loaded.config, { warnings: loaded.warnings, fileOwner: await ownerOf(path) });
    try {
      const controlSocket = loaded.config.operations.control_socket;
      supervisor = await startSupervisor({ app, path, env: io.env, loaded, controlSocket });
    } catch (error) {
      await app.close();
      throw error;
    }
    // One request's defect must not end everybody else's. What decides who passes throws within its own request, and fails closed there.
    for (const event of ['uncaughtException', 'unhandledRejection'] as const)
      process.on(event, (error: unknown) => app.logFault(error));
    await stopping;
    // At the same time: a reload under way must not keep /readyz from failing first.
    await Promise.all([supervisor.close(), app.close(patience)]);
    return 0;
  },
};
