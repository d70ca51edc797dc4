import type { SessionWatch } from '../session/types.ts';
import type { Running } from './running.ts';
import type { UpgradedSockets } from './websocket.ts';

/** How long an exchange may still run to its end once its session has ended: most are over by then. Milliseconds. */
const graceMs = 400;
/** How often the sessions of what is open are looked for: those that expire do so without a word. */
const lookEveryMs = 60_000;
/** Sessions looked for at once. */
const batchSize = 100;

/**
 * Closes what runs under sessions that have ended, or may do less than before: WebSockets at once; event streams, long answers and
 * uploads as soon as they turn out not to be on the point of ending anyway.
 *
 * @returns stops it
 */
export function closeWithSessions(
  running: Running,
  upgraded: UpgradedSockets,
  watch: SessionWatch,
): () => void {
  let stopped = false;
  let looking = false;
  let lookAgain = false;

  function close(ended: ReadonlySet<string>): void {
    upgraded.review(({ key }) => key === undefined || !ended.has(key));
    const affected = [...running].filter(
      ({ session }) => session?.key !== undefined && ended.has(session.key),
    );
    if (affected.length === 0) return;
    setTimeout(() => {
      for (const each of affected) if (each.isRunning) each.sessionEnded();
    }, graceMs).unref();
  }

  /** Asks for every session that something runs under. */
  async function look(): Promise<void> {
    lookAgain = true;
    if (looking) return;
    looking = true;
    while (lookAgain && !stopped) {
      lookAgain = false;
      const keys = [...new Set([...keysOf(running), ...upgraded.sessionKeys()])];
      for (let at = 0; at < keys.length; at += batchSize) {
        const gone = new Set<string>();
        await Promise.all(
          keys.slice(at, at + batchSize).map(async (key) => {
            // A store that is down says nothing of anybody's end.
            if (!(await watch.lives(key).catch(() => true))) gone.add(key);
          }),
        );
        if (gone.size > 0) close(gone);
      }
    }
    looking = false;
  }

  const closeThese = (keys: readonly string[]): void => close(new Set(keys));
  // Whoever may do less than when it was opened comes back, and is judged by that.
  const stops = [
    watch.onEnded(closeThese),
    watch.onNarrowed?.(closeThese) ?? (() => undefined),
    watch.onDoubt(() => void look()),
  ];
  const timer = setInterval(() => void look(), lookEveryMs).unref();
  return () => {
    stopped = true;
    clearInterval(timer);
    for (const stop of stops) stop();
  };
}

function* keysOf(running: Running): Generator<string> {
  for (const { session } of running) if (session?.key !== undefined) yield session.key;
}
