import type { Config } from '../../config/schema.ts';
import { bindingPrefix, bindingPurpose } from '../../identity/binding.ts';
import { isFault } from '../../kernel/error.ts';
import { durableKeyPurpose, durablePrefix } from '../../session/durable-key.ts';
import { openSealedStore, type SealedStore } from '../sealed-store.ts';
import { fail, ok, warn, type Area } from './finding.ts';

const name = 'durable records';

/** What outlives sessions, and whether the listed secrets still open it. Undefined where there is no Redis, or it is down. */
export async function checkDurable({ session }: Pick<Config, 'session'>): Promise<Area | undefined> {
  const opened = openSealedStore(session);
  if (opened === undefined) return undefined;
  try {
    return judge(await count(opened, session.assertion_key_file === undefined));
  } catch (error) {
    if (!isFault(error, 'store_unavailable')) throw error;
    // That Redis is down stands in its own area.
    if (error.detail?.startsWith('NOPERM') !== true) return undefined;
    return { name, findings: [fail(error.detail, 'allow the user scan, and get on the key prefix')] };
  } finally {
    await opened.store.close();
  }
}

interface Counts {
  total: number;
  byOlderSecret: number;
  unreadable: number;
}

async function count({ store, sealing }: SealedStore, needsAssertionKey: boolean): Promise<Counts> {
  const counts: Counts = { total: 0, byOlderSecret: 0, unreadable: 0 };
  for await (const key of store.keys(durablePrefix)) {
    const isBinding = key.startsWith(bindingPrefix);
    if (!isBinding && !needsAssertionKey) continue;
    const stored = await store.get(key);
    // What runs out by itself is a copy for replicas that know an older secret only: nothing hangs on it.
    if (stored?.ttlMs !== Infinity) continue;
    const purpose = isBinding ? bindingPurpose : durableKeyPurpose;
    const found = sealing.openSharedDetailed(purpose, stored.sealed, key);
    counts.total += 1;
    if (found === undefined) counts.unreadable += 1;
    else if (!found.sealedByFirst) counts.byOlderSecret += 1;
  }
  return counts;
}

function judge({ total, byOlderSecret, unreadable }: Counts): Area {
  if (unreadable > 0) {
    const message = `${unreadable} of ${total} durable records (user names, keys) need a secret that is not listed`;
    const hint =
      'list the former secret again, after the new one, until serve has started once; a secret that is lost: docs/user-names.md';
    return { name, findings: [fail(message, hint)] };
  }
  if (byOlderSecret > 0) {
    const message = `${byOlderSecret} of ${total} durable records are sealed by an older secret`;
    return { name, findings: [warn(message, 'keep that secret listed until serve has started once')] };
  }
  return { name, findings: [ok(`${total} records, all sealed by the first secret`)] };
}
