import t from 'tap';
import { until } from '../support/until.ts';
import { forgeToken, startHouse, timed, type House } from './redis-house.ts';

/*
 * Redis does not answer, in every way that it can fail to, against the whole program. Replica 0 has the defaults: it fails closed.
 * Replica 1 must not be sent requests without Redis, and lets sessions in memory outlive an outage.
 */

interface Outage {
  readonly fault: string;
  readonly begin: (house: House) => Promise<void> | void;
  readonly end: (house: House) => Promise<void> | void;
  /** Whether what is sent in the meantime may arrive, and only its answer is lost. */
  readonly arrives?: boolean;
}

const onLinks = (change: (link: House['links'][number]) => void) => (house: House) => {
  for (const link of house.links) change(link);
};
const reopen = onLinks((link) => {
  link.delayMs = 0;
  link.state = 'open';
  link.reset();
});

const outages: readonly Outage[] = [
  {
    fault: 'killed (SIGKILL), then started again with its data',
    begin: ({ redis }) => redis.kill(),
    end: ({ redis }) => redis.restart(),
  },
  {
    fault: 'paused (SIGSTOP, SIGCONT)',
    begin: ({ redis }) => redis.pause(),
    end: ({ redis }) => redis.resume(),
    arrives: true,
  },
  {
    fault: 'slow, two seconds each way',
    begin: onLinks((link) => (link.delayMs = 2000)),
    end: reopen,
    arrives: true,
  },
  {
    fault: 'behind a link that swallows everything',
    begin: onLinks((link) => (link.state = 'swallow')),
    end: reopen,
  },
  {
    fault: 'behind a link that resets everything',
    begin: onLinks((link) => (link.state = 'refuse')),
    end: reopen,
  },
  {
    fault: 'behind a half-open link: it hears, and is not heard',
    begin: onLinks((link) => (link.state = 'mute')),
    end: reopen,
    arrives: true,
  },
];

t.jobs = 2;
for (const { fault, begin, end, arrives } of outages) {
  t.test(`Redis is ${fault}`, { buffered: true }, async (t) => {
    const house = await startHouse(t, [
      {},
      { operations: { readiness_requires: ['redis'] }, session: { outage_grace: '1h' } },
    ]);
    const { upstream, redis, origin } = house;
    const ada = house.browser(0);
    const ben = house.browser(0);
    const cat = house.browser(0);
    t.equal((await ada.signIn('ada')).status, 200);
    t.equal((await ben.signIn('ben')).status, 200);
    // Known to the second replica too, as the first is not.
    ada.at(1);
    t.equal((await ada.ask('/hello')).status, 200);
    ada.at(0);
    const callback = await cat.signInHalfway('cat');
    const cookies = [ada.cookie(), ben.cookie()];
    await until(async () => (await house.readiness(1)).status === 'ready');
    const { id } = (await ada.ask('/_sallyport/whoami')).json() as { id: string };

    await begin(house);
    // Whom memory does not know must wait for Redis, which is not known to be down yet.
    const stranger = house.browser(0);
    stranger.agent.setCookie(origin, `sallyport=${'A'.repeat(43)}; Path=/; HttpOnly`);
    const first = timed(() => stranger.ask('/hello', { navigate: true }));
    const answers: Awaited<ReturnType<typeof timed>>[] = [];
    await until(async () => {
      answers.push(await timed(() => ada.ask('/hello')));
      return answers.at(-1)?.status === 503;
    }, 'the outage shows');
    answers.push(await first);
    t.equal(answers.at(-1)?.status, 503, 'not taken for somebody who has no session');
    t.same(
      answers.filter(({ status }) => status !== 200 && status !== 503),
      [],
      'served from memory for a moment, or told',
    );
    t.same(
      answers.flatMap(({ setCookies }) => setCookies),
      [],
    );
    const slowestMs = Math.max(...answers.map(({ tookMs }) => tookMs));
    t.ok(slowestMs < 1000, `answered within a second (${Math.round(slowestMs)} ms)`);
    const reached = house.identified().length;

    // Who needs a session is told so, and keeps it.
    const post = { method: 'POST', body: 'a=b', headers: { 'sec-fetch-site': 'same-origin' } };
    for (const [who, path, options, isPage] of [
      [ada, '/hello', { navigate: true }, true],
      [ada, '/hello', {}, false],
      [ada, '/form', post, false],
      [ada, '/api/repositories', {}, false],
      [ben, '/hello', { navigate: true }, true],
      [ben, '/_sallyport/whoami', {}, false],
      [ada, '/_sallyport/signout', { navigate: true }, true],
      [cat, callback.slice(origin.length), { navigate: true }, true],
    ] as const) {
      const answer = await timed(() => who.ask(path, options));
      const what = `${'method' in options ? 'POST' : 'GET'} ${path.replace(/\?.*/, '')}`;
      t.equal(answer.status, 503, what);
      t.match(answer.headers['retry-after'], /^[1-9]\d*$/, `${what}: when to ask again`);
      t.match(answer.headers['content-type'], isPage ? /^text\/html/ : /^application\/json/, what);
      t.match(answer.headers['cache-control'], /no-store/, what);
      t.match(answer.body, isPage ? /not signed out/ : /store_unavailable/, what);
      t.notMatch(answer.body, /127\.0\.0\.1:|ECONN|ioredis/, `${what}: nothing of the inside`);
      t.same(answer.setCookies, [], `${what}: no cookie is touched`);
      t.ok(answer.tookMs < 1000, `${what}: within a second (${Math.round(answer.tookMs)} ms)`);
    }

    // Who needs none goes on, as nobody.
    for (const [path, headers] of [
      ['/open/door', {}],
      ['/raw/runner', {}],
      ['/api/repositories', { authorization: forgeToken }],
    ] as const) {
      const answer = await timed(() => ada.ask(path, { headers }));
      t.equal(answer.status, 200, path);
      t.ok(answer.tookMs < 1000, path);
      t.equal(upstream.seen.at(-1)?.headers['cookie'], undefined, 'and without a cookie');
    }
    t.equal(house.identified().length, reached, 'nothing unverified has reached the application');

    // Operators are told.
    t.match(await house.readiness(0), { code: 200, status: 'degraded', redis: { state: 'down' } });
    t.equal(await house.metric('sallyport_redis_up', 0), 0);
    await until(async () => (await house.readiness(1)).status === 'not_ready');
    t.equal((await house.readiness(1)).code, 503, 'where Redis is required');
    t.equal(await house.metric('sallyport_redis_up', 1), 0);

    // Within outage_grace the other replica serves whom it knows, and nobody else.
    ada.at(1);
    ben.at(1);
    t.equal((await ada.ask('/hello')).status, 200, 'served from memory');
    t.equal(upstream.seen.at(-1)?.headers['x-forwarded-user'], 'ada');
    t.equal((await ben.ask('/hello')).status, 503, 'unknown to it');
    ada.at(0);
    ben.at(0);

    await end(house);
    for (const index of [0, 1]) {
      await until(async () => (await house.readiness(index)).status === 'ready', 'it heals by itself');
      t.equal(await house.metric('sallyport_redis_up', index), 1);
      for (const who of [ada, ben]) {
        who.at(index);
        const answer = await who.ask('/hello');
        t.equal(answer.status, 200, 'everybody is still signed in');
        t.same(answer.setCookies, []);
      }
    }
    t.same([ada.cookie(), ben.cookie()], cookies);
    t.equal(((await ada.ask('/_sallyport/whoami')).json() as { id: string }).id, id, 'the same session');
    // The sign-in that met the outage: the very page may be loaded again, or, where Redis had heard of it, it says to start over.
    const again = await cat.ask(callback.slice(origin.length), { navigate: true });
    if (arrives !== true) t.match(again.location, /\/hello$/, 'the sign-in can be finished');
    else if (again.status === 400) t.match(again.body, /sign in/i);
    t.equal((await cat.signIn('cat')).status, 200);
    t.equal(await redis.command('PING'), 'PONG');
  });
}
