import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { SallyportError } from '../../src/kernel/error.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn } from './house.ts';

const directory = mkdtempSync(join(tmpdir(), 'sallyport-logo-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const logo = join(directory, 'logo.svg');
writeFileSync(logo, '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>');
const house = await openHouse({
  config: { branding: { product_name: 'Acme <Forge>', logo_file: logo, support_url: 'javascript:alert(1)' } },
});
t.teardown(() => house.close());
const agent = new UserAgent();
const at = (path: string): string => `${house.origin}${prefix}${path}`;

t.test(
  'whatever else stands under the prefix is 404, for every method, and never the upstream',
  async (t) => {
    for (const path of [
      '',
      '/',
      '/nothing',
      '/signin/',
      '/signin/x',
      '/callback',
      '/callback/main/x',

      '/admin?x=1',
    ]) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const answer = await agent.request(method, at(path), {
          headers: { 'content-type': 'text/x-odd' },
          body: '{',
        });
        t.equal(answer.status, 404, `${method} ${path}`);
        t.match(answer.json(), { error: 'not_found', message: /./, request_id: /./ });
      }
    }
    const page = await agent.request('GET', at('/nothing'), { navigate: true });
    t.equal(page.status, 404);
    t.match(page.body, 'There is nothing here');
  },
);

t.test('another method than the endpoint takes is 405 and says which it takes', async (t) => {
  for (const [method, path, allow] of [
    ['POST', '/signin', 'GET, HEAD'],
    ['HEAD', '/callback/main?code=x', 'GET'],
    ['POST', '/callback/main', 'GET'],
    ['PUT', '/signout', 'GET, HEAD, POST'],
    ['DELETE', '/whoami', 'GET, HEAD'],
    ['POST', '/jwks.json', 'GET, HEAD'],
  ] as const) {
    const answer = await agent.request(method, at(path), {
      headers: { 'content-type': 'application/x-odd' },
    });
    t.equal(answer.status, 405, `${method} ${path}`);
    t.equal(answer.headers.allow, allow);
  }
});

t.test('every page has the security headers, and keeps nothing', async (t) => {
  for (const path of ['/signed-out', '/nothing', '/callback/main?error=x', '/signin?source=nobody']) {
    const { headers } = await agent.request('GET', at(path), { navigate: true });
    t.match(headers, {
      'cache-control': 'no-store',
      'content-security-policy':
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      'referrer-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'content-type': 'text/html; charset=utf-8',
    });
  }
});

t.test('whoami without a session is 401 in JSON, for a browser too, and a HEAD has no body', async (t) => {
  for (const navigate of [true, false]) {
    const answer = await agent.request('GET', at('/whoami'), { navigate });
    t.equal(answer.status, 401);
    t.equal(answer.json().error, 'session_required');
    t.equal(answer.headers['cache-control'], 'no-store');
  }
  const head = await agent.request('HEAD', at('/whoami'));
  t.equal(head.status, 401);
  t.equal(head.body, '');
});

t.test('a session whose source is gone, or is another client now, is none', async (t) => {
  const moving = await openHouse();
  t.teardown(() => moving.close());
  const user = new UserAgent();
  await signIn(moving, user);
  const url = `${moving.origin}${prefix}/whoami`;
  t.equal((await user.request('GET', url)).status, 200);
  await moving.reload({ main: { client_id: 'another' } });
  t.equal((await user.request('GET', url)).json().error, 'session_not_sufficient');
  await moving.reload({ main: { mfa: { aal2_amr_values: ['hwk'] } } });
  t.equal(
    (await user.request('GET', url)).status,
    401,
    'under enforce, what is AAL1 by the policy in force opens nothing',
  );
  await moving.reload({ main: {} });
  t.equal((await user.request('GET', url)).status, 200);
});

t.test('jwks.json shows the keys', async (t) => {
  const answer = await agent.request('GET', at('/jwks.json'));
  t.same(answer.json(), { keys: [{ kty: 'EC', kid: 'one' }] });
  t.match(answer.headers['content-type'], 'application/json');
});

t.test('stylesheet and logo are kept for ever, and nothing in a logo runs', async (t) => {
  const page = await agent.request('GET', at('/signed-out'), { navigate: true });
  t.match(page.body, 'Acme &lt;Forge&gt;');
  t.notMatch(page.body, 'javascript:', 'only a web address becomes the support link');
  const files = [...page.body.matchAll(/(?:href|src)="([^"]*\/assets\/[^"]+)"/g)].map(([, file]) => file!);
  t.equal(new Set(files).size, 2);
  for (const file of new Set(files)) {
    const answer = await agent.request('GET', house.origin + file);
    t.equal(answer.status, 200, file);
    t.equal(answer.headers['cache-control'], 'public, max-age=31536000, immutable');
    t.match(answer.headers['content-security-policy'], /default-src 'none'.*sandbox/);
  }
  t.equal((await agent.request('GET', at('/assets/logo.svg'))).status, 404);
});

t.test('a Host that is not ours: 421, and a way to the right one', async (t) => {
  const page = await agent.request('GET', at('/signin'), {
    navigate: true,
    headers: { host: 'evil.example' },
  });
  t.equal(page.status, 421);
  t.match(page.body, `href="${house.origin}/"`);
});

t.test('a form that is too large or broken is refused, and not repeated', async (t) => {
  for (const [body, type, status] of [
    ['x'.repeat(5000), 'application/x-www-form-urlencoded', 413],
    ['{"a":', 'application/json', 400],
    ['<x/>', 'application/xml', 415],
  ] as const) {
    const answer = await agent.request('POST', at('/signout'), { headers: { 'content-type': type }, body });
    t.equal(answer.status, status, type);
    t.match(answer.json(), { error: /^request_/ });
    t.notMatch(answer.body, body.slice(0, 5));
  }
});

t.test(
  'more sign-ins than allowed: 429 with Retry-After, counted, for this client and source alone',
  async (t) => {
    const strict = await openHouse({ sources: { main: {}, other: {} }, signInRate: '3/1m' });
    t.teardown(() => strict.close());
    const ask = (source: string) =>
      agent.request('GET', `${strict.origin}${prefix}/signin?source=${source}`, { navigate: true });
    for (let count = 0; count < 3; count += 1) t.equal((await ask('main')).status, 302);
    const page = await ask('main');
    t.equal(page.status, 429);
    t.ok(Number(page.headers['retry-after']) >= 1);
    t.match(page.body, 'Too many attempts');
    t.ok(strict.counted.includes('rateLimited signin'));
    t.equal((await ask('other')).status, 302);
  },
);

t.test('whatever asks the store or the identity provider is held to the rate, each by itself', async (t) => {
  const strict = await openHouse({ signInRate: '3/1m' });
  t.teardown(() => strict.close());
  for (const [method, path, earlier] of [
    ['GET', '/callback/main?state=x&code=y', 3],
    ['GET', '/canary/main', 3],
    ['GET', '/frontchannel-logout/main?iss=x&sid=y', 3],
    ['GET', '/signout', 3],
    ['POST', '/signout', 0],
  ] as const) {
    const ask = async () =>
      (await new UserAgent().request(method, `${strict.origin}${prefix}${path}`)).status;
    for (let count = 0; count < earlier; count += 1) t.not(await ask(), 429, `${method} ${path}`);
    t.equal(await ask(), 429, `${method} ${path}`);
  }
});

t.test('every rate that the configuration takes is one that the endpoints keep', async (t) => {
  for (const rate of ['1/1s', '10000000/1m', '999999999/7d']) {
    const wide = await openHouse({ signInRate: rate });
    const { status } = await agent.request('GET', `${wide.origin}${prefix}/signin`, { navigate: true });
    t.equal(status, 302, rate);
    await wide.close();
  }
});

t.test(
  'an unexpected exception: 500 with the request id, the fault in the log, and the process goes on',
  async (t) => {
    let breaks = false;
    const broken = await openHouse({
      wrapStore: (store) => ({
        ...store,
        get: (key) => (breaks ? Promise.reject(new TypeError('secret internals')) : store.get(key)),
      }),
    });
    t.teardown(() => broken.close());
    const user = new UserAgent();
    await signIn(broken, user);
    breaks = true;
    // What memory holds is served; another browser with that cookie's like has to ask the store.
    user.setCookie(broken.origin, `sallyport=${'A'.repeat(43)}; Path=/`);
    for (const path of ['/whoami', '/signout']) {
      const answer = await user.request('GET', `${broken.origin}${prefix}${path}`);
      t.equal(answer.status, 500);
      t.match(answer.json(), { error: 'internal', request_id: /./ });
      t.notMatch(answer.body, /secret|TypeError/);
      t.same(answer.setCookies, []);
    }
    t.equal(broken.faults.length, 2);
    t.equal((await user.request('GET', `${broken.origin}${prefix}/signed-out`)).status, 200);
  },
);

t.test(
  'the store is down: 503 with Retry-After from whoami and sign-out, and no cookie is cleared',
  async (t) => {
    let down = false;
    const guarded =
      <Args extends readonly unknown[], T>(work: (...args: Args) => Promise<T>) =>
      (...args: Args): Promise<T> =>
        down ? Promise.reject(new SallyportError('store_unavailable', 'redis at 10.0.0.1')) : work(...args);
    const outage = await openHouse({
      wrapStore: (store) => ({
        ...store,
        get: guarded(store.get.bind(store)),
        delete: guarded(store.delete.bind(store)),
      }),
    });
    t.teardown(() => outage.close());
    const user = new UserAgent();
    await signIn(outage, user);
    outage.clock.offsetMs = 6000;
    down = true;
    for (const [method, path] of [
      ['GET', '/whoami'],
      ['GET', '/signout'],
      ['POST', '/signout'],
    ] as const) {
      const answer = await user.request(method, `${outage.origin}${prefix}${path}`, {
        navigate: path !== '/whoami',
      });
      t.equal(answer.status, 503, `${method} ${path}`);
      t.ok(Number(answer.headers['retry-after']) > 0);
      t.same(answer.setCookies, []);
      t.notMatch(answer.body, '10.0.0.1');
    }
    down = false;
    t.equal((await user.request('GET', `${outage.origin}${prefix}/whoami`)).status, 200, 'still signed in');
  },
);
