import type { Config } from '../../config/schema.ts';
import { isFault } from '../../kernel/error.ts';
import { cardPrefix, cardPurpose } from '../../session/directory.ts';
import { openSealedStore, type SealedStore } from '../sealed-store.ts';
import { ok, warn, type Area } from './finding.ts';

const name = 'sessions';
/** Cards asked for at once. */
const batchSize = 100;

/**
 * Whom a rotation of the secrets would sign out: a session's record opens with nothing but its cookie, but its card was sealed along
 * with it. Undefined where there is no Redis, or it is down.
 */
export async function checkSessionSeals({ session }: Pick<Config, 'session'>): Promise<Area | undefined> {
  const opened = openSealedStore(session);
  if (opened === undefined) return undefined;
  try {
    return judge(await count(opened));
  } catch (error) {
    if (!isFault(error, 'store_unavailable')) throw error;
    // That Redis is down, or who may not look, stands in another area.
    return undefined;
  } finally {
    await opened.store.close();
  }
}

interface Counts {
  total: number;
  byOlderSecret: number;
  unreadable: number;
}

async function count({ store, sealing }: SealedStore): Promise<Counts> {
  const counts: Counts = { total: 0, byOlderSecret: 0, unreadable: 0 };
  const look = async (keys: readonly string[]): Promise<void> => {
    const stored = await Promise.all(keys.map((key) => store.get(key)));
    for (const [at, each] of stored.entries()) {
      if (each === undefined) continue;
      const found = sealing.openSharedDetailed(cardPurpose, each.sealed, keys[at] ?? '');
      counts.total += 1;
      if (found === undefined) counts.unreadable += 1;
      else if (!found.sealedByFirst) counts.byOlderSecret += 1;
    }
  };
  let batch: string[] = [];
  for await (const key of store.keys(cardPrefix)) {
    if (batch.push(key) < batchSize) continue;
    await look(batch);
    batch = [];
  }
  await look(batch);
  return counts;
}

function judge({ total, byOlderSecret, unreadable }: Counts): Area {
  const findings = [
    ...(unreadable > 0
      ? [
          warn(
            `${unreadable} of ${total} sessions were sealed by a secret that is not listed: whoever has one signs in again`,
            'list that secret again, after the new one, until session.absolute_timeout has passed',
          ),
        ]
      : []),
    ...(byOlderSecret > 0
      ? [
          warn(
            `${byOlderSecret} of ${total} sessions were sealed by an older secret`,
            'keep that secret listed until they have ended, after session.absolute_timeout at the latest: else they sign in again',
          ),
        ]
      : []),
  ];
  return {
    name,
    findings: findings.length > 0 ? findings : [ok(`${total}, all sealed by the first secret`)],
  };
}
