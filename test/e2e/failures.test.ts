import t from 'tap';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp, type Fault } from '../support/op.ts';
import { exchange } from '../support/raw-http.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { UserAgent } from '../support/user-agent.ts';

/*
 * SPEC section 12, row by row, against the whole program. Elsewhere: Redis down and slow in redis.test.ts, SIGTERM in
 * stopping.test.ts, a slow head in proxy/edge.test.ts (its 30 s shortened).
 */

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

t.test('upstream refuses, resets, times out: 502 and 504, page and JSON, no internal address', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startRawUpstream(({ socket, path, body }) => {
    if (path === '/resets') socket.resetAndDestroy();
    else if (path === '/answers') socket.write(ok);
    else return body().then(() => new Promise(() => undefined));
    return undefined;
  });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [{ id: 'idp', issuer: 'http://127.0.0.1:9' }],
    config: {
      upstream: { response_timeout: '300ms', connect_timeout: '1s' },
      routes: [{ name: 'open', path: '/**', access: 'public' }],
    },
  });
  let isUp = true;
  t.teardown(async () => {
    await sallyport.close();
    if (isUp) await upstream.close();
  });
  const { port } = new URL(upstream.url);
  const ask = async (path: string, status: number, code: string): Promise<void> => {
    for (const navigate of [true, false]) {
      const answer = await new UserAgent().request('GET', `${origin}${path}`, { navigate });
      t.equal(answer.status, status, path);
      t.match(answer.headers['content-type'], navigate ? /^text\/html/ : /^application\/json/);
      t.notMatch(
        JSON.stringify([answer.headers, answer.body]),
        new RegExp(`127\\.0\\.0\\.1:${port}|ECONN|UND_ERR|undici`),
      );
      if (!navigate) t.match(answer.json(), { error: code, request_id: /\S/ });
    }
  };
  t.equal((await fetch(`${origin}/answers`)).status, 200);
  await ask('/resets', 502, 'upstream_reset');
  await ask('/waits', 504, 'upstream_timeout');
  isUp = false;
  await upstream.close();
  await ask('/refuses', 502, 'upstream_unreachable');
  const page = await (await fetch(`http://${sallyport.operations}/metrics`)).text();
  for (const kind of ['reset', 'timeout', 'refused'])
    t.match(page, new RegExp(`sallyport_upstream_errors_total\\{kind="${kind}"\\} [1-9]`));
});

t.test(
  'the IdP is down: 503 that names the source, sessions unaffected, asked again by itself',
  async (t) => {
    const origin = await loopbackOrigin();
    const upstream = await startEchoUpstream();
    const op = await startOp({ clients: [clientOf(origin, 'staff')] });
    const late = await startOp({ clients: [clientOf(origin, 'late')] });
    await late.stop();
    const sallyport = await startSallyport({
      origin,
      upstream: upstream.url,
      sources: [
        { id: 'staff', issuer: op.issuer, display_name: 'Staff of Example' },
        { id: 'late', issuer: late.issuer, display_name: 'Late & Co' },
      ],
    });
    t.teardown(async () => {
      await sallyport.close();
      await op.stop();
      await late.stop();
      await upstream.close();
    });
    op.nextLogin = { sub: 'ada', amr: ['pwd', 'mfa'], claims: { preferred_username: 'ada' } };
    const browser = new UserAgent();
    const signIn = (agent: UserAgent, source: string) =>
      agent.follow(`${origin}/_sallyport/signin?source=${source}&return_to=/hello`);
    t.equal((await signIn(browser, 'staff')).last.status, 200);

    const { last: never } = await signIn(new UserAgent(), 'late');
    t.equal(never.status, 503, 'an IdP that was down from the start');
    t.match(never.body, 'Late &amp; Co');
    t.match(never.headers['retry-after'], /^\d+$/);
    await op.stop();
    const { last: gone } = await signIn(new UserAgent(), 'staff');
    t.equal(gone.status, 503, 'one that went');
    t.match(gone.body, 'Staff of Example');
    t.equal((await browser.request('GET', `${origin}/hello`)).status, 200, 'who is in stays in');

    await late.restart();
    await op.restart();
    late.nextLogin = { sub: 'bea', amr: ['pwd', 'mfa'], claims: { preferred_username: 'bea' } };
    await until(
      async () =>
        /idp_up\{auth_source="late"\} 1/.test(
          await (await fetch(`http://${sallyport.operations}/metrics`)).text(),
        ),
      'discovered without anybody asking',
      30_000,
    );
    t.equal((await signIn(new UserAgent(), 'late')).last.status, 200);
    t.equal((await signIn(new UserAgent(), 'staff')).last.status, 200);
  },
);

t.test(
  'the IdP is slow, oversized, redirecting, of a wrong content type: a page within 10 s, no session',
  async (t) => {
    const mebibyte = 1024 * 1024;
    const faults: Record<string, Fault> = {
      slow: { kind: 'hang' },
      oversized: { kind: 'huge', bytes: 3 * mebibyte },
      bomb: { kind: 'gzipBomb', bytes: 64 * mebibyte },
      redirecting: { kind: 'redirect', location: 'http://127.0.0.1:9/token', status: 307 },
      html: { kind: 'contentType', value: 'text/html' },
    };
    const origin = await loopbackOrigin();
    const upstream = await startEchoUpstream();
    const rows = await Promise.all(
      Object.entries(faults).map(async ([id, fault]) => {
        const op = await startOp({ clients: [clientOf(origin, id)] });
        op.nextLogin = { sub: 'ada', amr: ['pwd', 'mfa'], claims: { preferred_username: 'ada' } };
        op.fault = (endpoint) => (endpoint === 'token' ? fault : undefined);
        return { id, op };
      }),
    );
    const sallyport = await startSallyport({
      origin,
      upstream: upstream.url,
      sources: rows.map(({ id, op }) => ({ id, issuer: op.issuer })),
    });
    t.teardown(async () => {
      await sallyport.close();
      await Promise.all(rows.map(({ op }) => op.stop()));
      await upstream.close();
    });
    await Promise.all(
      rows.map(async ({ id }) => {
        const browser = new UserAgent();
        const startedAt = performance.now();
        const { last } = await browser.follow(`${origin}/_sallyport/signin?source=${id}`);
        const tookMs = performance.now() - startedAt;
        t.equal(last.status, 503, id);
        t.match(last.headers['content-type'], /^text\/html/, id);
        t.notMatch(last.body, /undici|ECONN|at \w+ \(/, id);
        t.equal(browser.cookie(origin, 'sallyport'), undefined, id);
        if (id === 'slow')
          t.ok(tookMs > 9_000 && tookMs < 14_000, `given up on after ${Math.round(tookMs)} ms`);
      }),
    );
    t.same(upstream.seen, [], 'nobody got in');
  },
);

t.test('the client is slow, sends too many headers or an oversized head: 408, 431', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startRawUpstream(async ({ socket, body }) => {
    await body();
    socket.write(ok);
  });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [{ id: 'idp', issuer: 'http://127.0.0.1:9' }],
    config: {
      upstream: { idle_timeout: '300ms' },
      routes: [{ name: 'open', path: '/**', access: 'public' }],
    },
  });
  t.teardown(async () => {
    await sallyport.close();
    await upstream.close();
  });
  const { host, port } = new URL(origin);
  const send = (head: string, method = 'GET') => exchange(Number(port), `${head}\r\n`, method);
  const many = (count: number): string => 'a:\r\n'.repeat(count);
  const head = `GET /x HTTP/1.1\r\nHost: ${host}\r\n`;
  t.equal((await send(`${head}${many(490)}`)).status, 200);
  const before = upstream.seen.length;
  for (const count of [500, 999, 1_000, 1_100, 5_000])
    t.equal((await send(`${head}${many(count)}`)).status, 431, `${count} more headers`);
  t.equal(
    (await send(`GET /x HTTP/1.1\r\n${many(2_000)}Host: ${host}\r\n`)).status,
    431,
    'the Host behind them',
  );
  t.equal((await send(`${head}X: ${'a'.repeat(40_000)}\r\n`)).status, 431, 'one of 40 kB');
  const upload = `POST /x HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 9\r\n`;
  t.equal((await exchange(Number(port), `${upload}\r\nabc`, 'POST')).status, 408, 'a body that stops');
  t.equal(upstream.seen.length, before + 1, 'of all these the upstream saw the upload alone');
});

t.test(
  'an unexpected exception: 500 with the request id, logged with its stack, never shown; serving goes on',
  async (t) => {
    const broken = { clock: false, randomness: false };
    const fail = (part: keyof typeof broken): void => {
      if (!broken[part]) return;
      broken[part] = false;
      throw new TypeError(`a defect of the ${part}, told to nobody`);
    };
    const origin = await loopbackOrigin();
    const upstream = await startEchoUpstream();
    const op = await startOp({ clients: [clientOf(origin, 'idp')] });
    const sallyport = await startSallyport({
      origin,
      upstream: upstream.url,
      sources: [{ id: 'idp', issuer: op.issuer }],
      config: { routes: [{ name: 'open', path: '/open/**', access: 'public' }], log: { access: false } },
      app: {
        clock: {
          nowMs() {
            fail('clock');
            return systemClock.nowMs();
          },
        },
        randomness: {
          bytes(length) {
            fail('randomness');
            return systemRandomness.bytes(length);
          },
        },
      },
    });
    t.teardown(async () => {
      await sallyport.close();
      await op.stop();
      await upstream.close();
    });
    for (const [part, path] of [
      ['clock', '/page'],
      ['randomness', '/_sallyport/signin?source=idp'],
    ] as const) {
      for (const navigate of [true, false]) {
        broken[part] = true;
        const answer = await new UserAgent().request('GET', `${origin}${path}`, { navigate });
        t.equal(answer.status, 500, path);
        t.notMatch(answer.body, /defect|TypeError|\.ts:/);
        const told = sallyport.log.lines().findLast(({ message }) => message === 'unexpected fault');
        t.match(told, {
          error: { stack_trace: /TypeError: a defect of the .*\n\s+at / },
          'log.level': 'error',
        });
        const id = String(told?.['request_id']);
        t.match(id, /^[\w-]{10,}$/);
        t.ok(answer.body.includes(id), 'the page names the request, for support');
      }
    }
    t.same(upstream.seen, [], 'and nothing went to the upstream');
    t.equal((await fetch(`${origin}/open/door`)).status, 200);
  },
);
