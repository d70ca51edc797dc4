import type { Redis } from 'ioredis';

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
  publish: (redis, channel, message) => redis.spublish(channel, message),
  hear(redis, channel, heard, gone) {
    redis.on('smessage', (_channel: string, message: string) => heard(message));
    // The library's word for the server's, who unsubscribes everybody when the slot leaves it.
    redis.on('moved', gone);
    return redis.ssubscribe(channel);
  },
};
