import { randomUUID } from 'node:crypto';
import type { SessionConfig } from '../../config/schema.ts';
import { systemClock } from '../../kernel/clock.ts';
import { isFault } from '../../kernel/error.ts';
import { silentMeter } from '../../kernel/meter.ts';
import { inspectRedis } from '../../session/redis-inspection.ts';
import { readRedisOptions } from '../../session/redis-options.ts';
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
  const where = `${options.host}:${options.port}`;
  const store = createRedisStore(options, {
    meter: silentMeter,
    clock: systemClock,
    logWarning: () => undefined,
  });
  let hears: boolean;
  try {
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
    hears = await hearsItself(store);
  } catch (error) {
    if (!isFault(error, 'store_unavailable')) throw error;
    return {
      name,
      findings: [fail(`${where}: ${error.detail ?? error.message}`, cureOf(error.detail ?? ''))],
    };
  } finally {
    await store.close();
  }
  const inspection = await inspectRedis(options);
  return {
    name,
    findings: [
      ok(`${where}: reads, writes, expires and deletes`),
      hears
        ? ok('announces to every replica that a session has ended')
        : fail(
            'announcements do not arrive: back-channel logout and revocation would fail, and other ends be seen late',
            `allow the user publish and subscribe, on the channels &${redis.key_prefix}*`,
          ),
      ...('cause' in inspection
        ? [
            warn(
              `the eviction policy can't be read (${inspection.cause})`,
              'allow INFO to the user, or see yourself that it is noeviction',
            ),
          ]
        : judgeEviction(inspection)),
    ],
  };
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

function judgeEviction(inspection: {
  readonly version: string | undefined;
  readonly evictionPolicy: string | undefined;
  readonly maxMemoryBytes: number | undefined;
}): Finding[] {
  const { version = 'of unknown version', evictionPolicy, maxMemoryBytes } = inspection;
  const server = ok(`server ${version}`);
  if (evictionPolicy === undefined) return [server, warn('it does not tell its eviction policy', noEviction)];
  if (evictionPolicy === 'noeviction') return [server, ok('eviction policy noeviction')];
  const message = `eviction policy ${evictionPolicy} drops sessions when memory is full`;
  // Without a limit of its own it never comes to that; but somebody will set one.
  return [
    server,
    maxMemoryBytes === 0
      ? warn(`${message} (no maxmemory is set now)`, noEviction)
      : fail(message, noEviction),
  ];
}

function cureOf(cause: string): string {
  if (cause.startsWith('ECONNREFUSED')) return 'start the server, or correct session.redis.url';
  if (cause.startsWith('ENOTFOUND') || cause.startsWith('EAI_AGAIN'))
    return 'correct the host name in session.redis.url';
  if (cause.startsWith('NOAUTH') || cause.startsWith('WRONGPASS'))
    return 'give session.redis.username and password_file';
  // What a transaction holds is refused when it is to be carried out.
  if (cause.startsWith('NOPERM') || cause.startsWith('EXECABORT')) {
    return 'allow the user the categories @read and @write on the key prefix, with @transaction, scan, publish, subscribe and ping';
  }
  if (cause.startsWith('READONLY')) return 'point session.redis.url at the primary';
  if (cause.startsWith('no answer'))
    return 'the server accepts connections but does not answer: see whether it is stuck or firewalled';
  return 'see the cause above; session.redis tells how it is reached';
}
