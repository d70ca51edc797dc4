import { randomUUID } from 'node:crypto';
import type { SessionConfig } from '../../config/schema.ts';
import { systemClock } from '../../kernel/clock.ts';
import { isFault } from '../../kernel/error.ts';
import { silentMeter } from '../../kernel/meter.ts';
import { inspectRedis } from '../../session/redis-inspection.ts';
import type { RedisInspection } from '../../session/redis-inspection.ts';
import { readRedisOptions } from '../../session/redis-options.ts';
import type { RedisAddress, RedisServers, RedisStoreOptions } from '../../session/redis-options.ts';
import { createRedisStore } from '../../session/redis-store.ts';
import type { Store } from '../../session/types.ts';
import { fail, ok, warn, type Area, type Finding } from './finding.ts';

const noEviction = 'set maxmemory-policy noeviction on the server, and alarm on its memory instead';

/** Redis, with every kind of command that sessions need, and what it does when it is full. */
export async function checkRedis({ redis }: SessionConfig): Promise<Area> {
  const name = 'redis';
  if (redis === undefined) {
    const hint = 'set session.redis.url before anyone depends on it';
    return { name, findings: [warn('sessions are kept in memory: one process, lost at restart', hint)] };
  }
  const options = readRedisOptions(redis);
  const deps = { meter: silentMeter, clock: systemClock, logWarning: () => undefined };
  const where = describeServers(options);
  const inspected = await inspectRedis(options, deps).catch(causeOf);
  // What an old server answers to newer commands tells nobody what is wrong.
  const outdated = typeof inspected === 'string' ? [] : inspected.flatMap(judgeVersion);
  if (outdated.length > 0) return { name, findings: outdated };
  const store = createRedisStore(options, deps);
  let hears: boolean;
  try {
    await tryEverything(store);
    hears = await hearsItself(store);
  } catch (error) {
    const cause = causeOf(error);
    return { name, findings: [fail(`${where}: ${cause}`, cureOf(cause, options.servers.kind))] };
  } finally {
    await store.close();
  }
  return {
    name,
    findings: [
      ok(`${where}: reads, writes, expires and deletes`),
      hears
        ? ok('announces to every replica that a session has ended')
        : fail(
            'announcements do not arrive: back-channel logout and revocation would fail, and other ends be seen late',
            `allow the user ${options.servers.kind === 'cluster' ? 'spublish and ssubscribe' : 'publish and subscribe'}, on the channels &${redis.key_prefix}*`,
          ),
      ...(typeof inspected === 'string'
        ? [
            warn(
              `version and eviction policy can't be read (${inspected})`,
              'allow INFO to the user, or see yourself that the policy is noeviction',
            ),
          ]
        : inspected.flatMap(judgeServer)),
    ],
  };
}

/** Each kind of command that sessions need, once. */
async function tryEverything(store: Store): Promise<void> {
  await store.ping();
  const key = `check:${randomUUID()}`;
  await store.putIfAbsent(key, Buffer.from('check'), 10_000);
  await store.touch(key, 5_000);
  await store.get(key);
  await store.delete(key);
  await store.count(`${key}:count`, 'one', Buffer.from('check'), 5_000);
  await store.counts(`${key}:count`);
  await store.delete(`${key}:count`);
  await store.prepend(`${key}:list`, Buffer.from('check'), 1, 5_000);
  await store.list(`${key}:list`);
  await store.delete(`${key}:list`);
  await store.addMember(`${key}:set`, 'one', 5_000, 1);
  await store.members(`${key}:set`);
  await store.removeMember(`${key}:set`, 'one');
  await store.life(`${key}:set`);
  await store.keys(key)[Symbol.asyncIterator]().next();
  await store.replace(key, Buffer.from('check'), Buffer.from('check'));
  await store.deleteIf(key, Buffer.from('check'));
}

function describeServers({ servers }: RedisStoreOptions): string {
  const list = (addresses: readonly RedisAddress[]): string =>
    addresses.map(({ host, port }) => `${host}:${port}`).join(', ');
  switch (servers.kind) {
    case 'single':
      return list([servers.address]);
    case 'sentinel':
      return `master ${servers.name} of the sentinels ${list(servers.sentinels)}`;
    case 'cluster':
      return `cluster of ${list(servers.seeds)}`;
  }
}

/** @throws whatever is no outage */
function causeOf(error: unknown): string {
  if (!isFault(error, 'store_unavailable')) throw error;
  return error.detail ?? error.message;
}

/** Whether announcements arrive, on a connection of its own as in serve. */
async function hearsItself(store: Store): Promise<boolean> {
  const word = `check ${randomUUID()}`;
  let stop = (): void => undefined;
  try {
    return await new Promise<boolean>((resolve, reject) => {
      const late = setTimeout(() => resolve(false), 2000);
      stop = store.listen({
        heard: (message) => {
          if (message !== word) return;
          clearTimeout(late);
          resolve(true);
        },
        missed: () => void store.announce(word).catch(reject),
      });
    });
  } finally {
    stop();
  }
}

/** A server whose commands are too few; nothing for one that does not tell. */
export function judgeVersion({ where, version, redisVersion }: RedisInspection): Finding[] {
  const major = Number(/^([0-9]+)\./.exec(redisVersion ?? '')?.[1] ?? Number.NaN);
  if (!(major < 7)) return [];
  return [
    fail(
      `${where} is ${version ?? 'of an unknown version'}: it lacks commands that sessions need (PEXPIRE with GT)`,
      'take Redis 7.0 or later, or Valkey 7.2 or later',
    ),
  ];
}

function judgeServer(inspection: RedisInspection): Finding[] {
  const { where, version = 'of unknown version', role, evictionPolicy, maxMemoryBytes } = inspection;
  const server = ok(`server ${where}: ${version}${role === undefined ? '' : `, ${roleName(role)}`}`);
  if (evictionPolicy === undefined)
    return [server, warn(`${where} does not tell its eviction policy`, noEviction)];
  if (evictionPolicy === 'noeviction') return [server, ok(`eviction policy noeviction`)];
  const message = `${where}: eviction policy ${evictionPolicy} drops sessions when memory is full`;
  // Without a limit of its own it never comes to that; but somebody will set one.
  return [
    server,
    maxMemoryBytes === 0
      ? warn(`${message} (no maxmemory is set now)`, noEviction)
      : fail(message, noEviction),
  ];
}

/** `INFO` says slave. */
function roleName(role: string): string {
  return role === 'slave' ? 'replica' : role;
}

function cureOf(cause: string, kind: RedisServers['kind']): string {
  const key = kind === 'single' ? 'session.redis.url' : `session.redis.${kind}`;
  if (cause.includes('no sentinel tells'))
    return 'start the sentinels, or correct session.redis.sentinel: nodes, name, username and password_file';
  if (cause.includes('is no master'))
    return 'the sentinels name a server that is a replica: see whether a failover is under way';
  if (cause.includes('MOVED')) return 'name its nodes in session.redis.cluster, instead of session.redis.url';
  if (cause.includes('is no node of a cluster'))
    return 'take session.redis.url, or start it with cluster-enabled yes';
  if (cause.includes('CLUSTERDOWN') || cause.includes('have no master'))
    return 'see redis-cli --cluster check; cluster-require-full-coverage no keeps the rest of the slots in service';
  if (cause.includes('ECONNREFUSED')) return `start the server, or correct ${key}`;
  if (cause.includes('ENOTFOUND') || cause.includes('EAI_AGAIN')) return `correct the host name in ${key}`;
  if (cause.includes('NOAUTH') || cause.includes('WRONGPASS'))
    return 'give session.redis.username and password_file';
  // What a transaction holds is refused when it is to be carried out.
  if (cause.includes('NOPERM') || cause.includes('EXECABORT')) {
    return 'give the user what docs/redis.md lists';
  }
  if (cause.includes('READONLY')) return 'point session.redis.url at the primary';
  if (cause.includes('no answer'))
    return 'the server accepts connections but does not answer: see whether it is stuck or firewalled';
  return 'see the cause above; session.redis tells how it is reached';
}
