import t from 'tap';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';
import { stopwatch } from '../support/stopwatch.ts';

t.test('sessions in Redis', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const redis = await startRedis();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const start = () =>
    startSallyport({
      origin,
      upstream: upstream.url,
      sources: [{ id: 'idp', issuer: op.issuer }],
      config: {
        upstream: { pass_access_token: true },
        session: { redis: { url: redis.url } },
        routes: [{ name: 'open', path: '/open/**', access: 'public' }],
      },
    });
  let sallyport = await start();
  t.teardown(async () => {
    await sallyport.close();
    await op.stop();
    await redis.stop();
    await upstream.close();
  });

  op.nextLogin = {
    sub: 'subject-4711',
    amr: ['pwd', 'mfa'],
    claims: {
      email: 'alice.secret@example.com',
      email_verified: true,
      name: 'Alice Liddell',
      preferred_username: 'aliddell',
      groups: ['rabbits'],
    },
  };
  let idToken = '';
  let accessToken = '';
  op.tamperIdToken = (input) => {
    idToken = input.idToken;
    accessToken = input.accessToken ?? '';
    return input.idToken;
  };
  const browser = new UserAgent();
  const hello = () => browser.request('GET', `${origin}/hello`);
  const readiness = async () =>
    (await fetch(`http://${sallyport.operations}/readyz`)).json() as Promise<{ status: string }>;

  t.test(
    'a dump of all keys and values shows neither token, email, sub, name, user name nor cookie',
    async (t) => {
      t.equal((await browser.follow(`${origin}/hello`)).last.status, 200);
      const cookie = browser.cookie(origin, 'sallyport') ?? '';
      t.match(cookie, /^[\w-]{43}$/, '256 bits and nothing else');
      t.ok(idToken.length > 100 && accessToken.length > 10, 'the tokens are known to the test');
      const dump = await redis.dump();
      t.ok(dump.length >= 4, 'keys and values are there');
      const forms = (text: string) => [
        text,
        Buffer.from(text).toString('base64'),
        Buffer.from(text).toString('base64url'),
        Buffer.from(text).toString('hex'),
      ];
      const secrets = [
        cookie,
        Buffer.from(cookie, 'base64url').toString('latin1'),
        idToken,
        ...idToken.split('.'),
        accessToken,
        'alice.secret@example.com',
        'subject-4711',
        'Alice Liddell',
        'aliddell',
        'rabbits',
        'idp',
      ].flatMap(forms);
      const everything = dump.join('\n');
      for (const secret of secrets)
        t.notOk(everything.includes(secret), `no ${JSON.stringify(secret.slice(0, 40))}`);
      t.equal(
        upstream.seen.at(-1)?.headers['x-forwarded-access-token'],
        accessToken,
        'though the session has them',
      );
    },
  );

  t.test(
    'Redis stopped in mid-traffic: 503 with Retry-After within a second, cookies kept; everyone in when it is back',
    async (t) => {
      t.equal((await hello()).status, 200);
      const cookie = browser.cookie(origin, 'sallyport');
      await redis.stop();
      const answers: {
        status: number;
        tookMs: number;
        setCookies: readonly string[];
        retryAfter: unknown;
      }[] = [];
      await until(async () => {
        const elapsedMs = stopwatch();
        const { status, setCookies, headers } = await hello();
        answers.push({
          status,
          tookMs: elapsedMs(),
          setCookies,
          retryAfter: headers['retry-after'],
        });
        return status === 503;
      }, 'the outage shows');
      const down = answers.at(-1);
      t.ok((down?.tookMs ?? Infinity) < 1000, `answered within a second (${down?.tookMs} ms)`);
      t.match(String(down?.retryAfter), /^\d+$/);
      t.strictSame(
        answers.flatMap(({ setCookies }) => setCookies),
        [],
        'no cookie is touched',
      );

      const page = await browser.request('GET', `${origin}/hello`, { navigate: true });
      t.equal(page.status, 503);
      t.match(page.headers['content-type'], /text\/html/);
      t.equal((await browser.request('GET', `${origin}/_sallyport/whoami`)).status, 503);
      t.equal(
        (await browser.request('GET', `${origin}/open/door`)).status,
        200,
        'what needs no session goes on',
      );
      const signOut = await browser.request('GET', `${origin}/_sallyport/signout`, { navigate: true });
      t.strictSame(signOut.setCookies, []);
      t.equal((await readiness()).status, 'degraded');
      t.equal(browser.cookie(origin, 'sallyport'), cookie);

      await redis.restart();
      await until(async () => (await hello()).status === 200, 'the same session is served again');
      t.equal(browser.cookie(origin, 'sallyport'), cookie);
      t.equal((await readiness()).status, 'ready');
    },
  );

  t.test('a Redis that accepts and never answers (SIGSTOP) is an outage too, and heals', async (t) => {
    redis.pause();
    await until(async () => {
      const elapsedMs = stopwatch();
      const { status } = await hello();
      const tookMs = elapsedMs();
      t.ok(tookMs < 1000, `answered within a second (${Math.round(tookMs)} ms)`);
      return status === 503;
    }, 'the outage shows');
    redis.resume();
    await until(async () => (await hello()).status === 200, 'served again');
  });

  t.test(
    'a sign-in that meets the outage at its callback is told so, and works when tried again',
    async (t) => {
      const other = new UserAgent();
      const { last } = await other.follow(`${origin}/hello`, { until: (url) => url.includes('/callback/') });
      await redis.stop();
      await until(async () => (await readiness()).status === 'degraded');
      const answer = await other.request('GET', last.location ?? '', { navigate: true });
      t.equal(answer.status, 503);
      t.match(answer.headers['retry-after'], /^\d+$/);
      t.strictSame(answer.setCookies, [], 'the attempt is kept');
      await redis.restart();
      await until(async () => (await readiness()).status === 'ready');
      t.equal((await other.follow(`${origin}/hello`)).last.status, 200);
    },
  );

  t.test('a restart of Sallyport signs nobody out, and keeps the assertion key', async (t) => {
    const keys = (await browser.request('GET', `${origin}/_sallyport/jwks.json`)).body;
    await sallyport.close();
    sallyport = await start();
    t.equal((await hello()).status, 200);
    t.equal((await browser.request('GET', `${origin}/_sallyport/jwks.json`)).body, keys);
  });

  t.test('Sallyport starts while Redis is down, and serves when it comes', async (t) => {
    await sallyport.close();
    await redis.stop();
    sallyport = await start();
    t.equal((await readiness()).status, 'degraded');
    t.equal((await hello()).status, 503);
    t.equal((await browser.request('GET', `${origin}/_sallyport/jwks.json`)).status, 503);
    await redis.restart();
    await until(async () => (await hello()).status === 200, 'served');
    t.match(upstream.seen.at(-1)?.headers['x-sallyport-assertion'], /^ey/);
  });
});
