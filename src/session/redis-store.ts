import { connectRedis } from './redis-servers.ts';
import type { RedisConnection } from './redis-connection.ts';
import { storeUnavailable } from './redis-fault.ts';
import type { RedisDeps } from './redis-health.ts';
import type { RedisStoreOptions } from './redis-options.ts';
import { subscribeRedis } from './redis-subscription.ts';
import type { Store, StoredRecord } from './types.ts';

/**
 * A store in Redis. It begins to connect at once and never rejects for being down: its commands do, and
 * {@link Store.health} says since when.
 */
export function createRedisStore(options: RedisStoreOptions, deps: RedisDeps): Store {
  const connection = connectRedis(options, deps);
  const prefix = options.keyPrefix;
  // Within the prefix, so that an ACL's pattern for keys and one for channels can be the same.
  const channel = `${prefix}announcements`;
  const subscription = subscribeRedis(connection, channel, deps);
  /** Every operation touches one key: in a cluster it goes to the server that holds it. */
  const holderOf = (key: string): Pick<RedisConnection, 'run'> => ({
    run: (name, writes, work) => connection.run(name, writes, work, `${prefix}${key}`),
  });

  return {
    get: (key) =>
      holderOf(key).run('get', false, async (redis): Promise<StoredRecord | undefined> => {
        const replies = await redis.pipeline().getBuffer(`${prefix}${key}`).pttl(`${prefix}${key}`).exec();
        throwFirst(replies);
        const [sealed, pttl] = (replies ?? []).map(([, reply]) => reply);
        if (!Buffer.isBuffer(sealed) || typeof pttl !== 'number' || pttl === keyAbsent) return undefined;
        return { sealed, ttlMs: pttl === lastsForever ? Infinity : pttl };
      }),
    put: (key, sealed, ttlMs) =>
      holderOf(key).run('set', true, async (redis) => {
        if (ttlMs === Infinity) await redis.set(`${prefix}${key}`, sealed);
        else await redis.set(`${prefix}${key}`, sealed, 'PX', wholeMs(ttlMs));
      }),
    touch: (key, ttlMs) =>
      holderOf(key).run('pexpire', true, async (redis) => {
        return (await redis.pexpire(`${prefix}${key}`, wholeMs(ttlMs))) === 1;
      }),
    delete: (key) =>
      holderOf(key).run('del', true, async (redis) => (await redis.del(`${prefix}${key}`)) === 1),
    replace: (key, expected, next) =>
      holderOf(key).run('eval', true, async (redis) => {
        return (await redis.eval(replaceScript, 1, `${prefix}${key}`, expected, next)) === 1;
      }),
    touchIf: (key, expected, ttlMs) =>
      holderOf(key).run('eval', true, async (redis) => {
        return (await redis.eval(touchScript, 1, `${prefix}${key}`, expected, wholeMs(ttlMs))) === 1;
      }),
    deleteIf: (key, expected) =>
      holderOf(key).run('eval', true, async (redis) => {
        return (await redis.eval(deleteScript, 1, `${prefix}${key}`, expected)) === 1;
      }),
    putIfAbsent: (key, value, ttlMs) =>
      holderOf(key).run('setnx', true, async (redis) => {
        const reply =
          ttlMs === undefined
            ? await redis.set(`${prefix}${key}`, value, 'NX')
            : await redis.set(`${prefix}${key}`, value, 'PX', wholeMs(ttlMs), 'NX');
        return reply === 'OK';
      }),
    async *keys(wanted) {
      const pattern = `${escapeGlob(`${prefix}${wanted}`)}*`;
      // SCAN may show a key twice while the server's table grows, and each round shows all again.
      const seen = new Set<string>();
      for (let round = 1; ; round += 1) {
        const shards = await connection.shards();
        for (const shard of shards.all) {
          let cursor = '0';
          do {
            const from = cursor;
            const [next, found] = await shard.run('scan', false, (redis) =>
              redis.scan(from, 'MATCH', pattern, 'COUNT', scanCount),
            );
            cursor = next;
            for (const key of found) {
              if (seen.has(key)) continue;
              seen.add(key);
              yield key.slice(prefix.length);
            }
          } while (cursor !== '0');
        }
        if (shards.unchanged()) return;
        if (round === mostRounds) throw storeUnavailable('the keys are moving from server to server');
      }
    },
    count: (key, field, label, ttlMs) =>
      holderOf(key).run('hincrby', true, async (redis) => {
        const at = `${prefix}${key}`;
        const transaction = redis
          .multi()
          .hincrby(at, `${countMark}${field}`, 1)
          .hsetnx(at, `${labelMark}${field}`, label)
          .pexpire(at, wholeMs(ttlMs));
        throwFirst(await transaction.exec());
      }),
    counts: (key) =>
      holderOf(key).run('hgetall', false, async (redis) => {
        const held = await redis.hgetallBuffer(`${prefix}${key}`);
        return Object.entries(held).flatMap(([name, label]) => {
          const field = name.slice(labelMark.length);
          const count = Number(held[`${countMark}${field}`]?.toString());
          return name.startsWith(labelMark) && Number.isSafeInteger(count) ? [{ field, label, count }] : [];
        });
      }),
    prepend: (key, value, most, ttlMs) =>
      holderOf(key).run('lpush', true, async (redis) => {
        const at = `${prefix}${key}`;
        const transaction = redis
          .multi()
          .lpush(at, value)
          .ltrim(at, 0, most - 1)
          .pexpire(at, wholeMs(ttlMs));
        throwFirst(await transaction.exec());
      }),
    list: (key) =>
      holderOf(key).run('lrange', false, (redis) => redis.lrangeBuffer(`${prefix}${key}`, 0, -1)),
    life: (key) =>
      holderOf(key).run('pttl', false, async (redis) => {
        const pttl = await redis.pttl(`${prefix}${key}`);
        return pttl === keyAbsent ? undefined : pttl === lastsForever ? Infinity : pttl;
      }),
    addMember: (key, member, ttlMs, most) =>
      holderOf(key).run('zadd', true, async (redis) => {
        const at = `${prefix}${key}`;
        const nowMs = deps.clock.nowMs();
        const replies = await redis
          .multi()
          .zremrangebyscore(at, '-inf', nowMs)
          .zadd(at, Math.ceil(nowMs + ttlMs), member)
          // The set lives as long as its last member: a life of none is given one, and a life is only ever lengthened.
          .pexpire(at, wholeMs(ttlMs), 'NX')
          .pexpire(at, wholeMs(ttlMs), 'GT')
          .zrange(at, 0, String(-(most + 1)))
          .exec();
        throwFirst(replies);
        const beyond = ((replies?.at(-1)?.[1] ?? []) as string[]).filter((other) => other !== member);
        if (beyond.length > 0) await redis.zrem(at, ...beyond);
        return beyond;
      }),
    members: (key) =>
      holderOf(key).run('zrange', false, (redis) =>
        redis.zrange(`${prefix}${key}`, `(${deps.clock.nowMs()}`, '+inf', 'BYSCORE'),
      ),
    removeMember: (key, member) =>
      holderOf(key).run('zrem', true, async (redis) => {
        await redis.zrem(`${prefix}${key}`, member);
      }),
    announce: (message) =>
      connection.run(
        'publish',
        false,
        async (redis) => {
          await connection.announcing.publish(redis, channel, message);
        },
        channel,
      ),
    listen: (listener) => subscription.listen(listener),
    health: () => connection.health(),
    ping: () =>
      connection.run('ping', false, async (redis) => {
        await redis.ping();
      }),
    close() {
      subscription.close();
      connection.close();
      return Promise.resolve();
    },
  };
}

/*
 * Compare and set. A script runs in one step, and each touches one key, so that a Cluster may keep it anywhere; a transaction would need
 * WATCH, and so a connection of its own.
 */
const ifExpected = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end ";
const replaceScript = `${ifExpected}redis.call('SET', KEYS[1], ARGV[2], 'XX', 'KEEPTTL') return 1`;
const touchScript = `${ifExpected}return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;
const deleteScript = `${ifExpected}return redis.call('DEL', KEYS[1])`;

/** Keys looked at in one step: a step must not hold up the server's other clients. */
const scanCount = 500;
/** How often all is looked at again when servers changed meanwhile. */
const mostRounds = 3;

/** In a hash of counters: the number, and beside it what it counts. */
const countMark = 'n.';
const labelMark = 'l.';

/** A transaction that came to nothing is a fault, as is the first command in it that failed. */
function throwFirst(replies: readonly (readonly [Error | null, unknown])[] | null): void {
  if (replies === null) throw new Error('the transaction was discarded');
  for (const [error] of replies) if (error !== null) throw error;
}

/** A text that stands for itself in a glob of Redis. */
function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^-]/g, '\\$&');
}

/** PTTL's answers that are no time. */
const keyAbsent = -2;
const lastsForever = -1;

/** Redis takes whole milliseconds, and refuses a life of none. */
function wholeMs(ttlMs: number): number {
  return Math.max(1, Math.ceil(ttlMs));
}
