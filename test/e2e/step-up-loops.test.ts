import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp, type TestOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { UserAgent } from '../support/user-agent.ts';

/*
 * Whatever a browser, its tabs, the sources and the clocks do: a navigation ends in a page, after at most one sign-in and one step-up.
 * The user agent throws at the 21st redirect.
 */

type Json = Record<string, unknown>;

class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

interface Behaviour {
  /** Seconds by which the IdP's own clock is ahead of ours: all times of its tokens. */
  clock: number;
  /** `auth_time`, in seconds from the IdP's now; undefined: none. */
  authTime: number | undefined;
  amr: readonly string[];
  more: Json;
}

async function furnish(mfa: Json = {}, signIns = '10000/1m') {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const clock = new MovableClock();
  const behaviour = (): Behaviour => ({ clock: 0, authTime: 0, amr: ['pwd', 'mfa'], more: {} });
  const said = { one: behaviour(), two: behaviour() };
  const ops = { one: await start('one'), two: await start('two') };
  async function start(id: 'one' | 'two'): Promise<TestOp> {
    const op = await startOp({ clients: [clientOf(origin, id)], acrValues: ['gold'] });
    op.tamperIdToken = ({ claims }) => {
      const { clock: skew, authTime, amr, more } = said[id];
      const offset = Math.round(clock.offsetMs / 1000) + skew;
      const now = Math.floor(clock.nowMs() / 1000) + skew;
      const token: Json = {
        ...claims,
        acr: undefined,
        ...{ iat: Number(claims['iat']) + offset, exp: Number(claims['exp']) + offset },
        ...{
          auth_time: now + (authTime ?? 0),
          amr,
          preferred_username: `alice-${id}`,
          email: `alice@${id}.example`,
        },
        ...more,
      };
      if (authTime === undefined) delete token['auth_time'];
      return { claims: token };
    };
    return op;
  }
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: (['one', 'two'] as const).map((id) => ({
      id,
      issuer: ops[id].issuer,
      mfa_setup_url: `https://${id}.example/second-factor`,
      mfa: { mode: 'report_only', ...mfa },
    })),
    config: {
      server: { rate_limit: { sign_in: signIns } },
      session: { idle_timeout: '48h', absolute_timeout: '72h' },
      routes: [
        { name: 'fresh', path: '/fresh/**', max_auth_age: '1m' },
        { name: 'admin', path: '/admin/**', require_aal: 'aal2', max_auth_age: '15m' },
        { name: 'strong', path: '/strong/**', require_aal: 'aal2' },
        { name: 'of-two', path: '/two/**', sources: ['two'], require_aal: 'aal2' },
      ],
    },
    app: { clock },
  });
  return {
    ...{ origin, clock, said, ops, sallyport, upstream },
    trips: () => ops.one.count('token') + ops.two.count('token'),
    signIn: async (id: string, returnTo = '/hello') => {
      const browser = new UserAgent();
      await browser.follow(`${origin}/_sallyport/signin?source=${id}&return_to=${returnTo}`);
      return browser;
    },
    async close() {
      await sallyport.close();
      for (const op of Object.values(ops)) await op.stop();
      await upstream.close();
    },
  };
}

type House = Awaited<ReturnType<typeof furnish>>;

/** Looks at pages in turn; each is answered, and none costs more than a trip. @returns statuses and trips */
async function wander(house: House, browser: UserAgent, paths: readonly string[]) {
  const statuses: number[] = [];
  const trips: number[] = [];
  for (const path of paths) {
    const before = house.trips();
    statuses.push((await browser.follow(`${house.origin}${path}`)).last.status);
    trips.push(house.trips() - before);
  }
  return { statuses, trips };
}

t.test('routes that ask for different things, back and forth', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { said, clock } = house;
  said.one.amr = ['pwd'];
  const weak = await house.signIn('one');
  const pages = ['/strong/x', '/fresh/x', '/admin/x', '/strong/x', '/fresh/x', '/admin/x', '/hello'];
  const { statuses, trips } = await wander(house, weak, pages);
  t.same(statuses, [403, 200, 403, 403, 200, 403, 200], 'a password is fresh, and no more');
  t.same(trips, [1, 0, 0, 0, 0, 0, 0], 'asked for once');
  said.one.authTime = -100_000;
  const stale = await house.signIn('one');
  const again = await wander(house, stale, pages);
  t.same(again.statuses, [403, 403, 403, 403, 403, 403, 200]);
  t.same(again.trips, [1, 0, 0, 0, 0, 0, 0]);
  for (let minute = 0; minute < 5; minute += 1) {
    clock.offsetMs += 150_000;
    const later = await wander(house, stale, ['/fresh/x', '/admin/x', '/fresh/x', '/strong/x']);
    t.same(later.statuses, [403, 403, 403, 403]);
    t.same(later.trips, [1, 0, 0, 0], 'once more when the minute is over, and no more');
  }
});

for (const [title, change, status] of [
  ['its clock is ten minutes behind, tokens and all', { clock: -590 }, [200, 403]],
  ['its clock is far behind', { clock: -3600 }, [403, 403]],
  ['its clock is ten minutes ahead, tokens and all', { clock: 600 }, [403, 403]],
  ['its sign-ins are ten minutes ahead', { authTime: 600 }, [403, 403]],
  ['its sign-ins are ten minutes behind', { authTime: -600 }, [200, 403]],
  ['it sends no auth_time', { authTime: undefined }, [403, 403]],
  ['its auth_time is text', { more: { auth_time: '1800000000' } }, [403, 403]],
  ['its auth_time is a fraction', { more: { auth_time: 1_800_000_000.5 } }, [403, 403]],
] as const) {
  t.test(`an IdP: ${title}`, async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const browser = await house.signIn('one');
    house.clock.offsetMs += 1_000_000;
    Object.assign(house.said.one, change);
    const paths = ['/admin/x', '/fresh/x'];
    const first = await wander(house, browser, paths);
    t.same(first.statuses, status);
    for (const trips of first.trips) t.ok(trips <= 1, `${trips} trips`);
    Object.assign(house.said.one, { clock: 0, authTime: 0, more: {} });
    house.clock.offsetMs += 1_000_000;
    t.same((await wander(house, browser, paths)).statuses, [200, 200], 'and heals with it');
  });
}

t.test(
  'max_auth_age of the source, and an IdP that sends no auth_time: refused, with or without a session',
  async (t) => {
    for (const mode of ['enforce', 'report_only']) {
      const house = await furnish({ mode, max_auth_age: '1h' });
      t.teardown(() => house.close());
      house.said.one.authTime = undefined;
      const browser = new UserAgent();
      const { last } = await browser.follow(
        `${house.origin}/_sallyport/signin?source=one&return_to=/strong/x`,
      );
      t.equal(last.status, 403, mode);
      t.match(last.body, 'auth_time_missing', mode);
      t.ok(house.trips() <= 2, mode);
      const { trips } = await wander(house, browser, mode === 'enforce' ? [] : ['/strong/x', '/admin/x']);
      t.ok(
        trips.every((each) => each === 0),
        mode,
      );
      const told = house.sallyport.log.lines().filter(({ reason }) => reason === 'auth_time_missing');
      t.match(told, [{ 'log.level': 'warn', auth_source: 'one' }], 'the operator is told, once');
    }
  },
);

t.test('the operator is told of an IdP that ignores max_age: once an hour for each source', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { said, clock, sallyport } = house;
  const told = () => sallyport.log.lines().filter(({ message }) => /max_age/.test(String(message)));
  said.one.authTime = -5000;
  said.two.authTime = -5000;
  for (let n = 0; n < 3; n += 1) await wander(house, await house.signIn('one'), ['/admin/x']);
  t.match(told(), [{ 'log.level': 'warn', auth_source: 'one', reason: 'auth_too_old' }]);
  await wander(house, await house.signIn('two'), ['/admin/x']);
  t.equal(told().length, 2);
  clock.offsetMs += 3_700_000;
  await wander(house, await house.signIn('one'), ['/admin/x']);
  t.equal(told().length, 3);
});

t.test('two tabs step up at once, with an IdP that helps neither', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, said } = house;
  said.one.amr = ['pwd'];
  const browser = await house.signIn('one');
  const toIdp = (path: string) =>
    browser.follow(`${origin}${path}`, { until: (url) => !url.startsWith(origin) });
  const tabs = [await toIdp('/strong/a'), await toIdp('/admin/b'), await toIdp('/strong/c')];
  const ends = [];
  for (const tab of tabs.toReversed()) ends.push((await browser.follow(tab.last.location!)).last);
  t.same(
    ends.map(({ status, url }) => [status, new URL(url).pathname]),
    [
      [403, '/strong/c'],
      [403, '/admin/b'],
      [403, '/strong/a'],
    ],
  );
  const before = house.trips();
  t.equal((await browser.follow(`${origin}/strong/a`)).last.status, 403);
  t.equal(house.trips(), before);
  t.equal((await browser.follow(`${origin}/hello`)).last.status, 200, 'still signed in');
  said.one.amr = ['mfa'];
  const later = [await browser.follow(`${origin}/_sallyport/signin?source=one&fresh=1&return_to=/strong/a`)];
  t.equal(later[0]!.last.status, 200, 'by the way that the page shows');
});

t.test('cookies that are lost on the way: a page says so, and nothing goes round', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, clock } = house;
  const browser = await house.signIn('one', '/admin/x');
  clock.offsetMs += 1_000_000;
  const toIdp = await browser.follow(`${origin}/admin/x`, { until: (url) => !url.startsWith(origin) });
  const toCallback = await browser.follow(toIdp.last.location!, {
    until: (url) => url.startsWith(`${origin}/_sallyport/callback/`),
  });
  const amnesiac = new UserAgent();
  const { last, chain } = await amnesiac.follow(toCallback.last.location!);
  t.equal(last.status, 400);
  t.equal(chain.length, 1);
  t.match(last.body, /signin\?/, 'with a way to begin anew');
  t.equal((await browser.follow(toCallback.last.location!)).last.status, 200, 'who has them comes through');
  const before = house.trips();
  t.equal((await browser.request('GET', toCallback.last.location!, { navigate: true })).status, 400);
  t.equal(house.trips(), before, 'back in the history redeems nothing');
  t.equal((await browser.follow(`${origin}/admin/x`)).last.status, 200, 'and harms nothing');
});

t.test(
  'a browser that keeps every cookie but the session goes round no longer than the bound on sign-ins',
  async (t) => {
    const house = await furnish({}, '5/1m');
    t.teardown(() => house.close());
    const { origin } = house;
    const browser = new UserAgent();
    let url = `${origin}/_sallyport/signin?source=one&return_to=/hello`;
    let last = await browser.request('GET', url, { navigate: true });
    for (let hops = 0; last.location !== undefined && hops < 100; hops += 1) {
      browser.setCookie(origin, 'sallyport=; Path=/; Max-Age=0');
      url = last.location;
      last = await browser.request('GET', url, { navigate: true });
      // With several sources a person chooses each time; here a program chooses for them.
      if (last.status === 200 && last.url.includes('/signin?'))
        last = await browser.request('GET', `${last.url}&source=one`, { navigate: true });
    }
    t.equal(last.status, 429);
    t.ok(house.trips() <= 5);
  },
);

t.test('a step-up with another source is a sign-in of its own', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, said, sallyport } = house;
  said.one.amr = ['pwd'];
  const browser = await house.signIn('one');
  const { last } = await browser.follow(
    `${origin}/_sallyport/signin?step_up=1&source=two&return_to=/strong/x`,
  );
  t.equal(last.status, 200);
  const whoami = (await browser.request('GET', `${origin}/_sallyport/whoami`)).json();
  t.match(whoami, { identity: { username: 'alice-two' } });
  const ended = sallyport.audit.lines().filter(({ action }) => action === 'session.ended');
  t.match(ended, [{ why: 'subject_changed', auth_source: 'one' }]);
  t.notOk(sallyport.audit.lines().find(({ action }) => action === 'session.stepped_up'));
  t.equal((await browser.follow(`${origin}/two/x`)).last.status, 200);
  const other = await house.signIn('one');
  const { statuses, trips } = await wander(house, other, ['/two/x', '/two/x', '/strong/x', '/two/x']);
  t.same(statuses, [403, 403, 403, 403], 'who is not meant is not sent anywhere');
  t.same(trips, [0, 0, 1, 0]);
});

t.test('sources in turn, tabs in turn: each navigation ends', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, said, clock } = house;
  const browser = new UserAgent();
  await browser.follow(`${origin}/_sallyport/signin?source=one&return_to=/hello`);
  const pages = ['/strong/x', '/fresh/x', '/admin/x', '/two/x'];
  for (let turn = 0; turn < 24; turn += 1) {
    const id = turn % 2 === 0 ? 'one' : 'two';
    said[id].amr = turn % 3 === 0 ? ['pwd'] : ['mfa'];
    said[id].authTime = [0, -100, 30, undefined][turn % 4];
    clock.offsetMs += [0, 20_000, 130_000, -40_000][turn % 4]!;
    const before = house.trips();
    const { last } = await browser.follow(`${origin}${pages[turn % pages.length]!}`);
    t.ok(last.status === 200 || last.status === 403, `${last.status}`);
    t.ok(house.trips() - before <= 1);
    if (turn % 5 === 4) {
      const sent = await browser.follow(
        `${origin}/_sallyport/signin?step_up=1&source=${id}&return_to=${pages[turn % pages.length]!}`,
      );
      t.ok(sent.last.status === 200 || sent.last.status === 403);
    }
  }
});

t.test('the IdP brings back no more: the page says what was missing, and what to do', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, said } = house;
  said.one.amr = ['pwd'];
  const browser = await house.signIn('one');
  const { last } = await browser.follow(`${origin}/strong/x?q=1`);
  t.equal(last.status, 403);
  const text = last.body;
  for (const [what, pattern] of [
    ['what happened', /MFA was not asserted/],
    ['a second factor', /href="https:\/\/one\.example\/second-factor"/],
    ['another try, for this page', /href="[^"]*\/signin\?[^"]*fresh=1/],
    ['another account', /href="[^"]*\/signin\?[^"]*account=select/],
    ['the reason', /aal2_required: amr_not_mfa/],
    ['in words', /This page needs a sign-in with a second factor\. \S/],
    ['what was sent', /pwd/],
    ['whom to name', /one/],
  ] as const)
    t.match(text, pattern, what);
  const tryAgain = /href="([^"]*signin\?[^"]*fresh=1[^"]*)"/.exec(text)?.[1]?.replaceAll('&amp;', '&');
  t.match(tryAgain, /return_to=%2Fstrong%2Fx%3Fq%3D1/);
  const before = house.trips();
  t.equal((await browser.follow(new URL(tryAgain!, origin).href)).last.status, 403);
  t.equal(house.trips() - before, 1, 'one fresh sign-in for one try, not two');
  said.one.amr = ['mfa'];
  const after = await browser.follow(new URL(tryAgain!, origin).href);
  t.equal(after.last.status, 200, 'and doing so helps');
  t.equal(after.last.url, `${origin}/strong/x?q=1`);
});

t.test('a step-up sends what the source asks for in claims', async (t) => {
  const house = await furnish({
    preset: 'custom',
    requested_claims: { id_token: { acrs: { essential: true, value: 'c2' } } },
    aal2_claims: { acrs: ['c2'] },
  });
  t.teardown(() => house.close());
  const { origin, said, ops, sallyport } = house;
  said.one.amr = ['pwd'];
  const browser = await house.signIn('one');
  said.one.more = { acrs: ['c1', 'c2'] };
  t.equal((await browser.follow(`${origin}/admin/x`)).last.status, 200);
  const asked = ops.one.requests
    .filter(({ endpoint }) => endpoint === 'par' || endpoint === 'authorization')
    .findLast(({ params }) => params['claims'] !== undefined)?.params;
  t.match(asked, { max_age: '900', prompt: 'login' });
  t.match(JSON.parse(asked!['claims']!), { id_token: { acrs: { value: 'c2' } } });
  t.match(
    sallyport.audit.lines().find(({ action }) => action === 'session.stepped_up'),
    { aal: 'aal2', evidence: { claim: 'acrs', value: 'c2' }, satisfied: true },
    'new evidence',
  );
});

t.test('RFC 9470 for everything that is no navigation', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, clock, upstream } = house;
  const browser = await house.signIn('one');
  clock.offsetMs += 1_000_000;
  const cookie = browser
    .cookies(origin)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ');
  const { host, port } = new URL(origin);
  const from = `Host: ${host}\r\nCookie: ${cookie}\r\nOrigin: ${origin}\r\nSec-Fetch-Site: same-origin\r\n`;
  const page = 'Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n';
  for (const [title, method, headers] of [
    ['a fetch', 'GET', 'Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nAccept: text/html\r\n'],
    ['a frame', 'GET', `${page}Sec-Fetch-Dest: iframe\r\n`],
    ['an image', 'GET', 'Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n'],
    ['a form', 'POST', `${page}Sec-Fetch-Dest: document\r\nContent-Length: 0\r\n`],
    ['a change', 'PUT', 'Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nContent-Length: 0\r\n'],
    ['a removal', 'DELETE', 'Accept: */*\r\n'],
    ['a WebDAV method', 'PROPFIND', ''],
    [
      'a WebSocket',
      'GET',
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
    ],
  ] as const) {
    const answer = await exchange(
      Number(port),
      `${method} /admin/x HTTP/1.1\r\n${from}${headers}\r\n`,
      method,
    );
    t.equal(answer.status, 401, title);
    t.match(
      headerOf(answer, 'www-authenticate'),
      /^Bearer error="insufficient_user_authentication".*max_age=900/,
      title,
    );
    t.equal(headerOf(answer, 'location'), undefined, title);
  }
  t.equal(upstream.seen.filter(({ url }) => url.startsWith('/admin')).length, 0);
});
