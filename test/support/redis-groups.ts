import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './ports.ts';
import { makeRedisDirectory, redisExecutable, startRedis, type RedisServer } from './redis.ts';
import { until } from './until.ts';

const host = '127.0.0.1';
/** Failovers on a busy machine take their time; nothing here waits for as long as nothing is wrong. */
const patienceMs = 30_000;

/** One answer of one server, over a connection of its own; undefined while there is none. */
export async function askRedis(port: number, command: string, ...args: string[]): Promise<unknown> {
  const redis = new Redis(port, host, {
    protocol: 2,
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 10_000,
    commandTimeout: 10_000,
    disableClientInfo: true,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return await redis.call(command, ...args);
  } catch {
    return undefined;
  } finally {
    redis.disconnect();
  }
}

/** A master, its replicas, and the sentinels that watch over them. */
export interface SentinelGroup {
  readonly name: string;
  /** `host:port` of the sentinels. */
  readonly nodes: readonly string[];
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly { readonly port: number; stop(): Promise<void> }[];
  /** Who the sentinels say is the master. */
  master(): Promise<RedisServer>;
  stop(): Promise<void>;
}

/** Three servers and three sentinels that act within a second or two. */
export async function startSentinelGroup(): Promise<SentinelGroup> {
  const name = 'door';
  const quick = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1'];
  const first = await startRedis({ args: quick });
  const replicaArgs = [...quick, '--replicaof', `${host} ${first.port}`];
  const servers = [
    first,
    ...(await Promise.all([startRedis({ args: replicaArgs }), startRedis({ args: replicaArgs })])),
  ];
  await until(
    async () =>
      String(await askRedis(first.port, 'INFO', 'replication')).match(/state=online/g)?.length === 2,
    'both replicas',
    patienceMs,
  );
  const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(name, first.port)));
  const ports = sentinels.map(({ port }) => port);
  await until(
    async () => (await Promise.all(ports.map((port) => knowsAll(port, name)))).every((knows) => knows),
    'the sentinels know each other',
    patienceMs,
  );
  return {
    name,
    nodes: ports.map((port) => `${host}:${port}`),
    servers,
    sentinels,
    async master() {
      for (const port of ports) {
        const answer = await askRedis(port, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name);
        const found = servers.find((server) => String(server.port) === (answer as string[] | undefined)?.[1]);
        if (found !== undefined) return found;
      }
      throw new Error('no sentinel tells the master');
    },
    async stop() {
      await Promise.all([...sentinels, ...servers].map((each) => each.stop()));
    },
  };
}

async function knowsAll(port: number, name: string): Promise<boolean> {
  const answer = (await askRedis(port, 'SENTINEL', 'MASTER', name)) as string[] | undefined;
  const field = (key: string): string | undefined => answer?.[answer.indexOf(key) + 1];
  return field('num-slaves') === '2' && field('num-other-sentinels') === '2';
}

async function startSentinel(name: string, masterPort: number) {
  const port = await freePort();
  const sentinel = runSentinel([
    `port ${port}`,
    `sentinel monitor ${name} ${host} ${masterPort} 2`,
    `sentinel down-after-milliseconds ${name} 1000`,
    `sentinel failover-timeout ${name} 4000`,
    `sentinel parallel-syncs ${name} 2`,
  ]);
  await until(async () => (await askRedis(port, 'PING')) === 'PONG', 'a sentinel answers', patienceMs);
  return { port, ...sentinel };
}

/** Runs a sentinel with these lines in its file; whoever calls waits for it to answer. */
export function runSentinel(lines: readonly string[]): { stop(): Promise<void> } {
  const dir = makeRedisDirectory();
  const file = join(dir, 'sentinel.conf');
  const own = [
    `bind ${host}`,
    `dir ${dir}`,
    `pidfile ${join(dir, 'redis.pid')}`,
    `logfile ${join(dir, 'redis.log')}`,
  ];
  writeFileSync(file, `${[...own, ...lines].join('\n')}\n`);
  const child = spawn(redisExecutable(), [file, '--sentinel'], { stdio: 'ignore' });
  child.unref();
  return {
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.ref();
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** A cluster whose nodes know each other, every slot covered. */
export interface RedisCluster {
  readonly masters: readonly RedisServer[];
  readonly replicas: readonly RedisServer[];
  /** `host:port` of the masters. */
  readonly nodes: readonly string[];
  /** From now on a node that does not answer for so long is replaced. Milliseconds; before, a busy machine must not look like a failure. */
  failOverAfter(ms: number): Promise<void>;
  /** Cuts the links between the nodes, which they make again within about a tenth of a second. */
  cutBus(): Promise<void>;
  /** Puts one slot, with its keys, on its way from one master to another, half of the keys moved; and finishes that. */
  moveSlot(slot: number, from: RedisServer, to: RedisServer): Promise<{ finish(): Promise<void> }>;
  stop(): Promise<void>;
}

export const slotCount = 16_384;

/** Three masters, each with `replicasEach` replicas; those of a master that is gone stay in service without it. */
export async function startCluster(
  options: { args?: readonly string[]; replicasEach?: number } = {},
): Promise<RedisCluster> {
  const start = async (): Promise<RedisServer> => {
    // Else it is the port and ten thousand, where others may listen.
    const busPort = await freePort();
    return startRedis({
      args: [
        ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort)],
        ...['--cluster-require-full-coverage', 'no'],
        ...['--enable-debug-command', 'yes'],
        ...['--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0'],
        ...(options.args ?? []),
      ],
    });
  };
  const masters = await Promise.all([start(), start(), start()]);
  const replicas = await Promise.all(
    masters.flatMap(() => Array.from({ length: options.replicasEach ?? 0 }, start)),
  );
  const all = [...masters, ...replicas];
  const [first] = masters;
  for (const [index, { port }] of masters.entries()) {
    const from = Math.ceil((slotCount * index) / masters.length);
    const to = Math.ceil((slotCount * (index + 1)) / masters.length) - 1;
    await askRedis(port, 'CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
    await askRedis(port, 'CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
  }
  const firstBus = String(((await askRedis(first.port, 'CONFIG', 'GET', 'cluster-port')) as string[])[1]);
  for (const { port } of all.slice(1))
    await askRedis(port, 'CLUSTER', 'MEET', host, String(first.port), firstBus);
  await until(() => allAgree(all), 'the nodes know each other', patienceMs);
  for (const [index, replica] of replicas.entries()) {
    const master = masters[index % masters.length];
    const id = String(await askRedis(master?.port ?? 0, 'CLUSTER', 'MYID'));
    await until(
      async () => (await askRedis(replica.port, 'CLUSTER', 'REPLICATE', id)) === 'OK',
      'a replica is one',
      patienceMs,
    );
  }
  for (const { port } of replicas)
    await until(
      async () => /master_link_status:up/.test(String(await askRedis(port, 'INFO', 'replication'))),
      'a replica has a copy',
      patienceMs,
    );
  return {
    masters,
    replicas,
    nodes: masters.map(({ port }) => `${host}:${port}`),
    async failOverAfter(ms) {
      for (const { port } of all) {
        if ((await askRedis(port, 'CONFIG', 'SET', 'cluster-node-timeout', String(ms))) !== 'OK')
          throw new Error('a node does not take a timeout');
      }
    },
    cutBus: () => cutBus(all),
    moveSlot: (slot, from, to) => moveSlot(slot, from, to),
    async stop() {
      await Promise.all(all.map((each) => each.stop()));
    },
  };
}

async function allAgree(all: readonly RedisServer[]): Promise<boolean> {
  for (const { port } of all) {
    const info = String(await askRedis(port, 'CLUSTER', 'INFO'));
    if (!info.includes('cluster_state:ok') || !info.includes(`cluster_known_nodes:${all.length}`))
      return false;
    const slots = (await askRedis(port, 'CLUSTER', 'SLOTS')) as unknown[] | undefined;
    if (slots?.length !== 3) return false;
  }
  return true;
}

async function cutBus(all: readonly RedisServer[]): Promise<void> {
  const ids = await Promise.all(all.map(({ port }) => askRedis(port, 'CLUSTER', 'MYID')));
  // A node that is told to cut a link that it has not dies of it.
  const linksTo = async ({ port }: RedisServer): Promise<number> =>
    String(await askRedis(port, 'CLUSTER', 'LINKS')).match(/direction,to/g)?.length ?? 0;
  await until(
    async () => (await Promise.all(all.map(linksTo))).every((links) => links === all.length - 1),
    'every node has a link to every other',
  );
  const cuts = all.flatMap(({ port }, index) =>
    ids
      .filter((_, other) => other !== index)
      .map((id) => askRedis(port, 'DEBUG', 'CLUSTERLINK', 'KILL', 'TO', String(id))),
  );
  if ((await Promise.all(cuts)).some((answer) => answer !== 'OK'))
    throw new Error('a link between two nodes could not be cut');
}

async function moveSlot(slot: number, from: RedisServer, to: RedisServer) {
  const at = String(slot);
  const id = async ({ port }: RedisServer): Promise<string> =>
    String(await askRedis(port, 'CLUSTER', 'MYID'));
  const [fromId, toId] = [await id(from), await id(to)];
  const keys = async (): Promise<string[]> =>
    (await askRedis(from.port, 'CLUSTER', 'GETKEYSINSLOT', at, '10000')) as string[];
  const move = async (some: readonly string[]): Promise<void> => {
    if (some.length === 0) return;
    await askRedis(from.port, 'MIGRATE', host, String(to.port), '', '0', '5000', 'KEYS', ...some);
  };
  await askRedis(to.port, 'CLUSTER', 'SETSLOT', at, 'IMPORTING', fromId);
  await askRedis(from.port, 'CLUSTER', 'SETSLOT', at, 'MIGRATING', toId);
  const there = (await keys()).sort();
  await move(there.slice(0, Math.ceil(there.length / 2)));
  return {
    async finish() {
      await move(await keys());
      await askRedis(to.port, 'CLUSTER', 'SETSLOT', at, 'NODE', toId);
      await askRedis(from.port, 'CLUSTER', 'SETSLOT', at, 'NODE', toId);
    },
  };
}
