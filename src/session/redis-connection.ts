import type { Redis } from 'ioredis';
import { atTheServer } from './redis-announcing.ts';
import type { Announcing } from './redis-announcing.ts';
import { addressOf, answerWithinMs, dialRedis, nameOf } from './redis-client.ts';
import { keepHealth } from './redis-health.ts';
import type { RedisDeps } from './redis-health.ts';
import { keepLink } from './redis-link.ts';
import type { LinkEnd, LinkListener, RedisLink } from './redis-link.ts';
import type { RedisAccess, RedisAddress, RedisServers } from './redis-options.ts';
import { storeUnavailable } from './redis-fault.ts';
import { askSentinels } from './redis-sentinel.ts';
import type { Sentinels } from './redis-sentinel.ts';
import type { StoreHealth } from './types.ts';

/** A way to whichever server holds the key in question, made again whenever it is lost, on which nobody has to wait. */
export interface RedisConnection {
  /** Names the servers in messages; without a credential. */
  readonly where: string;
  /**
   * Runs commands on one key and answers within a second; fails at once while its server is known to be down. Against a cluster
   * `work` may run again, at another node, as long as its first command was refused there.
   *
   * @param key the key as the server sees it, prefix included; undefined: any server does
   * @throws store_unavailable
   */
  run<T>(name: string, writes: boolean, work: (redis: Redis) => Promise<T>, key?: string): Promise<T>;
  /** Every server that holds a part of the keys. @throws store_unavailable */
  shards(): Promise<RedisShards>;
  /** How announcements travel here. */
  readonly announcing: Announcing;
  /** A further connection, to a server on which what is announced on this channel is heard. @throws Unfit */
  dialEar(channel: string, signal: AbortSignal): Promise<Redis>;
  /** Whether the server that {@link dialEar} led to is still the one to hear this channel on. */
  isFit(redis: Redis, channel: string): boolean;
  health(): StoreHealth;
  close(): void;
}

/** The servers among which the keys are divided, at one moment. */
export interface RedisShards {
  readonly all: readonly RedisShard[];
  /** Whether nothing has come between since: else keys may have gone from one to the other unseen. */
  unchanged(): boolean;
}

/** One of these servers. */
export interface RedisShard {
  readonly where: string;
  /** @throws store_unavailable */
  run<T>(name: string, writes: boolean, work: (redis: Redis) => Promise<T>): Promise<T>;
}

/** One server, the only one. Begins to connect, at once. */
export function connectSingle(address: RedisAddress, access: RedisAccess, deps: RedisDeps): RedisConnection {
  const end: LinkEnd = {
    dial: (signal) => dialRedis(address, access, signal),
    prove: (redis) => redis.ping(),
    mayChange: false,
    redirects: false,
  };
  return overOneLink(nameOf(address), end, deps, () => ({ isFit: () => true, close: () => undefined }));
}

/** Whichever server the sentinels name. Begins to connect, at once. */
export function connectMaster(
  servers: Extract<RedisServers, { kind: 'sentinel' }>,
  access: RedisAccess,
  deps: RedisDeps,
): RedisConnection {
  const sentinels = askSentinels(servers);
  const where = `master ${servers.name} of the sentinels ${servers.sentinels.map(nameOf).join(', ')}`;
  return overOneLink(where, sentinels.endOf(access), deps, (link) => watchMaster(sentinels, link));
}

/** How often the sentinels are asked whether their master is still the one in use. */
const lookEveryMs = 1000;
/** How often they may name another one that can't be reached, before the one in use is given up. */
const mostDoubts = 3;

/**
 * A master that is cut off from the others goes on believing in itself, and would go on showing sessions that have ended: so the
 * sentinels are asked, not only the master. While none of them answers nothing is known, and the master in use is believed.
 */
function watchMaster(sentinels: Sentinels, link: RedisLink): LinkWatch {
  let doubts = 0;
  let looking = false;
  async function look(): Promise<void> {
    const redis = link.current();
    if (redis === undefined || looking) return;
    looking = true;
    try {
      const named = nameOf(await sentinels.ask());
      if (redis !== link.current() || named === nameOf(addressOf(redis))) doubts = 0;
      else if (await link.renew()) doubts = 0;
      else if ((doubts += 1) >= mostDoubts) {
        doubts = 0;
        link.drop(`the sentinels name another master, ${named}, which can not be used yet`);
      }
    } catch {
      // No sentinel answers.
    } finally {
      looking = false;
    }
  }
  const timer = setInterval(() => void look(), lookEveryMs).unref();
  return {
    isFit(redis) {
      const inUse = link.current();
      return inUse === undefined || nameOf(addressOf(inUse)) === nameOf(addressOf(redis));
    },
    close() {
      clearInterval(timer);
      sentinels.close();
    },
  };
}

interface LinkWatch {
  isFit(redis: Redis): boolean;
  close(): void;
}

/** All keys on one server, wherever it is. */
function overOneLink(
  where: string,
  end: LinkEnd,
  deps: RedisDeps,
  watch: (link: RedisLink) => LinkWatch,
): RedisConnection {
  const keeper = keepHealth(where, deps);
  const listener: LinkListener = { up: keeper.setUp, down: keeper.setDown, impaired: keeper.setImpaired };
  const link = keepLink(end, listener);
  const watching = watch(link);

  async function run<T>(name: string, writes: boolean, work: (redis: Redis) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    try {
      return await link.run(writes, work, answerWithinMs);
    } finally {
      deps.meter.storeCommand(name, (performance.now() - startedAt) / 1000);
    }
  }

  return {
    where,
    run,
    async shards() {
      if (link.current() === undefined) await link.firstAttempt;
      const redis = link.current();
      if (redis === undefined) throw storeUnavailable(link.cause() ?? 'not connected');
      const only: RedisShard = { where: nameOf(addressOf(redis)), run };
      return { all: [only], unchanged: () => link.current() === redis };
    },
    announcing: atTheServer,
    dialEar: (_channel, signal) => end.dial(signal),
    isFit: (redis) => watching.isFit(redis),
    health: () => keeper.health(),
    close() {
      watching.close();
      link.close();
      keeper.close();
    },
  };
}
