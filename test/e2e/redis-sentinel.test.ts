import t from 'tap';
import { askRedis, startSentinelGroup } from '../support/redis-groups.ts';
import { until } from '../support/until.ts';
import { startPair, useEverything, type Pair } from './redis-pair.ts';
import { timed } from './redis-house.ts';

type Browser = ReturnType<Pair['browser']>;

t.test('the master is killed in mid-traffic', async (t) => {
  const group = await startSentinelGroup();
  t.teardown(() => group.stop());
  const sentinel = (nodes: readonly string[]) => ({ sentinel: { name: group.name, nodes } });
  const pair = await startPair(t, [sentinel(group.nodes), sentinel([...group.nodes].reverse())], {
    cache: '0s',
  });
  const apart = (nodes: readonly string[]) => ({ ...sentinel(nodes), key_prefix: 'warm:' });
  const warm = await startPair(t, [apart(group.nodes.slice(0, 1)), apart(group.nodes)], { cache: '10m' });
  const dora = warm.browser();
  await dora.signIn('dora');
  for (const index of [0, 1]) t.equal(await dora.status('/hello', index), 200);
  const names = ['alice', 'bob', 'carol'];
  const browsers = await Promise.all(
    names.map(async (name) => {
      const browser = pair.browser();
      return { name, browser };
    }),
  );
  for (const { name, browser } of browsers) t.equal((await browser.signIn(name)).status, 200);
  const former = await group.master();
  await until(async () => {
    const sizes = await Promise.all(group.servers.map(({ port }) => askRedis(port, 'DBSIZE')));
    return new Set(sizes.map(String)).size === 1;
  }, 'the replicas have it all');

  const run = { healed: false };
  let unverified = 0;
  const seen: { readonly status: number; readonly tookMs: number; readonly cookies: number }[] = [];
  const slow: number[] = [];
  const traffic = browsers.map(async ({ browser }, at) => {
    for (let round = 0; !run.healed; round += 1) {
      browser.at((at + round) % 2);
      const answer = await timed(() => browser.ask('/hello'));
      if (answer.tookMs > 1000) slow.push(answer.tookMs);
      seen.push({ status: answer.status, tookMs: answer.tookMs, cookies: answer.setCookies.length });
    }
  });
  // Nobody's session: never anything but the way to the sign-in, or 503.
  const stranger = pair.browser();
  const strangers = (async () => {
    while (!run.healed) {
      const { status } = await stranger.ask('/hello');
      if (status === 200) unverified += 1;
    }
  })();

  await until(() => seen.filter(({ status }) => status === 200).length > 20, 'traffic runs');
  await former.kill();
  await until(() => seen.some(({ status }) => status === 503), 'the outage shows');
  await until(async () => (await pair.readiness(0)).status === 'degraded');
  await until(async () => (await group.master()) !== former, 'another is master', 30_000);
  const electedAt = performance.now();
  await until(
    async () => {
      const states = await Promise.all([0, 1].map((index) => pair.readiness(index)));
      return states.every(({ status }) => status === 'ready');
    },
    'both replicas have found it, without a restart',
    15_000,
  );
  t.comment(`${Math.round(performance.now() - electedAt)} ms after the election`);
  const answered = seen.length;
  await until(() => seen.length > answered + 30, 'traffic runs again');
  run.healed = true;
  await Promise.all([...traffic, strangers]);
  t.same([...new Set(seen.map(({ status }) => status))].sort(), [200, 503], 'served, or told to come back');
  t.same(slow, [], 'within a second, each of them');
  t.equal(unverified, 0);
  t.same(
    [...new Set(pair.upstream.seen.map(({ headers }) => headers['x-forwarded-user']))].sort(),
    names,
    'the application has seen nobody else',
  );
  t.equal(seen.at(-1)?.status, 200);
  t.equal(
    seen.reduce((sum, { cookies }) => sum + cookies, 0),
    0,
    'no cookie is touched',
  );
  for (const { browser, name } of browsers)
    for (const index of [0, 1]) t.equal(await browser.status('/hello', index), 200, `${name} is in still`);

  t.equal(await dora.status('/hello', 1), 200, 'who is served from memory was never out');
  await t.test('sign-in, revocation, logout and user names work on the new master', async (t) => {
    await until(async () => {
      const states = await Promise.all([0, 1].map((index) => warm.readiness(index)));
      return states.every(({ status }) => status === 'ready');
    });
    await useEverything(t, warm);
    const checked = await pair.command('check');
    t.match(checked.out, /master door of the sentinels/);
    t.match(checked.out, new RegExp(`ok {4}server 127.0.0.1:${(await group.master()).port}: .*, master`));
    t.match(checked.out, /0 failed/);
  });

  await t.test('the former master comes back with what it had, and is not believed', async (t) => {
    const [alice, bob] = browsers.map(({ browser }) => browser) as [Browser, Browser];
    t.equal(await alice.signOut(), 303);
    await former.restart();
    // It says so until the sentinels have told it otherwise, which takes them a while.
    t.equal(((await askRedis(former.port, 'ROLE')) as unknown[])[0], 'master');
    const watchedUntil = performance.now() + 2500;
    await until(async () => {
      for (const index of [0, 1]) {
        t.equal(await alice.status('/hello', index), 401, 'who signed out stays out');
        t.equal(await bob.status('/hello', index), 200);
      }
      return performance.now() > watchedUntil;
    });
  });
});
