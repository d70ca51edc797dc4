import type { Redis } from 'ioredis';
import { addressOf, nameOf } from './redis-client.ts';
import { describeFault, Unfit } from './redis-fault.ts';
import { readClusterSlots } from './redis-slots.ts';
import type { ClusterView } from './redis-slots.ts';

/**
 * The node that a slot is on its way to answers for it only when told that it was sent there: for the next command, or the next
 * transaction. So what is a pipeline elsewhere is a transaction here.
 */
export function askingFirst<T>(work: (redis: Redis) => Promise<T>): (redis: Redis) => Promise<T> {
  return (redis) => {
    redis.call('ASKING').catch(() => undefined);
    return work(
      new Proxy(redis, {
        get(target, name) {
          if (name === 'pipeline') return () => target.multi();
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      }),
    );
  };
}

/** How a node sees the cluster. @throws Unfit when it is no node of one */
export async function askView(redis: Redis): Promise<ClusterView> {
  const view = readClusterSlots(await askCluster(redis, 'SLOTS'), addressOf(redis));
  if (view === undefined) throw new Unfit('the answer to CLUSTER SLOTS can not be read');
  return view;
}

/** A node that has lost the most of the others answers, and knows nothing any more. @throws Unfit */
export async function proveNode(redis: Redis): Promise<void> {
  const info = await askCluster(redis, 'INFO');
  if (!/^cluster_state:ok\r?$/m.test(String(info)))
    throw new Unfit(`CLUSTERDOWN: ${nameOf(addressOf(redis))} says that the cluster is down`);
}

async function askCluster(redis: Redis, what: 'SLOTS' | 'INFO'): Promise<unknown> {
  try {
    return await redis.call('CLUSTER', what);
  } catch (error) {
    // The one plain error that CLUSTER gives: "This instance has cluster support disabled".
    if (describeFault(error, '').replyCode !== 'ERR') throw error;
    throw new Unfit(`${nameOf(addressOf(redis))} is no node of a cluster`);
  }
}
