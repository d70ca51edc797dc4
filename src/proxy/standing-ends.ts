import type { CurrentGeneration } from '../generation.ts';
import type { Clock } from '../kernel/clock.ts';
import type { OpenedSession } from '../session/types.ts';
import type { Running } from './running.ts';
import type { UpgradedSockets } from './websocket.ts';

/** How often what is open is looked at. Milliseconds. */
const lookEveryMs = 1_000;

/** Closes WebSockets and event streams, which have no end of their own, under sessions that may not go on. */
export function closeEndless(
  running: Running,
  upgraded: UpgradedSockets,
  mayGoOn: (session: OpenedSession) => boolean,
): void {
  upgraded.review(mayGoOn);
  // A copy: what is closed leaves the list.
  for (const each of [...running]) {
    const { streamsUnder } = each;
    if (streamsUnder !== undefined && !mayGoOn(streamsUnder)) each.sessionEnded();
  }
}

/**
 * Closes WebSockets and event streams at the moment from which their session opens nothing any more, though nobody has ended it: a `report_only_until`
 * passes, or an access token expires. Whoever may come back does so, and is judged as everyone.
 *
 * What asks for freshness is not asked again: a route's `max_auth_age` is about the moment at which it was opened.
 *
 * @returns stops it
 */
export function closeWithStanding(
  running: Running,
  upgraded: UpgradedSockets,
  generations: CurrentGeneration,
  clock: Clock,
): () => void {
  const timer = setInterval(() => {
    const generation = generations.current();
    const nowMs = clock.nowMs();
    closeEndless(running, upgraded, (session) => {
      // The store ends sessions; a token's has nobody else.
      if (session.key === undefined && nowMs >= session.record.expiresAt * 1000) return false;
      return generation.standing(session, nowMs)?.outcome.admit === true;
    });
  }, lookEveryMs).unref();
  return () => clearInterval(timer);
}
