import t from 'tap';
import { askRedis, startCluster } from '../support/redis-groups.ts';
import { until } from '../support/until.ts';
import { timed } from './redis-house.ts';
import { startPair, useEverything } from './redis-pair.ts';

t.test(
  'everything works on a cluster of three masters, from replicas attached to different nodes',
  async (t) => {
    const cluster = await startCluster();
    t.teardown(() => cluster.stop());
    const [first, , third] = cluster.nodes;
    const pair = await startPair(t, [{ cluster: { nodes: [first] } }, { cluster: { nodes: [third] } }], {
      cache: '10m',
    });
    await useEverything(t, pair);
    const sizes = await Promise.all(cluster.masters.map(({ port }) => askRedis(port, 'DBSIZE')));
    t.ok(
      sizes.every((size) => Number(size) > 0),
      `keys on every master: ${sizes.join(', ')}`,
    );
    for (const [index, { port }] of cluster.masters.entries()) {
      const info = String(await askRedis(port, 'INFO', 'errorstats'));
      t.notMatch(info, /errorstat_(CROSSSLOT|MOVED)/, `master ${index}: each key was looked for where it is`);
    }
    const listening = await Promise.all(
      cluster.masters.map(
        async ({ port }) =>
          ((await askRedis(port, 'PUBSUB', 'SHARDNUMSUB', 'sallyport:announcements')) as unknown[])[1],
      ),
    );
    t.same(listening.map(Number).sort(), [0, 0, 2], 'both listen at the one master that holds the slot');

    await t.test('check tells version, role and eviction policy of every master', async (t) => {
      const good = await pair.command('check');
      t.match(good.out, new RegExp(`cluster of ${first}: reads, writes, expires and deletes`));
      for (const node of cluster.nodes) t.match(good.out, new RegExp(`ok {4}server ${node}: .*, master`));
      t.match(good.out, /0 failed/);
      const last = cluster.masters[2]!;
      await askRedis(last.port, 'CONFIG', 'SET', 'maxmemory', '1gb');
      await askRedis(last.port, 'CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
      const bad = await pair.command('check');
      t.equal(bad.status, 1);
      t.match(
        bad.out,
        new RegExp(`fail {2}${third}: eviction policy allkeys-lru drops sessions`),
        'the one that may drop them',
      );
    });

    await t.test(
      'one master is gone: its sessions get 503, the others go on; nobody is signed out',
      async (t) => {
        const settings = (node: string | undefined) => ({ cluster: { nodes: [node] }, key_prefix: 'cold:' });
        const cold = await startPair(t, [settings(first), settings(third)], { cache: '0s' });
        const gone = cluster.masters[1]!;
        const browsers: ReturnType<typeof cold.browser>[] = [];
        const sessionsOf = async (port: number): Promise<number> =>
          ((await askRedis(port, 'KEYS', 'cold:session:*')) as unknown[]).length;
        // By chance, but until there is one of each kind.
        while (
          browsers.length < 6 ||
          (await sessionsOf(gone.port)) === 0 ||
          (await sessionsOf(gone.port)) === browsers.length
        ) {
          const browser = cold.browser();
          t.equal((await browser.signIn(`user${browsers.length}`)).status, 200);
          browsers.push(browser);
        }
        const hit = await sessionsOf(gone.port);
        await gone.kill();
        await until(async () => (await cold.readiness(0)).status === 'degraded');
        t.match((await cold.readiness(0)).dependencies, [
          { name: 'redis', state: 'down', cause: new RegExp(`^1 of 3 masters: .*${gone.port}`) },
        ]);
        for (const index of [0, 1]) {
          const statuses: number[] = [];
          for (const browser of browsers) {
            browser.at(index);
            const answer = await timed(() => browser.ask('/hello'));
            t.ok(answer.tookMs < 1000, 'within a second');
            t.same(answer.setCookies, [], 'no cookie is touched');
            if (answer.status === 503) t.ok(answer.headers['retry-after']);
            statuses.push(answer.status);
          }
          t.equal(statuses.filter((status) => status === 503).length, hit);
          t.equal(statuses.filter((status) => status === 200).length, browsers.length - hit);
        }
        await gone.restart();
        await until(async () => {
          const states = await Promise.all([0, 1].map((index) => cold.readiness(index)));
          return states.every(({ status }) => status === 'ready');
        }, 'it heals');
        for (const browser of browsers) t.equal(await browser.status('/hello', 1), 200);
      },
    );
  },
);
