import type { Redis } from 'ioredis';
import { redirectionOf, Unfit } from './redis-fault.ts';

/** By which commands an announcement gets from who makes it to who listens. */
export interface Announcing {
  publish(redis: Redis, channel: string, message: string): Promise<unknown>;
  /**
   * From now on this connection does nothing but hear the channel.
   *
   * @param gone called when the server will hear no more of it, though the connection stands
   */
  hear(redis: Redis, channel: string, heard: (message: string) => void, gone: () => void): Promise<unknown>;
}

/** One server: whoever listens, listens there. */
export const atTheServer: Announcing = {
  publish: (redis, channel, message) => redis.publish(channel, message),
  hear(redis, channel, heard) {
    redis.on('message', (_channel: string, message: string) => heard(message));
    return redis.subscribe(channel);
  },
};

/**
 * A cluster: the channel has a slot, as a key has, and both sides go to its master. What is published the old way is passed on from
 * node to node over the cluster's bus, and lost without a word where a link between two nodes is being made again.
 *
 * @see https://redis.io/docs/latest/develop/pubsub/#sharded-pubsub
 */
export const atTheMasterOfItsSlot: Announcing = {
  async publish(redis, channel, message) {
    const replies = await redis.pipeline().get(channel).spublish(channel, message).exec();
    for (const [error] of replies ?? []) if (error !== null && !isOnItsWay(error)) throw error;
  },
  async hear(redis, channel, heard, gone) {
    redis.on('smessage', (_channel: string, message: string) => heard(message));
    // The library's word for the server's, who unsubscribes everybody when the slot leaves it.
    redis.on('moved', gone);
    // Sent together, so that nothing comes between.
    const [refusal] = await Promise.all([
      redis.get(channel).then(
        () => undefined,
        (error: unknown) => error,
      ),
      redis.ssubscribe(channel),
    ]);
    if (refusal !== undefined && !isOnItsWay(refusal))
      throw new Unfit('the server is not the master of announcements any more');
  },
};

/*
 * A replica takes both commands too, a master that was demoted a moment ago among them, though there is only the bus between it and its
 * master. What it refuses is a key: so both sides ask for the one that is called as the channel is.
 */

/** That the slot is on its way is no refusal: until it has gone, whoever listens does so where it was. */
function isOnItsWay(error: unknown): boolean {
  return redirectionOf(error)?.kind === 'ask';
}
