import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';

/** Looks at files for changes of what they hold. */
export interface FileWatch {
  /** Looks at these from now on. @param content what of them is known: {@link contentOf} them, from before they were used */
  follow(files: readonly string[], content: string): void;
  stop(): void;
}

/** How closely files are watched. */
export interface FileWatchOptions {
  /** How often the files are looked at. Milliseconds. */
  readonly intervalMs?: number;
  /** In how many looks after the first a change must be the same before it counts. Default 1. */
  readonly restLooks?: number;
}

/**
 * Calls back when what files hold has changed and is at rest: the same in looks one after the other. Polls, and looks
 * through symbolic links: an editor's rename, a Kubernetes ConfigMap's `..data` and a network mount all look alike to it, where
 * change events are missed or come for half-written files. A file that was only touched, or written the same, is no change.
 */
export function watchFiles(
  onChange: () => void,
  { intervalMs = 1000, restLooks = 1 }: FileWatchOptions = {},
): FileWatch {
  let files: readonly string[] = [];
  let knownStats = '';
  let knownContent = '';
  let lastStats = '';
  let restingFor = 0;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let round = 0;

  async function look(): Promise<void> {
    const mine = round;
    const stats = await statAll(files);
    if (stopped || mine !== round) return;
    restingFor = stats === lastStats ? restingFor + 1 : 0;
    lastStats = stats;
    if (restingFor < restLooks || stats === knownStats) return;
    const content = await contentOf(files);
    if (isOver(mine)) return;
    knownStats = stats;
    if (content === knownContent) return;
    knownContent = content;
    onChange();
  }

  function isOver(mine: number): boolean {
    return stopped || mine !== round;
  }

  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => void look().finally(schedule), intervalMs);
    timer.unref();
  }
  schedule();

  return {
    follow(next, content) {
      round += 1;
      files = next;
      // So the next look compares what they hold, whatever has happened since.
      knownStats = lastStats = '';
      knownContent = content;
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

async function statAll(files: readonly string[]): Promise<string> {
  const each = await Promise.all(
    files.map(async (file) => {
      try {
        const { dev, ino, size, mtimeMs, ctimeMs } = await stat(file);
        return `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
      } catch {
        return 'absent';
      }
    }),
  );
  return each.join('\n');
}

/** A digest of what files hold; one that can't be read counts as such. */
export async function contentOf(files: readonly string[]): Promise<string> {
  const each = await Promise.all(
    files.map(async (file) => {
      try {
        return createHash('sha256')
          .update(await readFile(file))
          .digest('base64url');
      } catch {
        return 'unreadable';
      }
    }),
  );
  return each.join('\n');
}
