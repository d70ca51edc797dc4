import t from 'tap';
import { SallyportError } from '../../src/kernel/error.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import type { Store } from '../../src/session/types.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { startHarness } from './harness.ts';

const host = 'forge.example.com';
const navigation = 'Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Site: same-origin\r\n';
const ok =
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: app=1\r\nSet-Cookie: __Host-sallyport=evil; Path=/\r\n\r\nok';

t.test('who is told what', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => void socket.write(ok));
  let storeIsUp = true;
  const memory = createMemoryStore(systemClock);
  const store: Store = {
    ...memory,
    get: async (key) => {
      if (!storeIsUp) throw new SallyportError('store_unavailable', 'down');
      return memory.get(key);
    },
  };
  const harness = await startHarness({ upstream: upstream.url, store, session: { cache: '0s' } });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const ask = (line: string, headers = '', body = '') => {
    const method = line.split(' ')[0] ?? 'GET';
    return exchange(harness.port, `${line} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n${body}`, method);
  };
  const cookie = await harness.signIn();
  const aal1 = await harness.signIn({ claims: { sub: 'sub-1', amr: ['pwd'] } });
  const stale = await harness.signIn({ claims: { sub: 'sub-1', amr: ['mfa'], auth_time: 1_000 } });

  t.test('a navigation without a session goes to sign-in and comes back', async (t) => {
    const answer = await ask('GET /a/b?x=1&y=%2F', navigation);
    t.equal(answer.status, 302);
    t.equal(headerOf(answer, 'location'), '/_sallyport/signin?return_to=%2Fa%2Fb%3Fx%3D1%26y%3D%252F');
    t.equal((await ask('HEAD /a', navigation)).status, 302);
    t.equal(
      (await ask('GET /a', 'Accept: text/html\r\n')).status,
      302,
      'without Sec-Fetch-*, Accept says so',
    );
  });

  t.test('anything else without a session gets 401 and JSON', async (t) => {
    for (const headers of [
      '',
      'Accept: application/json\r\n',
      'Accept: text/html\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n',
    ]) {
      const answer = await ask('GET /a', headers);
      t.equal(answer.status, 401);
      t.same(JSON.parse(answer.body.toString()), { error: 'session_required' });
    }
    t.equal(
      (await ask('GET /a', 'Cookie: __Host-sallyport=AAAA\r\n')).status,
      401,
      'a cookie that opens nothing',
    );
  });

  t.test('a form without a session gets a 401 page that echoes nothing', async (t) => {
    const answer = await ask('POST /a', `${navigation}Content-Length: 11\r\n`, 'secret=body');
    t.equal(answer.status, 401);
    t.match(headerOf(answer, 'content-type'), 'text/html');
    t.notMatch(answer.body.toString(), 'secret');
  });

  t.test('a session that no longer suffices signs in again', async (t) => {
    t.match(
      headerOf(await ask('GET /a', `${navigation}Cookie: ${aal1}\r\n`), 'location'),
      '/_sallyport/signin?return_to=',
    );
    const answer = await ask('GET /a', `Cookie: ${aal1}\r\n`);
    t.equal(answer.status, 401);
    t.match(answer.body.toString(), 'session_not_sufficient');
  });

  t.test(
    'too old a sign-in: a navigation steps up, anything else gets the challenge of RFC 9470',
    async (t) => {
      const page = await ask('GET /strong/x', `${navigation}Cookie: ${stale}\r\n`);
      t.equal(page.status, 302);
      t.equal(headerOf(page, 'location'), '/_sallyport/signin?step_up=1&source=test&return_to=%2Fstrong%2Fx');
      const challenge = await ask('GET /strong/x', `Cookie: ${stale}\r\n`);
      t.equal(challenge.status, 401);
      t.equal(
        headerOf(challenge, 'www-authenticate'),
        'Bearer error="insufficient_user_authentication", max_age=600',
      );
      t.match(JSON.parse(challenge.body.toString()), {
        error: 'insufficient_user_authentication',
        max_age: 600,
      });
      t.equal((await ask('GET /strong/x', `Cookie: ${cookie}\r\n`)).status, 200);
    },
  );

  t.test('a denied route is closed to everyone', async (t) => {
    t.equal((await ask('GET /denied/x')).status, 403);
    t.equal((await ask('GET /denied/x', `Cookie: ${cookie}\r\n`)).status, 403);
  });

  t.test('an unsafe method from elsewhere is refused', async (t) => {
    for (const headers of ['Sec-Fetch-Site: cross-site\r\n', 'Origin: https://evil.example\r\n']) {
      t.equal((await ask('POST /a', `Cookie: ${cookie}\r\n${headers}Content-Length: 0\r\n`)).status, 403);
    }
  });

  t.test('no cookie goes up and none comes back without a session; with one, all but ours', async (t) => {
    const anonymous = await ask('GET /public/a', 'Cookie: app=9; other=8\r\n');
    t.equal(anonymous.status, 200);
    t.equal(headerOf(anonymous, 'set-cookie'), undefined);
    t.equal(headerOf(upstream.seen.at(-1)!, 'cookie'), undefined);
    const known = await ask(
      'GET /public/a',
      `Cookie: app=9; ${cookie}\r\nCookie: __Host-sallyport-a-xyz=1; other=8\r\n`,
    );
    t.strictSame(
      known.headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value),
      ['app=1'],
    );
    t.strictSame(
      upstream.seen
        .at(-1)!
        .headers.filter(([name]) => name === 'Cookie')
        .map(([, value]) => value),
      ['app=9', 'other=8'],
    );
    t.equal(headerOf(upstream.seen.at(-1)!, 'x-forwarded-user'), 'zoe');
  });

  t.test('nothing under the prefix reaches the upstream, however it is spelt', async (t) => {
    const before = upstream.seen.length;
    const spellings = [
      '/_sallyport',
      '/_sallyport/',
      '/_sallyport/nothing',
      '/_SALLYPORT/whoami',
      '/%5fsallyport/whoami',
      '/%5Fsallyport/whoami',
      '//_sallyport/whoami',
      '/_sallyport//whoami',
      '/_sallyport/./whoami',
      '/x/../_sallyport/whoami',
      '/_sallyport%2fwhoami',
      '/_sallyport%2Fwhoami',
      '/%2f_sallyport/whoami',
      '/_sallyport/%77hoami',
      '/_sallyport;a=b/whoami',
      '/_sallyport/..%2fwhoami',
      '/_sallyport\\whoami',
      '/_sallyport/whoami/',
      '/_sallyport/whoami/x',
      '/_sallyport/who%00',
      '/_sallyport/%zz',
      '/_s%61llyport/x',
    ];
    for (const target of spellings) {
      for (const headers of ['', `Cookie: ${cookie}\r\n`]) {
        const answer = await ask(`GET ${target}`, headers);
        t.ok([400, 404].includes(answer.status), `${target}: ${answer.status}`);
      }
      t.ok(
        [400, 404].includes((await ask(`PROPFIND ${target}`, `Cookie: ${cookie}\r\n`)).status),
        `PROPFIND ${target}`,
      );
    }
    t.equal(upstream.seen.length, before);
    t.equal((await ask('GET /_sallyport/whoami')).status, 200, 'the plain spelling is answered here');
    t.equal(
      (await ask('GET /_sallyportx', `Cookie: ${cookie}\r\n`)).status,
      200,
      'a neighbour is no part of it',
    );
  });

  t.test('the store down: 503 where a session is needed, public routes go on, cookies stay', async (t) => {
    storeIsUp = false;
    const answer = await ask('GET /a', `Cookie: ${cookie}\r\n`);
    t.equal(answer.status, 503);
    t.ok(headerOf(answer, 'retry-after'));
    t.equal(headerOf(answer, 'set-cookie'), undefined);
    const open = await ask('GET /public/a', `Cookie: ${cookie}; app=1\r\n`);
    t.equal(open.status, 200);
    t.equal(headerOf(upstream.seen.at(-1)!, 'cookie'), undefined);
    t.equal(headerOf(upstream.seen.at(-1)!, 'x-forwarded-user'), undefined);
    t.equal((await ask('GET /denied/x', `Cookie: ${cookie}\r\n`)).status, 403);
    storeIsUp = true;
    t.equal((await ask('GET /a', `Cookie: ${cookie}\r\n`)).status, 200);
  });

  t.test('TRACE is not for us', async (t) => {
    t.equal((await ask('TRACE /a', `Cookie: ${cookie}\r\n`)).status, 405);
  });

  t.test('an error of our own shows no stack', async (t) => {
    const answer = await ask('GET /_sallyport/broken');
    t.equal(answer.status, 500);
    t.same(JSON.parse(answer.body.toString()), { error: 'internal' });
    t.equal(harness.faults.length, 1);
  });

  t.test('each request is logged once, without its query', async (t) => {
    const before = harness.entries.length;
    await ask('GET /a?secret=1', `Cookie: ${cookie}\r\n`);
    await ask('GET /a');
    await ask('GET /_sallyport/whoami');
    t.match(harness.entries.slice(before), [
      {
        status: 200,
        route: 'default',
        access: 'session',
        user: { id: 'sub-1', name: 'zoe' },
        source: 'test',
      },
      { status: 401, route: 'default', access: 'session', user: undefined },
      { status: 200, route: 'sallyport' },
    ]);
  });
});

t.test('the store down: a page of the forge that our sign-in stands in for waits as well', async (t) => {
  const store: Store = {
    ...createMemoryStore(systemClock),
    get: () => Promise.reject(new SallyportError('store_unavailable', 'down')),
  };
  const harness = await startHarness({ upstream: { url: 'http://127.0.0.1:9', preset: 'gitea' }, store });
  t.teardown(() => harness.close());
  const answer = await exchange(
    harness.port,
    `GET /user/login HTTP/1.1\r\nHost: ${host}\r\nCookie: __Host-sallyport=${'A'.repeat(43)}\r\n${navigation}\r\n`,
  );
  t.equal(answer.status, 503, 'who may be signed in is not sent to sign in anew');
  t.equal(headerOf(answer, 'set-cookie'), undefined);
});
