import { parseArgs } from 'node:util';
import { startApp } from '../app.ts';
import { loadConfig } from '../config/load.ts';
import type { Command } from './command.ts';

/** `sallyport serve`: runs the proxy until SIGTERM or SIGINT. */
export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the proxy',
  usage: `Usage: sallyport serve [--config FILE]

Reads the configuration (--config, else SALLYPORT_CONFIG), reports every fault in it at once and exits with 2,
or starts. Logs {"message":"ready"} once it accepts requests. SIGTERM and SIGINT: /readyz fails, no new connection
is accepted, what runs is finished within server.shutdown_grace.`,

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
    const app = await startApp(loaded.config, { warnings: loaded.warnings });
    await new Promise<void>((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
    });
    await app.close();
    return 0;
  },
};
