import { mkdtempSync, rmSync } from 'node:fs';
import { METHODS } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { headerPresets } from '../../src/identity/presets.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { startAskingCaddy, startAskingNginx } from '../support/asking-proxy.ts';
import { startEnvoyShape } from '../support/envoy-shape.ts';
import { startEchoUpstream, type SeenByUpstream } from '../support/echo-upstream.ts';
import { signJws, startOp, type TestOp } from '../support/op.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { freePort } from '../support/ports.ts';
import { clientOf, startSallyport } from '../support/sallyport.ts';
import { UserAgent, type UserAgentResponse } from '../support/user-agent.ts';

const token = 'a'.repeat(40);

const routes = [
  { name: 'administration', path: '/admin/**', require_aal: 'aal2', max_auth_age: '15m' },
  { name: 'strong', path: '/strong/**', require_aal: 'aal2' },
  { name: 'open', path: '/open/**', access: 'public' },
  { name: 'git', path: '/git/**', access: 'credentials', credential_headers: ['Private-Token'] },
  { name: 'closed', path: '/closed/**', access: 'deny' },
  { name: 'api', path: '/api/**', access: 'bearer' },
];
const audience = 'https://app.example.com/api';

/** An access token of the IdP, for carol. */
function accessToken(op: TestOp, more: Readonly<Record<string, unknown>> = {}): string {
  const key = op.signingKey();
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    ...{ iss: op.issuer, sub: 'carol', aud: audience, client_id: 'a-tool', iat: now, exp: now + 600 },
    ...{ amr: ['pwd', 'mfa'], preferred_username: 'carol', email: 'carol@example.com', email_verified: true },
    ...more,
  };
  return signJws({ alg: key.alg, typ: 'at+jwt', kid: key.kid }, claims, key.privateKey, key.alg);
}

/** Sallyport, an IdP and an app; whoever is to ask stands on `origin`. */
async function furnish(
  trusted: readonly string[] = ['127.0.0.1/32'],
  upstream: Readonly<Record<string, unknown>> = {},
  inside = '127.0.0.1:0',
  mfa: Readonly<Record<string, unknown>> = { mode: 'report_only' },
  clock: Clock = systemClock,
) {
  const listen = await freePort();
  const origin = `http://127.0.0.1:${listen}`;
  const app = await startEchoUpstream();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sallyport = await startSallyport({
    origin,
    upstream: app.url,
    sources: [{ id: 'idp', issuer: op.issuer, mfa }],
    app: { clock },
    config: {
      server: { listen: inside, trusted_proxies: trusted },
      upstream: { url: app.url, ...upstream },
      routes,
      bearer: { audiences: [audience] },
    },
  });
  const port = (url: string): number => Number(new URL(url.includes('://') ? url : `http://${url}`).port);
  return {
    origin,
    app,
    op,
    sallyport,
    /** Where Sallyport itself answers. */
    inner: `http://127.0.0.1:${port(sallyport.listen)}`,
    ports: { listen, sallyport: port(sallyport.listen), app: port(app.url) },
    async close() {
      await sallyport.close();
      await op.stop();
      await app.close();
    },
  };
}

const seenIn = (answer: UserAgentResponse): SeenByUpstream => answer.json() as SeenByUpstream;

for (const [name, startProxy] of [
  ['nginx', startAskingNginx],
  ['Caddy', startAskingCaddy],
  ["Envoy's shape", startEnvoyShape],
] as const) {
  t.test(`${name}, as the example configures it`, async (t) => {
    const house = await furnish();
    const { origin, op, app } = house;
    t.teardown(() => house.close());
    const proxy = await startProxy(house.ports);
    t.teardown(() => proxy.close());
    const alice = new UserAgent();

    t.test('a person without a session signs in and comes back to the very page', async (t) => {
      const { chain, last } = await alice.follow(`${origin}/page?q=1&r=%2F`);
      t.equal(chain[0]?.status, 302);
      t.equal(
        chain[0]?.location,
        `${origin}/_sallyport/signin?return_to=${encodeURIComponent('/page?q=1&r=%2F')}`,
      );
      t.equal(last.status, 200);
      t.equal(last.url, `${origin}/page?q=1&r=%2F`);
    });

    t.test('the app gets the identity, and neither our cookie nor what the client made up', async (t) => {
      alice.setCookie(origin, 'theme=dark; Path=/');
      const answer = await alice.request('GET', `${origin}/page`, {
        headers: {
          'x-forwarded-user': 'root',
          'x-forwarded-groups': 'admins',
          'x-sallyport-assertion': 'made-up',
          ...Object.fromEntries(
            Object.values(headerPresets)
              .flat()
              .map(({ header }) => [header.toLowerCase(), 'root']),
          ),
          ...(name === 'Caddy' ? { 'x-sallyport-cookie': 'made=up' } : {}),
          authorization: `Bearer ${token}`,
        },
      });
      const { headers } = seenIn(answer);
      t.match(headers, {
        'x-forwarded-user': 'alice',
        'x-forwarded-email': 'alice@example.com',
        'x-forwarded-groups': 'dev',
        'x-forwarded-preferred-username': 'alice',
        'x-sallyport-assertion': /^ey[\w-]+\.[\w-]+\.[\w-]+$/,
        cookie: 'theme=dark',
      });
      t.notOk(headers['authorization'], 'the credential goes along on credentials routes alone');
      t.notMatch(JSON.stringify(headers), /made|root|sallyport=/);
    });

    t.test('anything but a person is told, and not sent anywhere', async (t) => {
      const tool = new UserAgent();
      const plain = await tool.request('GET', `${origin}/page`);
      t.equal(plain.status, 401);
      t.equal(plain.location, undefined);
      const git = await tool.request('GET', `${origin}/git/x`);
      t.equal(git.status, 401);
      t.match(git.headers['www-authenticate'], /^Basic realm=/);
      t.equal((await tool.request('POST', `${origin}/page`, { body: 'a=b' })).status, 401);
      t.equal((await alice.request('GET', `${origin}/closed/x`)).status, 403);
    });

    t.test('public: everyone, as nobody', async (t) => {
      const answer = await new UserAgent().request('GET', `${origin}/open/x`, {
        headers: {
          'x-forwarded-user': 'root',
          cookie: 'forge_session=old',
          authorization: `Bearer ${token}`,
        },
      });
      t.equal(answer.status, 200);
      const { headers } = seenIn(answer);
      t.notOk(headers['x-forwarded-user']);
      t.notOk(headers['cookie'], 'an old cookie of the app is no second way in');
      t.notOk(headers['authorization']);
    });

    t.test('a credential goes along where the route lets one in, and alone', async (t) => {
      const answer = await alice.request('GET', `${origin}/git/x`, {
        headers: { authorization: `Bearer ${token}` },
      });
      const { headers } = seenIn(answer);
      t.equal(headers['authorization'], `Bearer ${token}`);
      t.notOk(headers['x-forwarded-user']);
      t.notOk(headers['cookie']);
    });

    t.test('an access token opens a bearer route as its own user, and goes no further', async (t) => {
      const spoofed = { 'x-forwarded-user': 'root', cookie: 'theme=dark' };
      const authorization = `Bearer ${accessToken(op)}`;
      const answer = await alice.request('GET', `${origin}/api/x`, {
        headers: { ...spoofed, authorization },
      });
      t.equal(answer.status, 200);
      const { headers } = seenIn(answer);
      t.match(headers, { 'x-forwarded-user': 'carol', 'x-forwarded-email': 'carol@example.com' });
      t.notOk(headers['authorization']);
      t.notOk(headers['cookie'], 'no cookie, of whatever session came along');
      const wrong = await alice.request('GET', `${origin}/api/x`, {
        headers: { authorization: `Bearer ${accessToken(op, { aud: 'https://other.example' })}` },
      });
      t.equal(wrong.status, 401, 'a bad token is not made good by a session');
      t.match(wrong.headers['www-authenticate'], /^Bearer realm="[^"]+", error="invalid_token"/);
      t.equal((await alice.request('GET', `${origin}/page`, { headers: { authorization } })).status, 200);
      t.match(seenIn(await alice.request('GET', `${origin}/api/x`)).headers, { 'x-forwarded-user': 'alice' });
      const nobody = await new UserAgent().request('GET', `${origin}/api/x`);
      t.equal(nobody.status, 401);
      t.match(nobody.headers['www-authenticate'], /^Bearer realm="[^"]+"$/);
      t.equal(
        (await new UserAgent().request('GET', `${origin}/page`, { headers: { authorization } })).status,
        401,
      );
    });

    t.test('a made-up description of the request is overwritten', async (t) => {
      const spoofed = {
        'x-forwarded-uri': '/open/x',
        'x-forwarded-method': 'GET',
        'x-forwarded-host': 'evil.example',
        'x-original-url': '/open/x',
        'x-forwarded-for': '203.0.113.9',
      };
      const tool = new UserAgent();
      t.equal((await tool.request('GET', `${origin}/page`, { headers: spoofed })).status, 401);
      t.equal((await alice.request('GET', `${origin}/closed/x`, { headers: spoofed })).status, 403);
      const own = await alice.request('GET', `${origin}/_sallyport/auth`, { headers: spoofed });
      t.equal(own.status, 404, 'clients do not ask themselves');
    });

    t.test('a client that asks by itself, in any spelling, reads nothing that is for the app', async (t) => {
      for (const path of [
        '/_sallyport/auth/page',
        '/_sallyport/auth/',
        '/_sallyport/auth/open/x',
        '/_sallyport/auth?redirect=302',
        '/_sallyport//auth/page',
        '/_sallyport/%61uth/page',
        '/_sallyport/auth%2fpage',
        '/_sallyport/x/../auth/page',
        '/_sallyport/./auth',
        '/_SALLYPORT/auth/page',
        '//_sallyport/auth/page',
      ])
        for (const headers of [
          {},
          { 'x-forwarded-uri': '/page', 'x-forwarded-method': 'GET' },
          { 'sec-sallyport-asker': 'envoy' },
        ]) {
          const { status, headers: answered } = await alice.request('GET', `${origin}${path}`, { headers });
          t.ok(status >= 400, `${path}: ${status}`);
          for (const secret of ['x-sallyport-assertion', 'x-forwarded-user', 'cookie'])
            t.equal(answered[secret], undefined, `${path}: ${secret}`);
        }
    });

    t.test('no reading of a path leads past the rules', async (t) => {
      const before = app.seen.length;
      for (const path of [
        '/open/..%2fpage',
        '/open/%2e%2e/page',
        '/open%2fx',
        '//open/page',
        '/%63losed/x',
      ]) {
        const { status } = await new UserAgent().request('GET', `${origin}${path}`);
        t.ok([400, 401, 403].includes(status), `${path}: ${status}`);
      }
      t.equal(app.seen.length, before);
    });

    t.test('a request from another site is refused', async (t) => {
      const answer = await alice.request('POST', `${origin}/page`, {
        body: 'a=b',
        headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
      });
      t.equal(answer.status, 403);
      const socket = await alice.request('GET', `${origin}/page`, {
        headers: {
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
          'sec-websocket-version': '13',
          origin: 'https://evil.example',
        },
      });
      t.equal(socket.status, 403, 'a WebSocket from elsewhere');
    });

    t.test('too little assurance: a person proves more and comes back', async (t) => {
      const bob = new UserAgent();
      const withMfa = op.nextLogin;
      op.nextLogin = {
        ...withMfa,
        sub: 'bob',
        amr: ['pwd'],
        claims: { ...withMfa.claims, preferred_username: 'bob', email: 'bob@example.com' },
      };
      const passwordOnly = op.nextLogin;
      t.equal((await bob.follow(`${origin}/page`)).last.status, 200);
      const challenge = await bob.request('GET', `${origin}/strong/x`);
      t.equal(challenge.status, 401);
      t.match(challenge.headers['www-authenticate'], /insufficient_user_authentication/);
      op.nextLogin = { ...passwordOnly, amr: ['pwd', 'otp', 'mfa'] };
      const { chain, last } = await bob.follow(`${origin}/strong/x?a=1`);
      t.match(chain[0]?.location, `${origin}/_sallyport/signin?step_up=1&source=idp`);
      t.equal(last.status, 200);
      t.equal(last.url, `${origin}/strong/x?a=1`);
      t.match(seenIn(last).headers, { 'x-forwarded-user': 'bob' });
      op.nextLogin = passwordOnly;
      const eve = new UserAgent();
      const { last: refused } = await eve.follow(`${origin}/strong/x`);
      t.equal(refused.status, 403, 'the IdP brings back no more');
      op.nextLogin = withMfa;
    });
  });
}

t.test('Traefik: its shape of request', async (t) => {
  const house = await furnish();
  const { origin, inner } = house;
  t.teardown(() => house.close());
  const { host } = new URL(origin);

  /** As Traefik asks: GET, the client's headers, and its own five. */
  async function ask(
    uri: string,
    headers: Readonly<Record<string, string>> = {},
    method = 'GET',
  ): Promise<UserAgentResponse> {
    return new UserAgent().request('GET', `${inner}/_sallyport/auth?redirect=302`, {
      headers: {
        'x-forwarded-method': method,
        'x-forwarded-proto': 'http',
        'x-forwarded-host': host,
        'x-forwarded-uri': uri,
        'x-forwarded-for': '192.0.2.7',
        ...headers,
      },
    });
  }
  const page = {
    accept: 'text/html',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
    'sec-fetch-site': 'none',
  };

  // A sign-in without any proxy: Host and port are what X-Forwarded-Host says.
  const agent = new UserAgent({ resolve: { [host]: { host: '127.0.0.1', port: house.ports.sallyport } } });
  t.equal(
    (await agent.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`)).chain.at(-1)?.status,
    200,
  );
  const cookie = agent
    .cookies(origin)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ');

  t.test('202 with the identity', async (t) => {
    const answer = await ask('/page?x', { cookie });
    t.equal(answer.status, 202);
    t.match(answer.headers, { 'x-forwarded-user': 'alice', 'cache-control': 'no-store' });
    t.notOk(answer.headers['set-cookie']);
  });

  t.test('302 for a person; 401 for a form that was sent, with a page and nowhere to go', async (t) => {
    const sent = await ask('/page?x', page);
    t.equal(sent.status, 302);
    t.equal(sent.location, `${origin}/_sallyport/signin?return_to=%2Fpage%3Fx`);
    t.equal((await ask('/page', page, 'HEAD')).status, 302);
    const form = await ask('/page', page, 'POST');
    t.equal(form.status, 401);
    t.equal(form.location, undefined);
    t.match(form.headers['content-type'], /text\/html/);
    const withoutQuery = await new UserAgent().request('GET', `${inner}/_sallyport/auth`, {
      headers: { ...page, 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/page', 'x-forwarded-host': host },
    });
    t.equal(withoutQuery.status, 401);
    t.equal(withoutQuery.location, `${origin}/_sallyport/signin?return_to=%2Fpage`);
  });

  t.test('403: denied, malformed, ours', async (t) => {
    for (const uri of ['/closed/x', '/../x', '//x', '/_sallyport/whoami', 'http://x/', '*'])
      t.equal((await ask(uri, { cookie })).status, 403, uri);
    t.equal((await ask('/page', { cookie, 'sec-fetch-site': 'cross-site' }, 'POST')).status, 403);
  });

  t.test('a credential beside a session decides alone: nobody else is named with it', async (t) => {
    const answer = await ask('/git/x', { cookie: `${cookie}; theme=dark`, 'private-token': token });
    t.equal(answer.status, 202);
    t.equal(answer.headers['private-token'], token);
    for (const name of ['x-forwarded-user', 'x-sallyport-assertion', 'cookie'])
      t.equal(answer.headers[name], undefined, name);
  });

  t.test('each sign of a WebSocket makes it one: its Origin counts', async (t) => {
    const foreign = { cookie, origin: 'https://evil.example' };
    t.equal((await ask('/page', foreign)).status, 202, 'a plain GET');
    for (const [name, value] of [
      ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ=='],
      ['sec-websocket-version', '13'],
      ['sec-fetch-mode', 'websocket'],
      ['upgrade', 'WebSocket'],
    ] as const) {
      t.equal((await ask('/page', { ...foreign, [name]: value })).status, 403, name);
      t.equal((await ask('/page', { cookie, origin, [name]: value })).status, 202, name);
      t.equal((await ask('/page', { cookie, [name]: value }, 'POST')).status, 202, `${name}, and no GET`);
    }
  });

  t.test('400 without what is needed to judge', async (t) => {
    const bare = (headers: Readonly<Record<string, string | readonly string[]>>) =>
      new UserAgent().request('GET', `${inner}/_sallyport/auth`, {
        headers: { 'x-forwarded-host': host, cookie, ...headers },
      });
    t.equal((await bare({ 'x-forwarded-method': 'GET' })).status, 400);
    t.equal((await bare({ 'x-forwarded-uri': '/page' })).status, 400);
    t.equal((await bare({ 'x-forwarded-uri': '', 'x-forwarded-method': 'GET' })).status, 400);
    t.equal((await bare({ 'x-forwarded-uri': '/page', 'x-forwarded-method': 'NONE' })).status, 400);
    const twice = { 'x-forwarded-uri': ['/open/x', '/page'], 'x-forwarded-method': 'GET' };
    t.equal((await bare(twice)).status, 400);
  });
});

t.test("Envoy's own shape: the target stands behind auth, by the request's method", async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, app, ports } = house;
  const { host } = new URL(origin);
  const agent = new UserAgent({ resolve: { [host]: { host: '127.0.0.1', port: ports.sallyport } } });
  await agent.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`);
  const cookie = agent
    .cookies(origin)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ');
  /** As the bytes come: no client of ours puts the target right. */
  async function ask(
    method: string,
    target: string,
    headers: Readonly<Record<string, string>> = {},
    body = '',
  ) {
    const all = { host, 'content-length': '0', 'sec-sallyport-asker': 'envoy', ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = `${method} /_sallyport/auth${target} HTTP/1.1\r\n${lines.join('')}connection: close\r\n\r\n`;
    return exchange(ports.sallyport, head + body, method);
  }
  const same = { cookie, 'sec-fetch-site': 'same-origin' };

  t.test('200, who asks, and what Envoy is to take off the request', async (t) => {
    const answer = await ask('GET', '/page?x=%2F', { cookie: `${cookie}; theme=dark` });
    t.equal(answer.status, 200, '202 is a no to Envoy');
    t.equal(headerOf(answer, 'x-forwarded-user'), 'alice');
    t.equal(headerOf(answer, 'cookie'), 'theme=dark');
    const gone = (headerOf(answer, 'x-envoy-auth-headers-to-remove') ?? '').split(',');
    for (const name of ['authorization', 'x-webauth-user', 'remote-user', 'x-forwarded-access-token'])
      t.ok(gone.includes(name), name);
    for (const name of ['cookie', 'x-forwarded-user', 'x-sallyport-assertion'])
      t.notOk(gone.includes(name), name);
    const open = await ask('GET', '/open/x', { cookie: 'theme=dark', authorization: `Bearer ${token}` });
    t.equal(open.status, 200);
    for (const name of ['cookie', 'authorization', 'x-forwarded-user', 'x-sallyport-assertion'])
      t.match(headerOf(open, 'x-envoy-auth-headers-to-remove'), name);
  });

  t.test('a script of the app, which can send no header of that name, reads nothing', async (t) => {
    for (const asker of ['', 'caddy', 'envoy, envoy']) {
      const answer = await ask('GET', '/page', { ...same, 'sec-sallyport-asker': asker });
      t.equal(answer.status, 400, asker);
      t.match(answer.body.toString(), 'asker_unknown');
      for (const name of ['cookie', 'x-forwarded-user', 'x-sallyport-assertion'])
        t.equal(headerOf(answer, name), undefined, name);
    }
  });

  t.test("a route's own credential headers go along there, and are taken off everywhere else", async (t) => {
    const gone = async (path: string, headers: Readonly<Record<string, string>>) => {
      const answer = await ask('GET', path, headers);
      t.equal(answer.status, 200, path);
      return (headerOf(answer, 'x-envoy-auth-headers-to-remove') ?? '').split(',');
    };
    t.ok((await gone('/page', { ...same, 'private-token': token })).includes('private-token'));
    t.ok((await gone('/open/x', { 'private-token': token })).includes('private-token'), 'as nobody');
    t.notOk((await gone('/git/x', { 'private-token': token })).includes('private-token'));
    t.ok((await gone('/git/x', same)).includes('private-token'));
  });

  t.test('every method is judged as what it is', async (t) => {
    for (const method of [
      'GET',
      'HEAD',
      'OPTIONS',
      'POST',
      'PUT',
      'PATCH',
      'DELETE',
      'PROPFIND',
      'REPORT',
      'QUERY',
    ]) {
      if (!METHODS.includes(method)) continue;
      t.equal((await ask(method, '/page', same)).status, 200, method);
      t.equal(
        (await ask(method, '/page', { ...same, 'sec-fetch-site': 'cross-site' })).status,
        ['GET', 'HEAD', 'OPTIONS'].includes(method) ? 200 : 403,
        `${method} from elsewhere`,
      );
      t.equal((await ask(method, '/page')).status, 401, `${method}, nobody`);
    }
    t.equal((await ask('TRACE', '/page', same)).status, 404);
  });

  t.test('a form whose origin Envoy was not told to pass on is not taken for a program', async (t) => {
    const hidden = await ask('POST', '/page', { cookie });
    t.equal(hidden.status, 403);
    t.match(hidden.body.toString(), 'cross_site_request');
    t.equal((await ask('POST', '/page', { cookie, origin })).status, 200);
    for (const method of ['GET', 'HEAD', 'OPTIONS'])
      t.equal((await ask(method, '/page', { cookie })).status, 200, `${method} changes nothing`);
    const bearer = { authorization: `Bearer ${accessToken(house.op)}` };
    t.equal((await ask('POST', '/api/x', bearer)).status, 200, 'an access token is no cookie');
    const envoy = await startEnvoyShape(ports, ['origin', 'sec-fetch-site']);
    t.teardown(() => envoy.close());
    const posted = await new UserAgent().request('POST', `${origin}/page`, {
      body: 'a=b',
      headers: { cookie, origin, 'sec-fetch-site': 'same-origin' },
    });
    t.equal(posted.status, 403);
    t.equal(app.seen.length, 0);
  });

  t.test('no header describes another request than the one that is repeated', async (t) => {
    const spoofed = {
      'x-forwarded-uri': '/open/x',
      'x-forwarded-method': 'GET',
      'x-original-url': '/open/x',
    };
    t.equal((await ask('GET', '/page', spoofed)).status, 401);
    t.equal((await ask('POST', '/closed/x', { ...same, ...spoofed })).status, 403);
  });

  t.test('a person is redirected at once; what is malformed, or ours, is refused', async (t) => {
    const sent = await ask('GET', '/page?x=1', { accept: 'text/html' });
    t.equal(sent.status, 302);
    t.equal(headerOf(sent, 'location'), `${origin}/_sallyport/signin?return_to=%2Fpage%3Fx%3D1`);
    for (const target of [
      '/../admin',
      '/%2e%2e/admin',
      '/..%2fadmin',
      '/a/../../auth/open/x',
      '//open/x',
      '/%zz',
      '/open\\..\\page',
      '/_sallyport/whoami',
      '/_sallyport/auth/open/x',
      '/_SALLYPORT/whoami',
    ])
      t.equal((await ask('GET', target, same)).status, 403, target);
    t.equal((await ask('GET', '/', same)).status, 200);
    for (const target of ['s/x', '%2fopen/x', ';/open/x', '\\open']) {
      const { status } = await ask('GET', target, same);
      t.ok(status === 400 || status === 404, `${target}: ${status}`);
    }
    t.equal(app.seen.length, 0, 'nothing of it has gone to the app');
  });

  t.test('a body that Envoy sends along changes nothing', async (t) => {
    const answer = await ask(
      'POST',
      '/page',
      { ...same, 'content-type': 'application/json', 'content-length': '4' },
      '{"a"',
    );
    t.equal(answer.status, 200);
  });
});

t.test("Envoy's example: with any preset, no identity header of the client's reaches the app", async (t) => {
  const spoofed = Object.fromEntries(
    [...new Set(Object.values(headerPresets).flat())].map(({ header }) => [header.toLowerCase(), 'root']),
  );
  for (const preset of Object.keys(headerPresets) as (keyof typeof headerPresets)[]) {
    const house = await furnish(['127.0.0.1/32'], { preset, pass_access_token: true });
    const envoy = await startEnvoyShape(house.ports);
    const alice = new UserAgent();
    await alice.follow(`${house.origin}/page`);
    const answer = await alice.request('GET', `${house.origin}/page`, {
      headers: { ...spoofed, 'x-sallyport-assertion': 'root', 'x-forwarded-access-token': 'root' },
    });
    const { headers } = seenIn(answer);
    for (const { header, claim } of headerPresets[preset])
      if (claim === 'user') t.equal(headers[header.toLowerCase()], 'alice', preset);
    t.ok(headers['x-forwarded-access-token'], preset);
    t.notMatch(JSON.stringify(headers), 'root', preset);
    await envoy.close();
    await house.close();
  }
});

t.test('a peer that is not trusted describes nothing', async (t) => {
  const house = await furnish([]);
  t.teardown(() => house.close());
  const { host } = new URL(house.origin);
  const answer = await new UserAgent().request('GET', `${house.inner}/_sallyport/auth`, {
    headers: { host, 'x-forwarded-uri': '/open/x', 'x-forwarded-method': 'GET', 'x-forwarded-host': host },
  });
  t.equal(answer.status, 400);
  t.equal(answer.json().error, 'peer_not_trusted');
  for (const path of ['open/x', 'page', '']) {
    const repeated = await new UserAgent().request('GET', `${house.inner}/_sallyport/auth/${path}`, {
      headers: { host },
    });
    t.equal(repeated.status, 400, `as Envoy asks, /${path}`);
    t.equal(repeated.json().error, 'peer_not_trusted');
  }
});

t.test("Envoy is told to take off the headers of the operator's own too", async (t) => {
  const identity_headers = [{ header: 'X-Desk', claim: 'desk' }];
  const house = await furnish(['127.0.0.1/32'], { identity_headers });
  t.teardown(() => house.close());
  const answer = await new UserAgent().request('GET', `${house.inner}/_sallyport/auth/open/x`, {
    headers: { host: new URL(house.origin).host, 'sec-sallyport-asker': 'envoy', 'x-desk': 'root' },
  });
  t.equal(answer.status, 200);
  t.ok(String(answer.headers['x-envoy-auth-headers-to-remove']).split(',').includes('x-desk'));
});

t.test('a session that opens nothing names nobody on a public route', async (t) => {
  let offsetMs = 0;
  const clock: Clock = { nowMs: () => Date.now() + offsetMs };
  const day = new Date(Date.now() + 3_600_000).toISOString();
  const mfa = { mode: 'report_only', report_only_until: day };
  const house = await furnish(['127.0.0.1/32'], {}, '127.0.0.1:0', mfa, clock);
  t.teardown(() => house.close());
  const { origin, op } = house;
  op.nextLogin = { ...op.nextLogin, amr: ['pwd'] };
  const { host } = new URL(origin);
  const agent = new UserAgent({ resolve: { [host]: { host: '127.0.0.1', port: house.ports.sallyport } } });
  await agent.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`);
  const named = async () => {
    const answer = await agent.request('GET', `${origin}/_sallyport/auth`, {
      headers: { 'x-forwarded-host': host, 'x-forwarded-uri': '/open/x', 'x-forwarded-method': 'GET' },
    });
    return [answer.status, answer.headers['x-forwarded-user']];
  };
  t.same(await named(), [202, 'alice']);
  offsetMs = 3_601_000;
  t.same(await named(), [202, undefined]);
});

t.test('what nobody could judge is no refusal: a proxy is told 503', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const token = accessToken(house.op);
  await house.op.stop();
  const answer = await new UserAgent().request('GET', `${house.inner}/_sallyport/auth`, {
    headers: {
      ...{ 'x-forwarded-host': new URL(house.origin).host, 'x-forwarded-method': 'GET' },
      ...{ 'x-forwarded-uri': '/api/x', authorization: `Bearer ${token}` },
    },
  });
  t.equal(answer.status, 503);
});

t.test('whoever asks over a Unix socket stands on this machine', async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'sallyport-socket-'));
  t.teardown(() => rmSync(place, { recursive: true }));
  for (const [trusted, status] of [
    [['127.0.0.1/32'], 202],
    [['192.0.2.0/24'], 400],
  ] as const) {
    const path = join(place, `${status}.sock`);
    const house = await furnish(trusted, {}, `unix:${path}`);
    t.teardown(() => house.close());
    const answer = await exchange(
      { path },
      `GET /_sallyport/auth HTTP/1.1\r\nHost: ${new URL(house.origin).host}\r\n` +
        'X-Forwarded-Uri: /open/x\r\nX-Forwarded-Method: GET\r\nConnection: close\r\n\r\n',
    );
    t.equal(answer.status, status, trusted[0]);
  }
});

t.test(
  "a stolen cookie of the forge is handed to nobody: the app's own session cookies never go along",
  async (t) => {
    const house = await furnish(['127.0.0.1/32'], { preset: 'forgejo' });
    t.teardown(() => house.close());
    const { origin, inner, sallyport } = house;
    const proxy = await startAskingNginx(house.ports);
    t.teardown(() => proxy.close());
    const alice = new UserAgent();
    t.equal((await alice.follow(`${origin}/page`)).last.status, 200);
    const own = alice
      .cookies(origin)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
    const ask = (cookie: string) =>
      new UserAgent().request('GET', `${inner}/_sallyport/auth`, {
        headers: {
          'x-forwarded-host': new URL(origin).host,
          'x-forwarded-uri': '/page',
          'x-forwarded-method': 'GET',
          cookie,
        },
      });
    for (const stolen of [
      'i_like_gitea=stolen',
      'I_Like_Gitea=stolen',
      'gitea_incredible=stolen',
      'i_like_forgejo="stolen"',
      'i_like_gitea =stolen',
      'i_like_gitea\t=stolen',
      `i_like_gitea=${'A'.repeat(43)}.stolen`,
      'i_like_gitea',
      'i_like_gitea=stolen; i_like_gitea=stolen',
    ]) {
      const alone = await ask(`${own}; ${stolen}`);
      t.equal(alone.status, 202, stolen);
      t.equal(alone.headers['cookie'], undefined, stolen);
      const among = await ask(`a=1; ${stolen}; ${own}; b=2`);
      t.match(among.headers['cookie'], /^a=1; +b=2$/, stolen);
    }
    alice.setCookie(origin, 'i_like_gitea=stolen; Path=/');
    alice.setCookie(origin, 'theme=dark; Path=/');
    t.equal(seenIn(await alice.request('GET', `${origin}/page`)).headers['cookie'], 'theme=dark');
    const told = sallyport.log.lines().filter(({ message }) => String(message).includes('forward auth'));
    t.equal(told.length, 1, 'the operator is told, once');
  },
);
