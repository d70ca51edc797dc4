import type { LoadedConfig } from '../config/load.ts';
import type { SourceConfig } from '../config/schema.ts';
import type { CommandIo } from './command.ts';
import { show } from './terminal.ts';

/** Says on standard error why a command can't do its work: usage or configuration. @returns its exit status */
export function fail(io: CommandIo, command: string, message: string): 2 {
  io.stderr.write(`sallyport ${command}: ${message}\n`);
  return 2;
}

/** What is said where neither `--config` nor SALLYPORT_CONFIG names a configuration. */
export const noConfiguration = 'no configuration: give --config FILE or set SALLYPORT_CONFIG';

/** The file that `--config` names, else the environment. A variable that is set to nothing names none, as with Compose's `SALLYPORT_CONFIG: ''`. */
export function configurationPath(option: string | undefined, io: CommandIo): string | undefined {
  const fromEnvironment = io.env['SALLYPORT_CONFIG'];
  return option ?? (fromEnvironment === '' ? undefined : fromEnvironment);
}

/** Loads the configuration; undefined where it has faults, all of which have been said: exit status 2. */
export async function loadOrReport(
  path: string,
  io: CommandIo,
): Promise<Extract<LoadedConfig, { ok: true }> | undefined> {
  // Only now: a worker, which is sent its configuration, has no use for the reader.
  const { loadConfig } = await import('../config/load.ts');
  const loaded = await loadConfig(path, io.env);
  if (loaded.ok) return loaded;
  io.stderr.write(loaded.report);
  return undefined;
}

/** What is said where `--source` names none. */
export function noSource(id: string | undefined, sources: readonly SourceConfig[]): string {
  return `no source has the id ${show(id)}; there are: ${sources.map((source) => source.id).join(', ')}`;
}
