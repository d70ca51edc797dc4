import type { Redis } from 'ioredis';
import { dialRedis, nameOf, within } from './redis-client.ts';
import { describeFault, Unfit } from './redis-fault.ts';
import type { LinkEnd } from './redis-link.ts';
import type { RedisAccess, RedisAddress, RedisServers } from './redis-options.ts';

/** The sentinels that watch over one master. */
export interface Sentinels {
  /** Where they say that the master is. @throws Unfit when none of them knows */
  ask(): Promise<RedisAddress>;
  /** Their master as the end of a link: found and examined anew each time. */
  endOf(access: RedisAccess): LinkEnd;
  close(): void;
}

interface Answer {
  readonly master: RedisAddress;
  /** Grows with each failover: who knows of the latest is right. */
  readonly epoch: number;
}

/** What one sentinel may take, and how long the others are waited for once one has answered. Milliseconds. */
const sentinelWithinMs = 400;
const othersWithinMs = 100;

/** All sentinels are asked at once, over connections that are kept; one that is gone costs nobody time. */
export function askSentinels({
  name,
  sentinels,
  access,
}: Extract<RedisServers, { kind: 'sentinel' }>): Sentinels {
  const connections = new Map<string, Promise<Redis>>();
  const closing = new AbortController();

  function connectionTo(address: RedisAddress): Promise<Redis> {
    const at = nameOf(address);
    const kept = connections.get(at);
    if (kept !== undefined) return kept;
    const dialling = dialRedis(address, access, closing.signal).then((redis) => {
      redis.once('close', () => forget(at, dialling));
      return redis;
    });
    connections.set(at, dialling);
    dialling.catch(() => forget(at, dialling));
    return dialling;
  }

  function forget(at: string, dialling: Promise<Redis>): void {
    if (connections.get(at) === dialling) connections.delete(at);
    dialling.then(
      (redis) => redis.disconnect(),
      () => undefined,
    );
  }

  async function askOne(address: RedisAddress): Promise<Answer> {
    const connection = connectionTo(address);
    try {
      return await within(sentinelWithinMs, connection.then(question));
    } catch (error) {
      forget(nameOf(address), connection);
      throw error instanceof Unfit ? error : new Unfit(describeFault(error, nameOf(address)).cause);
    }
  }

  async function question(redis: Redis): Promise<Answer> {
    const [found, details] = await Promise.all([
      redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name) as Promise<readonly string[] | null>,
      (redis.call('SENTINEL', 'MASTER', name) as Promise<readonly string[]>).catch(
        (): readonly string[] => [],
      ),
    ]);
    if (found?.[0] === undefined) throw new Unfit(`the sentinels know no master ${name}`);
    const at = details.indexOf('config-epoch');
    const epoch = at === -1 ? 0 : Number(details[at + 1]);
    return { master: { host: found[0], port: Number(found[1]) }, epoch };
  }

  async function ask(): Promise<RedisAddress> {
    const answers: Answer[] = [];
    const causes: string[] = [];
    await new Promise<void>((resolve) => {
      let patience: NodeJS.Timeout | undefined;
      const done = (): void => {
        if (answers.length + causes.length < sentinels.length) return;
        clearTimeout(patience);
        resolve();
      };
      for (const sentinel of sentinels) {
        askOne(sentinel).then(
          (answer) => {
            answers.push(answer);
            patience ??= setTimeout(resolve, othersWithinMs);
            done();
          },
          (error: unknown) => {
            causes.push((error as Unfit).message);
            done();
          },
        );
      }
    });
    const [latest] = answers.sort((one, other) => other.epoch - one.epoch);
    if (latest === undefined) throw new Unfit(`no sentinel tells the master: ${causes.join('; ')}`);
    return latest.master;
  }

  return {
    ask,
    endOf: (masterAccess) => ({
      async dial(signal) {
        const master = await ask();
        return dialRedis(master, masterAccess, signal, (redis) => proveMaster(redis, master));
      },
      prove: (redis) => proveMaster(redis),
      // It may be made a replica while it is in use, and goes on answering reads.
      mayChange: true,
      redirects: false,
    }),
    close() {
      closing.abort();
      for (const [at, dialling] of connections) forget(at, dialling);
    },
  };
}

/** A replica shows what was, and keeps what it is told for nobody. */
async function proveMaster(redis: Redis, { host, port } = redis.options): Promise<void> {
  const [role] = (await redis.call('ROLE')) as readonly unknown[];
  if (role !== 'master') throw new Unfit(`READONLY: ${host}:${port} is no master`);
}
