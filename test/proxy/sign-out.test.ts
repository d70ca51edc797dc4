import t from 'tap';
import { SallyportError } from '../../src/kernel/error.ts';
import type { EndSession } from '../../src/proxy/types.ts';
import { exchange, headerOf, RawClient } from '../support/raw-http.ts';
import { until } from '../support/until.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { startHarness } from './harness.ts';

const host = 'forge.example.com';
const person =
  'Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Site: same-origin\r\nAccept: text/html\r\n';
const script = 'Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n';
const big = 'x'.repeat(1_500_000);

/** What the upstream says to a sign-out, by its query. */
const answers: Readonly<Record<string, string>> = {
  redirect:
    'HTTP/1.1 303 See Other\r\nLocation: /\r\nSet-Cookie: i_like_gitea=; Max-Age=0\r\nContent-Length: 5\r\n\r\nmoved',
  page: `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${big.length}\r\n\r\n${big}`,
  chunked: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${big.length.toString(16)}\r\n${big}\r\n0\r\n\r\n`,
  json: 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"redirect":"/"}',
  empty: 'HTTP/1.1 204 No Content\r\n\r\n',
  head: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
  refused: 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno',
  broken: 'HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno',
};

const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

t.test("the upstream's sign-out", async (t) => {
  const upstream = await startRawUpstream(({ socket, path }) => {
    const answer = answers[path.split('?')[1] ?? ''];
    if (path === '/socket') socket.write(switching);
    else if (answer === undefined) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    else socket.write(answer);
  });
  let ended = 0;
  let end: EndSession = async () => ({ location: '/gone', setCookies: ['a=; Max-Age=0', 'b=; Max-Age=0'] });
  const usual = end;
  const harness = await startHarness({
    upstream: { url: upstream.url, preset: 'gitea' },
    endSession: (...given) => {
      ended += 1;
      return end(...given);
    },
  });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = await harness.signIn();
  const ask = (method: string, query: string, headers: string) =>
    exchange(
      harness.port,
      `${method} /user/logout?${query} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n${headers}\r\n`,
      method,
    );
  const cookiesOf = (answer: { headers: readonly (readonly [string, string])[] }) =>
    answer.headers.filter(([name]) => name.toLowerCase() === 'set-cookie').map(([, value]) => value);

  t.test('a person goes where our own sign-out leads, whatever the upstream answered', async (t) => {
    for (const query of ['redirect', 'page', 'chunked', 'json', 'empty']) {
      const before = ended;
      const answer = await ask('GET', query, person);
      t.strictSame([answer.status, headerOf(answer, 'location')], [303, '/gone'], query);
      t.strictSame(cookiesOf(answer), ['a=; Max-Age=0', 'b=; Max-Age=0'], query);
      t.equal(answer.body.length, 0, query);
      t.equal(ended, before + 1, query);
    }
    const head = await ask('HEAD', 'head', person);
    t.strictSame([head.status, headerOf(head, 'location')], [303, '/gone']);
    t.equal(harness.entries.at(-1)?.status, 303);
    t.equal(harness.entries.at(-1)?.route, 'forge-logout');
  });

  t.test("a script gets the upstream's answer, whole, with the expired cookies", async (t) => {
    for (const [query, status, length] of [
      ['json', 200, 16],
      ['page', 200, big.length],
      ['chunked', 200, big.length],
      ['empty', 204, 0],
      ['redirect', 303, 5],
    ] as const) {
      const answer = await ask('POST', query, script);
      t.strictSame([answer.status, answer.body.length, answer.complete], [status, length, true], query);
      t.strictSame(cookiesOf(answer).slice(-2), ['a=; Max-Age=0', 'b=; Max-Age=0'], query);
    }
  });

  t.test('what the upstream does not do, does not happen here either', async (t) => {
    const before = ended;
    for (const query of ['refused', 'broken']) {
      const answer = await ask('POST', query, script);
      t.match(answer.status, query === 'refused' ? 403 : 500);
      t.strictSame(cookiesOf(answer), []);
    }
    t.equal(ended, before);
  });

  t.test('it closes the WebSockets of its session, and those of no other', async (t) => {
    const open = async (owner: string) => {
      const client = new RawClient(harness.port);
      client.send(
        `GET /socket HTTP/1.1\r\nHost: ${host}\r\nCookie: ${owner}\r\nOrigin: https://${host}\r\n${upgrade}\r\n`,
      );
      t.equal((await client.response()).status, 101);
      return client;
    };
    const [own, other] = [await open(cookie), await open(await harness.signIn())];
    t.equal((await ask('POST', 'json', script)).status, 200);
    await own.until(() => own.closed !== 'open');
    t.equal(other.closed, 'open');
    t.equal(harness.app.upgradedSockets.size, 1);
    other.close();
  });

  t.test(
    'a store that fails in the midst of it: 503, no cookie touched, and the connection goes on',
    async (t) => {
      end = async () => {
        throw new SallyportError('store_unavailable', 'down');
      };
      for (const query of ['redirect', 'page', 'chunked']) {
        const answer = await ask('GET', query, person);
        t.equal(answer.status, 503, query);
        t.match(headerOf(answer, 'retry-after'), /^\d+$/);
        t.strictSame(cookiesOf(answer), []);
      }
      end = async () => {
        throw new Error('a secret stack');
      };
      const answer = await ask('GET', 'redirect', person);
      t.equal(answer.status, 500);
      t.notMatch(answer.body.toString(), /secret/);
      t.match(harness.faults, [{ message: 'a secret stack' }], 'the unexpected is logged, and nothing else');
      t.equal(harness.faults.length, 1);
      end = usual;
    },
  );

  t.test(
    'nobody hears of it before the session has ended; a client that leaves meanwhile changes nothing',
    async (t) => {
      let finish: () => void = () => undefined;
      end = (...given) => new Promise((resolve) => (finish = () => resolve(usual(...given))));
      const before = ended;
      const client = new RawClient(harness.port);
      client.send(`GET /user/logout?page HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n${person}\r\n`);
      await until(() => ended === before + 1, 'the end of the session is under way');
      client.close();
      await until(() => harness.entries.at(-1)?.status === 499, 'the client is gone');
      finish();
      end = usual;
      t.equal((await ask('GET', 'redirect', person)).status, 303, 'the next one is served');
    },
  );
});
