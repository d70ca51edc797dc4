import t, { type Test } from 'tap';
import { buildProgram } from '../support/built.ts';
import { askRedis, startCluster, startSentinelGroup } from '../support/redis-groups.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { load } from '../workers/stage.ts';
import { makeGate } from './refresh-house.ts';
import { stopwatch } from '../support/stopwatch.ts';
import { startWorkersHouse, type Guest, type WorkersHouse } from './workers-house.ts';

/* Sessions whose tokens are refreshed by two processes, over one Redis, over a cluster, and over a failover. */

const { main, clear } = buildProgram();
t.teardown(clear);

/** Many requests at once of each session, until the tokens of each were refreshed so many times. */
async function refreshUnderLoad(t: Test, house: WorkersHouse, guests: readonly Guest[], times: number) {
  const traffic = load(
    guests.flatMap((guest) => Array.from({ length: 4 }, () => () => house.request(guest))),
  );
  const timesOf = ({ sub }: Guest): number =>
    house.refreshes().filter(({ user }) => (user as { name?: unknown }).name === sub).length;
  try {
    await until(() => guests.every((guest) => timesOf(guest) >= times), 'the refreshes', 45_000);
  } finally {
    await traffic.stop();
  }
  t.same([...traffic.outcomes.keys()], ['200'], JSON.stringify([...traffic.outcomes]));
}

/** Each refresh token was spent once, and each refresh is told once: in the trail and in the metric. */
async function eachSpentOnce(t: Test, house: WorkersHouse) {
  const settled = async (): Promise<boolean> =>
    house.refreshes().length === house.spent().length &&
    (await house.counted(/^sallyport_token_refreshes_total\{/)) === house.spent().length;
  await until(settled, 'as many told as spent').catch((error: unknown) => t.fail(String(error)));
  t.equal(new Set(house.spent()).size, house.spent().length, `${house.spent().length} tokens, each once`);
  t.same([...new Set(house.refreshes().map(({ result }) => result))], ['refreshed']);
  t.equal(
    house.op.requests.filter(({ endpoint }) => endpoint === 'authorization').length,
    house.audited('signin.succeeded').length,
  );
}

t.test('two workers refresh each token once, under load, and count it once', async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  const house = await startWorkersHouse(t, main, {
    redis: { url: redis.url },
    // Requests wait for a new token where the old one has expired; none may go upstream with an old one.
    upstream: { pass_access_token: true },
  });
  const guests = [await house.signIn('alice'), await house.signIn('bob'), await house.signIn('carol')];
  for (const guest of guests) await house.untilAllSay(guest, 200);
  await refreshUnderLoad(t, house, guests, 3);
  await eachSpentOnce(t, house);
  t.notOk(
    house.upstream.seen.some(({ headers }) => headers['x-forwarded-access-token'] === undefined),
    'no request goes upstream without its token',
  );
});

t.test('two workers on a cluster: sign-in, refresh, sign-out and revocation', async (t) => {
  const cluster = await startCluster();
  t.teardown(() => cluster.stop());
  const house = await startWorkersHouse(t, main, {
    redis: { cluster: { nodes: cluster.nodes } },
    // What ends sooner has been announced.
    session: { cache: '10m' },
  });
  const names = ['alice', 'bob', 'carol', 'dave'];
  const guests: Guest[] = [];
  for (const name of names) guests.push(await house.signIn(name));
  const [alice, bob, carol, dave] = guests as [Guest, Guest, Guest, Guest];
  for (const guest of guests) await house.untilAllSay(guest, 200);

  await refreshUnderLoad(t, house, [alice, bob], 2);
  await eachSpentOnce(t, house);

  t.equal(await house.signOut(carol), 303);
  const elapsedMs = stopwatch();
  await until(async () => (await house.statuses(carol)).join() === '401', 'the sign-out in both', 5_000);
  t.ok(elapsedMs() < 2_000, 'long before session.cache is over');
  await house.untilAllSay(carol, 401);

  const revoked = await house.command('sessions', 'revoke', '--user', 'dave@example.com', '--json');
  t.match(JSON.parse(revoked.out), { ended: 1 }, revoked.err);
  await until(async () => (await house.statuses(dave)).join() === '401', 'the revocation in both', 5_000);
  await house.untilAllSay(dave, 401);
  t.same(await house.statuses(alice), [200], 'nobody else is signed out');

  const sizes = await Promise.all(cluster.masters.map(({ port }) => askRedis(port, 'DBSIZE')));
  t.ok(
    sizes.every((size) => Number(size) > 0),
    `keys on every master: ${sizes.join(', ')}`,
  );
  t.equal(house.served.out.stderr, '');
});

t.test('the master is killed while tokens are spent: none twice, and nobody is signed out', async (t) => {
  const group = await startSentinelGroup();
  t.teardown(() => group.stop());
  const house = await startWorkersHouse(t, main, {
    redis: { sentinel: { name: group.name, nodes: group.nodes } },
    session: { outage_grace: '1m' },
  });
  const guests = [await house.signIn('alice'), await house.signIn('bob'), await house.signIn('carol')];
  for (const guest of guests) await house.untilAllSay(guest, 200);
  await refreshUnderLoad(t, house, guests, 1);
  await eachSpentOnce(t, house);

  const former = await group.master();
  const gate = makeGate();
  let held = 0;
  house.op.fault = (endpoint) => {
    if (endpoint !== 'token') return undefined;
    held += 1;
    return { kind: 'hold', until: gate.opened };
  };
  const traffic = load(
    guests.flatMap((guest) => Array.from({ length: 4 }, () => () => house.request(guest))),
  );
  await until(() => held === guests.length, 'a refresh of each is under way');
  await until(async () => {
    const offsets = await Promise.all(
      group.servers.map(
        async ({ port }) =>
          /(?:slave_repl_offset|master_repl_offset):(\d+)/.exec(
            String(await askRedis(port, 'INFO', 'replication')),
          )?.[1],
      ),
    );
    return new Set(offsets).size === 1;
  }, 'the replicas have it all');
  await former.kill();
  const before = house.spent().length;
  gate.open();
  await until(async () => (await group.master()) !== former, 'another is master', 30_000);
  await until(
    () => house.refreshes().length >= before + guests.length * 2,
    'what was spent is written down, and spent anew',
    45_000,
  );
  await traffic.stop();
  t.same(
    [...traffic.outcomes.keys()].filter((outcome) => outcome !== '503'),
    ['200'],
    JSON.stringify([...traffic.outcomes]),
  );
  await eachSpentOnce(t, house);
  for (const guest of guests) t.same(await house.statuses(guest), [200], `${guest.sub} is in still`);
});
