import type { Redis } from 'ioredis';
import { atTheMasterOfItsSlot } from './redis-announcing.ts';
import { addressOf, answerWithinMs, dialRedis, nameOf, within } from './redis-client.ts';
import { askingFirst, askView, proveNode } from './redis-cluster-node.ts';
import type { RedisConnection, RedisShard } from './redis-connection.ts';
import { describeFault, NoAnswer, Redirection, storeUnavailable, Unfit } from './redis-fault.ts';
import { keepHealth } from './redis-health.ts';
import type { RedisDeps } from './redis-health.ts';
import { keepLink } from './redis-link.ts';
import type { RedisLink } from './redis-link.ts';
import type { RedisAccess, RedisAddress } from './redis-options.ts';
import { mostCommonView, slotCount, slotOf } from './redis-slots.ts';
import type { ClusterView } from './redis-slots.ts';

/** How often it is looked who holds which slots, with everything in order and without. Milliseconds. */
const refreshEveryMs = 5000;
const lookEveryMs = 500;
/** Answers that send on to another node; a slot on its way takes two. */
const mostRedirections = 4;
/** Nodes that are asked for their view at once. */
const mostAsked = 5;

/**
 * A cluster: one link to each master, each with the discipline of the only one elsewhere, and a table that tells which holds a key.
 * The library's own cluster client queues, waits and tries again for as long as it sees fit: a key whose master is gone would keep
 * its request waiting, though it is known, and a command would be sent twice.
 *
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
 */
export function connectCluster(
  seeds: readonly RedisAddress[],
  access: RedisAccess,
  deps: RedisDeps,
): RedisConnection {
  const where = `cluster of ${seeds.map(nameOf).join(', ')}`;
  const keeper = keepHealth(where, deps);
  const closing = new AbortController();
  const links = new Map<string, RedisLink>();
  const impaired = new Map<string, string>();
  let view: ClusterView | undefined;
  let owners: (string | undefined)[] = [];
  let uncovered = slotCount;
  /** Counts what may have moved keys from one node to another. */
  let changes = 0;
  let refreshing: Promise<void> | undefined;
  let refreshedAt = -Infinity;
  let stale = true;
  const isClosed = (): boolean => closing.signal.aborted;

  function linkTo(address: RedisAddress): RedisLink {
    const at = nameOf(address);
    const kept = links.get(at);
    if (kept !== undefined) return kept;
    const link = keepLink(
      {
        dial: (signal) => dialRedis(address, access, signal, proveNode),
        prove: proveNode,
        mayChange: false,
        redirects: true,
      },
      {
        up: judge,
        down: () => {
          stale = true;
          judge();
        },
        impaired(cause) {
          // Every write that succeeds comes by here.
          if (cause === undefined ? !impaired.delete(at) : impaired.get(at) === cause) return;
          if (cause !== undefined) impaired.set(at, cause);
          judge();
        },
      },
    );
    links.set(at, link);
    return link;
  }

  /** One master that is gone is an outage for its keys: the operator is told, while the others' are served. */
  function judge(): void {
    if (isClosed() || view === undefined) return;
    const tried = view.masters.map((master) => ({ at: nameOf(master), link: links.get(nameOf(master)) }));
    const causes = tried.flatMap(({ at, link }) => {
      const cause = link?.cause();
      return cause === undefined ? [] : [cause.includes(at) ? cause : `${at}: ${cause}`];
    });
    if (causes.length > 0) {
      keeper.setDown(`${causes.length} of ${tried.length} masters: ${causes.join('; ')}`);
    } else if (uncovered > 0) {
      keeper.setDown(`${uncovered} of ${slotCount} slots have no master`);
    } else if (tried.every(({ link }) => link?.current() !== undefined)) {
      // Else one is new, and still to answer for the first time.
      keeper.setUp();
      const [refusal] = impaired;
      keeper.setImpaired(refusal === undefined ? undefined : `${refusal[0]}: ${refusal[1]}`);
    }
  }

  function adopt(next: ClusterView): void {
    if (next.digest !== view?.digest) changes += 1;
    view = next;
    owners = [...next.owners];
    uncovered = owners.filter((owner) => owner === undefined).length;
    for (const master of next.masters) linkTo(master);
    const wanted = new Set(next.masters.map(nameOf));
    for (const [at, link] of links) {
      if (wanted.has(at)) continue;
      links.delete(at);
      impaired.delete(at);
      // What it still has to answer, it may.
      setTimeout(() => link.close(), answerWithinMs).unref();
    }
  }

  /** Masters that answer are asked; if none does, whoever was ever named. */
  async function look(): Promise<void> {
    const causes: string[] = [];
    const note = (error: unknown): undefined => {
      causes.push(describeFault(error, where).cause);
      return undefined;
    };
    const alive = [...links.values()].filter((link) => link.current() !== undefined).slice(0, mostAsked);
    const views = await Promise.all(
      alive.map((link) => link.run(false, askView, answerWithinMs).catch(note)),
    );
    let seen = views.filter((each) => each !== undefined);
    if (seen.length === 0) {
      const others = new Map(
        [...seeds, ...(view?.masters ?? []), ...(view?.replicas ?? [])].map((each) => [nameOf(each), each]),
      );
      causes.length = 0;
      const answers = await Promise.all([...others.values()].map((each) => askStranger(each).catch(note)));
      seen = answers.filter((each) => each !== undefined);
    }
    if (isClosed()) return;
    const next = mostCommonView(seen);
    if (next !== undefined) adopt(next);
    else if (view === undefined)
      keeper.setDown(`no node of the cluster tells who holds what: ${causes.join('; ')}`);
    judge();
  }

  async function askStranger(address: RedisAddress): Promise<ClusterView> {
    const redis = await dialRedis(address, access, closing.signal);
    try {
      return await within(answerWithinMs, askView(redis));
    } finally {
      redis.disconnect();
    }
  }

  function refresh(): Promise<void> {
    return (refreshing ??= (async () => {
      stale = false;
      try {
        await look();
      } finally {
        refreshedAt = performance.now();
        refreshing = undefined;
      }
    })());
  }

  const firstView = refresh();
  const timer = setInterval(() => {
    const due = stale || !keeper.health().up || performance.now() - refreshedAt > refreshEveryMs;
    if (due) void refresh();
  }, lookEveryMs).unref();

  /** A master that can be asked for anything: the first that answers, as the seeds are listed. */
  function anyMaster(): RedisAddress | undefined {
    const masters = view?.masters ?? [];
    const rank = (each: RedisAddress): number => {
      const at = seeds.findIndex((seed) => nameOf(seed) === nameOf(each));
      return at === -1 ? seeds.length : at;
    };
    const ranked = [...masters].sort((one, other) => rank(one) - rank(other));
    return ranked.find((each) => links.get(nameOf(each))?.current() !== undefined) ?? ranked[0];
  }

  function masterOf(key: string | undefined): RedisAddress {
    const owner = key === undefined ? anyMaster() : addressNamed(owners[slotOf(key)]);
    if (owner !== undefined) return owner;
    const cause = isClosed() ? 'closed' : keeper.health().cause;
    throw storeUnavailable(cause ?? "the key's slot has no master");
  }

  async function follow<T>(
    first: RedisAddress,
    writes: boolean,
    work: (redis: Redis) => Promise<T>,
    startedAt: number,
  ): Promise<T> {
    let at = first;
    let asking = false;
    for (let sent = 0; ; sent += 1) {
      const leftMs = answerWithinMs - (performance.now() - startedAt);
      try {
        return await linkTo(at).run(writes, asking ? askingFirst(work) : work, leftMs);
      } catch (error) {
        if (!(error instanceof Redirection)) throw error;
        if (sent === mostRedirections || isClosed())
          throw storeUnavailable('the nodes of the cluster send from one to another');
        at = { host: error.host === '' ? at.host : error.host, port: error.port };
        asking = error.kind === 'ask';
        if (asking) continue;
        changes += 1;
        owners[error.slot] = nameOf(at);
        void refresh();
      }
    }
  }

  async function run<T>(
    name: string,
    writes: boolean,
    work: (redis: Redis) => Promise<T>,
    key?: string,
  ): Promise<T> {
    const startedAt = performance.now();
    try {
      // Before the first look nothing is known: its outcome is worth the wait.
      if (view === undefined && refreshedAt === -Infinity && !isClosed())
        await within(answerWithinMs, firstView).catch(rethrowLate);
      return await follow(masterOf(key), writes, work, startedAt);
    } finally {
      deps.meter.storeCommand(name, (performance.now() - startedAt) / 1000);
    }
  }

  return {
    where,
    run,
    async shards() {
      if (view === undefined) await firstView;
      if (view === undefined || uncovered > 0)
        throw storeUnavailable(keeper.health().cause ?? 'not connected');
      const { masters } = view;
      const connections = masters.map((master) => linkTo(master).current());
      const before = changes;
      return {
        all: masters.map((master): RedisShard => ({
          where: nameOf(master),
          async run(name, writes, work) {
            const startedAt = performance.now();
            try {
              return await linkTo(master).run(writes, work, answerWithinMs);
            } finally {
              deps.meter.storeCommand(name, (performance.now() - startedAt) / 1000);
            }
          },
        })),
        unchanged: () =>
          changes === before &&
          masters.every((master, index) => links.get(nameOf(master))?.current() === connections[index]),
      };
    },
    announcing: atTheMasterOfItsSlot,
    async dialEar(channel, signal) {
      // Whoever dials has heard nothing yet, or nothing any more: the slot may have gone elsewhere.
      await refresh();
      const master = addressNamed(owners[slotOf(channel)]);
      if (isClosed() || master === undefined)
        throw new Unfit(keeper.health().cause ?? 'no master is known that hears announcements');
      return dialRedis(master, access, signal, proveNode);
    },
    isFit: (redis, channel) => owners[slotOf(channel)] === nameOf(addressOf(redis)),
    health: () => keeper.health(),
    close() {
      closing.abort();
      clearInterval(timer);
      for (const link of links.values()) link.close();
      keeper.close();
    },
  };
}

/** `host:port` back into its parts. */
function addressNamed(name: string | undefined): RedisAddress | undefined {
  if (name === undefined) return undefined;
  const colon = name.lastIndexOf(':');
  return { host: name.slice(0, colon), port: Number(name.slice(colon + 1)) };
}

function rethrowLate(error: unknown): never {
  throw error instanceof NoAnswer ? storeUnavailable('the cluster has not answered yet') : error;
}
