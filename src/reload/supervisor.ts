import type { Environment } from '../config/interpolation.ts';
import { digestOf } from '../config/comparison.ts';
import { loadConfig, type LoadedConfig } from '../config/load.ts';
import { openControlSocket, type ControlSocket } from './control-socket.ts';
import { ownerOf } from './file-owner.ts';
import type { Reloadable, ReloadCause, ReloadOutcome } from './outcome.ts';
import { contentOf, watchFiles } from './watch.ts';

/** Reads the configuration again whenever there is a reason to. */
export interface Supervisor {
  /** Reads it now. `signal`: files that are written to are opened anew as well. */
  reload(by: Pick<ReloadCause, 'trigger' | 'actor'>): Promise<ReloadOutcome>;
  close(): Promise<void>;
}

/** What {@link startSupervisor} watches over. */
export interface SupervisorOptions {
  readonly app: Reloadable;
  /** The configuration's file. */
  readonly path: string;
  readonly env: Environment;
  /** What the start has loaded. */
  readonly loaded: LoadedConfig;
  /** `operations.control_socket`. */
  readonly controlSocket: string | undefined;
  /** How often files are looked at. Milliseconds. */
  readonly watchEveryMs?: number;
}

/** With a control socket, a changed file is applied without a command only after so many looks: some ten seconds. */
const looksBeforeCommand = 10;

/**
 * Watches over a running process: changes of the configuration's file and of every file that it names, and the control
 * socket. (Signals are the command's, which owns the process.)
 *
 * @throws config_invalid when the control socket can't be opened
 */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { app, path, env } = options;
  let known = options.loaded;
  let followed = filesOf(known, known);
  let turn: Promise<unknown> = Promise.resolve();

  async function read({ trigger, actor }: Pick<ReloadCause, 'trigger' | 'actor'>): Promise<ReloadOutcome> {
    if (trigger === 'signal') await app.reopenFiles();
    const loaded = await load();
    const fileOwner = await ownerOf(path);
    if (loaded.ok) known = loaded;
    return await app.reload(loaded, { trigger, actor, fileOwner });
  }

  /** Loads, and follows from just before that: what changes while it is read, or applied, is another change. */
  async function load(): Promise<LoadedConfig> {
    for (let attempt = 1; ; attempt += 1) {
      const content = await contentOf(followed);
      const loaded = await loadConfig(path, env);
      const files = filesOf(loaded, known);
      const isSame = files.join('\n') === followed.join('\n');
      followed = files;
      // Of files that it names newly, nobody knows yet what they held before: so once more.
      if (!isSame && attempt < 3) continue;
      watch.follow(files, isSame ? content : await contentOf(files));
      return loaded;
    }
  }

  /** One at a time: each reads the file when its turn comes, so the last one has the last word. */
  function reload(by: Pick<ReloadCause, 'trigger' | 'actor'>): Promise<ReloadOutcome> {
    const result = turn.then(() => read(by));
    turn = result.catch(() => undefined);
    return result;
  }

  /** Beside the file itself: what it names. Where that can't be told since the file is broken, what it named before too. */
  function filesOf(loaded: LoadedConfig, before: LoadedConfig): readonly string[] {
    const named = loaded.files ?? [];
    if (!loaded.ok) return sorted([path, ...named, ...(before.files ?? [])]);
    const { tls } = loaded.config.server;
    // The server follows its certificate by itself, without anything else being read again.
    const own: readonly string[] = tls === undefined ? [] : [tls.cert_file, tls.key_file];
    return sorted([path, ...named.filter((file) => !own.includes(file))]);
  }

  const watch = watchFiles(() => void reload({ trigger: 'file' }), {
    ...(options.watchEveryMs !== undefined && { intervalMs: options.watchEveryMs }),
    // Whoever has a control socket may be about to say, with `--actor`, who has changed the file.
    restLooks: options.controlSocket === undefined ? 1 : looksBeforeCommand,
  });
  let control: ControlSocket | undefined;
  try {
    // The start has read the file a while ago.
    const now = await load();
    if (!now.ok || !known.ok || digestOf(now.config) !== digestOf(known.config))
      void reload({ trigger: 'file' });
    if (options.controlSocket !== undefined) {
      control = await openControlSocket(options.controlSocket, {
        reload: (actor) => reload({ trigger: 'command', actor }),
      });
    }
  } catch (error) {
    watch.stop();
    throw error;
  }
  return {
    reload,
    async close() {
      watch.stop();
      await control?.close();
      await turn;
    },
  };
}

function sorted(files: readonly string[]): readonly string[] {
  return [...new Set(files)].sort();
}
