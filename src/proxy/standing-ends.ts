import type { CurrentGeneration } from '../generation.ts';
import type { Clock } from '../kernel/clock.ts';
import type { UpgradedSockets } from './websocket.ts';

/** How often open WebSockets are looked at. Milliseconds. */
const lookEveryMs = 1_000;

/**
 * Closes WebSockets at the moment from which their session opens nothing any more, though nobody has ended it: a `report_only_until`
 * passes, or an access token expires. Whoever may come back does so, and is judged as everyone.
 *
 * What asks for freshness is not asked again: a route's `max_auth_age` is about the moment at which the socket was opened.
 *
 * @returns stops it
 */
export function closeWithStanding(
  upgraded: UpgradedSockets,
  generations: CurrentGeneration,
  clock: Clock,
): () => void {
  const timer = setInterval(() => {
    if (upgraded.size === 0) return;
    const generation = generations.current();
    const nowMs = clock.nowMs();
    upgraded.review((session) => {
      // The store ends sessions; a token's has nobody else.
      if (session.key === undefined && nowMs >= session.record.expiresAt * 1000) return false;
      return generation.standing(session, nowMs)?.outcome.admit === true;
    });
  }, lookEveryMs).unref();
  return () => clearInterval(timer);
}
