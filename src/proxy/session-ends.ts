import type { OpenedSession, SessionWatch } from '../session/types.ts';
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
  let doubtful = false;

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

  /**
   * Asks for every session that something runs under.
   * @param inDoubt that one may do less than before may have gone unheard, too
   */
  async function look(inDoubt = false): Promise<void> {
    lookAgain = true;
    doubtful ||= inDoubt;
    if (looking) return;
    looking = true;
    while (lookAgain && !stopped) {
      lookAgain = false;
      const inFull = doubtful;
      doubtful = false;
      // As each was opened: of one key the older may allow more.
      const sessions = [...new Set([...sessionsOf(running), ...upgraded.sessions()])];
      for (let at = 0; at < sessions.length; at += batchSize) {
        const gone = new Set<string>();
        await Promise.all(
          sessions.slice(at, at + batchSize).map(async (session) => {
            if (session.key !== undefined && !(await mayGoOn(session, session.key, inFull)))
              gone.add(session.key);
          }),
        );
        if (gone.size > 0) close(gone);
      }
    }
    looking = false;
  }

  /** A store that is down says nothing of anybody's end. */
  async function mayGoOn(session: OpenedSession, key: string, inFull: boolean): Promise<boolean> {
    if (!(await watch.lives(key).catch(() => true))) return false;
    if (!inFull) return true;
    try {
      return (await watch.isNarrower?.(session)) !== true;
    } catch {
      doubtful = true;
      return true;
    }
  }

  const closeThese = (keys: readonly string[]): void => close(new Set(keys));
  // Whoever may do less than when it was opened comes back, and is judged by that.
  const stops = [
    watch.onEnded(closeThese),
    watch.onNarrowed?.(closeThese) ?? (() => undefined),
    watch.onDoubt(() => void look(true)),
  ];
  const timer = setInterval(() => void look(), lookEveryMs).unref();
  return () => {
    stopped = true;
    clearInterval(timer);
    for (const stop of stops) stop();
  };
}

function* sessionsOf(running: Running): Generator<OpenedSession> {
  for (const { session } of running) if (session !== undefined) yield session;
}
