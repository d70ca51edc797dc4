import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { findProgram } from '../setup/programs.ts';

/** The Gitea that is built where no forge is given: the newest whose Go modules can all be had. */
export const giteaVersion = 'v1.26.0';

/** A forge to run. */
export interface ForgeBinary {
  readonly path: string;
  /** Templates and options, where they do not stand inside the binary. */
  readonly staticRoot: string | undefined;
}

/** Where what takes long to make is kept between runs; outside of the repository. */
export function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(base, 'sallyport-interop');
}

/**
 * The forge under test: `SALLYPORT_TEST_FORGE` (a Gitea or Forgejo binary), else the cached build; undefined when neither is there.
 *
 * A folder `src` beside the binary holds its templates and options; a released binary has them inside.
 */
export function findForge(): ForgeBinary | undefined {
  const given = process.env['SALLYPORT_TEST_FORGE'];
  const path = given ?? join(cacheFolder(), `gitea-${giteaVersion}`, 'gitea');
  if (!existsSync(path)) {
    if (given !== undefined) throw new Error(`SALLYPORT_TEST_FORGE: ${given} does not exist`);
    return undefined;
  }
  const source = join(dirname(path), 'src');
  return { path, staticRoot: existsSync(join(source, 'templates')) ? source : undefined };
}

/** Builds Gitea from its Go module into the cache; some minutes, once. Progress goes to standard error. */
export function buildForge(): ForgeBinary {
  const go = findProgram('go', `${process.env['PATH'] ?? ''}:/usr/local/go/bin`);
  if (go === undefined) {
    throw new Error(
      'give a Gitea or Forgejo binary by SALLYPORT_TEST_FORGE=PATH, or install Go 1.26 to build one',
    );
  }
  const env = { ...process.env, GOTOOLCHAIN: 'local' };
  const run = (args: readonly string[], cwd: string, output: 'pipe' | 2): string => {
    const done = spawnSync(go, args, { cwd, env, stdio: ['ignore', output, 2], encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`go ${args.join(' ')} failed`);
    return done.stdout;
  };
  const folder = join(cacheFolder(), `gitea-${giteaVersion}`);
  mkdirSync(folder, { recursive: true });
  const module = `code.gitea.io/gitea@${giteaVersion}`;
  process.stderr.write(`Building ${module} from its Go module, once; this takes some minutes\n`);
  run(['mod', 'download', module], folder, 2);
  const downloaded = join(run(['env', 'GOMODCACHE'], folder, 'pipe').trim(), module);
  const source = join(folder, 'src');
  rmSync(source, { recursive: true, force: true });
  // The module cache is read-only, and Gitea is built inside its own tree.
  cpSync(downloaded, source, { recursive: true });
  spawnSync('chmod', ['-R', 'u+w', source]);
  run(['build', '-tags', 'sqlite sqlite_unlock_notify', '-o', join(folder, 'gitea.part'), '.'], source, 2);
  renameSync(join(folder, 'gitea.part'), join(folder, 'gitea'));
  return { path: join(folder, 'gitea'), staticRoot: source };
}
