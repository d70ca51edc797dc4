import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { Redis } from 'ioredis';
import t from 'tap';
import { makeKey, signJws, startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, loopbackOrigin, startSallyport, type TestSallyport } from '../support/sallyport.ts';
import { signOutAt } from '../support/sign-out.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';
import { stopwatch } from '../support/stopwatch.ts';

/*
 * Two replicas of one Sallyport over one Redis, with a real OP whose key signs the logout tokens, and an application that holds
 * WebSockets and event streams open.
 */

const prefix = '/_sallyport';
const redis = await startRedis();
t.teardown(() => redis.stop());
const origins = [await loopbackOrigin(), await loopbackOrigin()] as const;
const op = await startOp({
  clients: [
    {
      ...clientOf(origins[0], 'main', 'other'),
      redirect_uris: origins.flatMap((origin) => clientOf(origin, 'main', 'other').redirect_uris),
      post_logout_redirect_uris: origins.flatMap((origin) => clientOf(origin).post_logout_redirect_uris),
    },
  ],
});
t.teardown(() => op.stop());

const upgraded = new Set<Duplex>();
const app = createServer((request, response) => {
  if (request.url === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: hello\n\n');
  } else if (request.url === '/never') {
    // A long poll: nothing is answered.
  } else {
    response.end('the application');
  }
});
app.on('upgrade', (_request, socket) => {
  upgraded.add(socket);
  socket.on('close', () => upgraded.delete(socket));
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  socket.resume();
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
});
await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
t.teardown(() => {
  app.close();
  app.closeAllConnections();
  for (const socket of upgraded) socket.destroy();
});

const start = (origin: string): Promise<TestSallyport> =>
  startSallyport({
    origin,
    upstream: `http://127.0.0.1:${(app.address() as AddressInfo).port}`,
    sources: [
      { id: 'main', issuer: op.issuer, mfa: { mode: 'carry_over' } },
      { id: 'other', issuer: op.issuer, mfa: { mode: 'carry_over' } },
    ],
    // Far longer than any test waits: what ends sooner has been announced.
    config: { server: { shutdown_grace: '200ms' }, session: { redis: { url: redis.url }, cache: '10m' } },
  });
const [one, two] = await Promise.all([start(origins[0]), start(origins[1])]);
t.teardown(() => Promise.all([one.close(), two.close()]));

/** Signs in at the first replica; the `Cookie` header that opens the session at both. */
async function signIn(sub: string, sid?: string, source = 'main'): Promise<string> {
  op.nextLogin = {
    sub,
    amr: ['pwd', 'otp', 'mfa'],
    claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub, name: sub },
    ...(sid === undefined ? {} : { idTokenClaims: { sid } }),
  };
  const agent = new UserAgent();
  const { last } = await agent.follow(`${origins[0]}${prefix}/signin?source=${source}&return_to=/`);
  if (last.status !== 200) throw new Error(`sign-in: ${last.status} ${last.body}`);
  const cookie = `sallyport=${agent.cookie(origins[0], 'sallyport')!}`;
  // Into the memory of both replicas.
  for (const origin of origins) if (!(await isIn(cookie, origin))) throw new Error('not signed in');
  return cookie;
}

const agent = new UserAgent();
async function isIn(cookie: string, origin: string): Promise<boolean> {
  const { status } = await agent.request('GET', `${origin}${prefix}/whoami`, { headers: { cookie } });
  return status === 200;
}
const isOutEverywhere = async (cookie: string): Promise<boolean> =>
  !(await isIn(cookie, origins[0])) && !(await isIn(cookie, origins[1]));

/** Within a second on both replicas. */
async function ends(cookie: string): Promise<void> {
  await until(() => isOutEverywhere(cookie), 'the end on both replicas', 1000);
}

type Json = Record<string, unknown>;
const event = 'http://schemas.openid.net/event/backchannel-logout';
const header: Json = { alg: 'RS256', typ: 'logout+jwt', kid: op.signingKey().kid };
let serial = 0;
function claims(more: Json = {}): Json {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: op.issuer,
    aud: 'forge',
    iat: now,
    exp: now + 120,
    jti: `jti-${(serial += 1)}`,
    events: { [event]: {} },
    ...more,
  };
}
const token = (payload: Json, head: Json = header): string =>
  signJws(head, payload, op.signingKey().privateKey, 'RS256');

function post(
  body: string,
  origin: string = origins[1],
  source = 'main',
  type = 'application/x-www-form-urlencoded',
) {
  return agent.request('POST', `${origin}${prefix}/backchannel-logout/${source}`, {
    headers: { 'content-type': type, accept: 'text/html' },
    body,
  });
}
const logout = (logoutToken: string, origin?: string, source?: string) =>
  post(new URLSearchParams({ logout_token: logoutToken }).toString(), origin, source);

t.test(
  'a logout token that names a subject ends all its sessions, on every replica, within a second',
  async (t) => {
    const cookies = [await signIn('alice', 'a1'), await signIn('alice', 'a2'), await signIn('alice')];
    const bystander = await signIn('bob', 'b1');
    const answer = await logout(token(claims({ sub: 'alice' })));
    t.equal(answer.status, 200);
    t.equal(answer.headers['cache-control'], 'no-store');
    t.equal(answer.body, '');
    for (const cookie of cookies) await ends(cookie);
    t.ok(await isIn(bystander, origins[0]), 'nobody else is signed out');
    const lines = two.audit.lines().filter((line) => line['action'] === 'session.ended');
    t.equal(lines.length, 3);
    t.match(lines[0], {
      why: 'backchannel',
      auth_source: 'main',
      user: { id: 'alice', email: 'alice@example.com' },
    });
  },
);

t.test(
  'a logout token that names a session of the IdP ends what belongs to it, and nothing else of its user',
  async (t) => {
    const ended = await signIn('carol', 'c1');
    const kept = await signIn('carol', 'c2');
    t.equal((await logout(token(claims({ sid: 'c1' })))).status, 200);
    await ends(ended);
    t.ok(await isIn(kept, origins[0]));
    t.equal((await logout(token(claims({ sub: 'carol', sid: 'unknown' })))).status, 200);
    t.ok(await isIn(kept, origins[0]), 'sub and sid together mean both');
    t.equal((await logout(token(claims({ sub: 'mallory', sid: 'c2' })))).status, 200);
    t.ok(await isIn(kept, origins[0]), "a sid beside another subject is not that subject's");
    const nameless = await signIn('carol');
    t.equal((await logout(token(claims({ sub: 'carol', sid: 'c2' })))).status, 200);
    await ends(kept);
    await ends(nameless);
  },
);

t.test('an IdP that logs out of one source leaves the sessions of another alone', async (t) => {
  const other = await signIn('dora', 'd1', 'other');
  t.equal((await logout(token(claims({ sub: 'dora' })))).status, 200);
  t.equal((await logout(token(claims({ sid: 'd1' })))).status, 200);
  t.ok(await isIn(other, origins[1]));
  t.equal((await logout(token(claims({ sub: 'dora' })), origins[0], 'other')).status, 200);
  await ends(other);
});

t.test('what an honest IdP may send is taken', async (t) => {
  const without = (from: Json, name: string): Json =>
    Object.fromEntries(Object.entries(from).filter(([key]) => key !== name));
  for (const [what, sent] of [
    ['no typ', token(claims({ sub: 'nobody' }), without(header, 'typ'))],
    ['a typ that says no more', token(claims({ sub: 'nobody' }), { ...header, typ: 'JWT' })],
    [
      'the long form of the typ',
      token(claims({ sub: 'nobody' }), { ...header, typ: 'application/logout+jwt' }),
    ],
    ['no exp', token(without(claims({ sub: 'nobody' }), 'exp'))],
    ['a list of one audience', token(claims({ sub: 'nobody', aud: ['forge'] }))],
    [
      'more members in the event',
      token(claims({ sub: 'nobody', events: { [event]: { why: 1 }, other: {} } })),
    ],
  ] as const)
    t.equal((await logout(sent)).status, 200, what);
});

t.test('a token that breaks a rule is answered 400, and ends nothing', async (t) => {
  const cookie = await signIn('erin', 'e1');
  const now = Math.floor(Date.now() / 1000);
  const good = claims({ sub: 'erin' });
  const without = (name: string): Json =>
    Object.fromEntries(Object.entries(claims({ sub: 'erin' })).filter(([key]) => key !== name));
  const foreign = makeKey('RS256', op.signingKey().kid);
  const [, body] = token(good).split('.');
  const attacks: readonly (readonly [string, string, string])[] = [
    [
      'an ID token that somebody has got hold of',
      token({ ...without('events'), nonce: 'n' }),
      'nonce_present',
    ],
    ['a nonce beside the event', token({ ...good, nonce: 'n' }), 'nonce_present'],
    ['an empty nonce', token({ ...good, nonce: null }), 'nonce_present'],
    ['no events', token(without('events')), 'events_missing'],
    [
      'another event',
      token({ ...good, events: { 'http://schemas.openid.net/event/other': {} } }),
      'events_missing',
    ],
    ['the event as a list', token({ ...good, events: [event] }), 'events_missing'],
    ['the event without an object', token({ ...good, events: { [event]: true } }), 'events_missing'],
    [
      'the event as an inherited member',
      token({ ...good, events: JSON.parse(`{"__proto__":{"${event}":{}}}`) }),
      'events_missing',
    ],
    ['no jti', token(without('jti')), 'jti_missing'],
    ['a jti that is no text', token({ ...good, jti: 7 }), 'jti_missing'],
    ['neither sub nor sid', token(without('sub')), 'subject_missing'],
    ['an empty sub', token({ ...good, sub: '' }), 'sub_invalid'],
    ['an empty sid', token({ ...good, sid: '' }), 'sid_invalid'],
    ['a sid that is a list', token({ ...good, sid: ['e1'] }), 'sid_invalid'],
    ['another issuer', token({ ...good, iss: `${op.issuer}/` }), 'iss_mismatch'],
    ['no issuer', token(without('iss')), 'iss_mismatch'],
    ['another client', token({ ...good, aud: 'other-client' }), 'aud_mismatch'],
    ['another client beside this one', token({ ...good, aud: ['forge', 'x'] }), 'aud_not_trusted'],
    ['no audience', token(without('aud')), 'aud_malformed'],
    ['no iat', token(without('iat')), 'iat_invalid'],
    ['an old iat', token({ ...good, iat: now - 3600 }), 'iat_too_old'],
    ['an iat in the future', token({ ...good, iat: now + 3600 }), 'iat_in_future'],
    ['an exp that has passed', token({ ...good, exp: now - 3600 }), 'expired'],
    ['an exp that is no number', token({ ...good, exp: 'never' }), 'exp_invalid'],
    ["an access token's typ", token(good, { ...header, typ: 'at+jwt' }), 'typ_not_logout_token'],
    ['alg none', `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`, 'alg_not_allowed'],
    ['a shared secret', token(good, { ...header, alg: 'HS256' }), 'alg_not_allowed'],
    ['a critical extension', token(good, { ...header, crit: ['b64'], b64: false }), 'crit_not_supported'],
    [
      'a foreign key under a known kid',
      signJws(header, good, foreign.privateKey, 'RS256'),
      'signature_invalid',
    ],
    ['an unknown kid', token(good, { ...header, kid: 'nobody' }), 'key_not_found'],
    ['an encrypted token', 'a.b.c.d.e', 'token_encrypted'],
    ['no token', 'x', 'token_malformed'],
  ];
  for (const [what, sent, why] of attacks) {
    const answer = await logout(sent);
    t.equal(answer.status, 400, what);
    t.equal(answer.headers['cache-control'], 'no-store');
    t.same(answer.json(), { error: 'invalid_request', error_description: why }, what);
  }
  for (const [what, answer] of [
    ['no logout_token', await post('other=1')],
    ['two logout tokens', await post(`logout_token=${token(good)}&logout_token=${token(good)}`)],
    [
      'JSON',
      await post(JSON.stringify({ logout_token: token(good) }), origins[0], 'main', 'application/json'),
    ],
    ['plain text', await post(token(good), origins[0], 'main', 'text/plain')],
    ['a body without end', await post(`logout_token=${'x'.repeat(40_000)}`)],
    ['no body', await post('')],
  ] as const)
    t.equal(answer.status, 400, what);
  t.equal((await logout(token(good), origins[0], 'unknown')).status, 404, 'an unknown source');
  const { status, headers } = await agent.request('GET', `${origins[0]}${prefix}/backchannel-logout/main`);
  t.same([status, headers['allow']], [405, 'POST']);
  t.ok(await isIn(cookie, origins[0]));
  t.ok(await isIn(cookie, origins[1]));
  t.equal((await logout(token(good))).status, 200, 'and without the fault it is a good one');
  await ends(cookie);
});

t.test('a token is good for one time, whichever replica gets it', async (t) => {
  const once = token(claims({ sub: 'frank' }));
  const before = await signIn('frank', 'f1');
  t.equal((await logout(once, origins[0])).status, 200);
  await ends(before);
  const after = await signIn('frank', 'f2');
  for (const origin of origins) {
    const answer = await logout(once, origin);
    t.same(
      [answer.status, answer.json()],
      [400, { error: 'invalid_request', error_description: 'jti_replayed' }],
    );
  }
  t.ok(await isIn(after, origins[1]));
});

t.test(
  "front-channel: the session ends by what the IdP calls it, in a frame of the issuer's alone",
  async (t) => {
    const cookie = await signIn('gina', 'g1');
    const url = `${origins[1]}${prefix}/frontchannel-logout/main`;
    const ask = (query: Record<string, string> | string) =>
      agent.request('GET', `${url}?${new URLSearchParams(query).toString()}`, {
        headers: { 'sec-fetch-dest': 'iframe', 'sec-fetch-mode': 'navigate', 'sec-fetch-site': 'cross-site' },
      });
    for (const [what, query] of [
      ['neither', {}],
      ['no sid', { iss: op.issuer }],
      ['no iss', { sid: 'g1' }],
      ['another issuer', { iss: 'https://evil.example', sid: 'g1' }],
      ['two sids', `iss=${op.issuer}&sid=g1&sid=g2`],
      ['two issuers', `iss=${op.issuer}&iss=https://evil.example&sid=g1`],
      ['a sid of any length', { iss: op.issuer, sid: 'g'.repeat(256) }],
    ] as const) {
      const refused = await ask(query);
      t.equal(refused.status, 400, what);
      t.match(refused.headers['content-security-policy'], "frame-ancestors 'none'");
    }
    const nothing = await ask({ iss: op.issuer, sid: 'guessed' });
    t.ok(await isIn(cookie, origins[0]));
    const answer = await ask({ iss: op.issuer, sid: 'g1' });
    t.equal(answer.status, 200);
    t.match(answer.headers['content-security-policy'], `frame-ancestors ${op.issuer};`);
    t.equal(answer.headers['x-frame-options'], undefined);
    t.equal(answer.headers['cross-origin-resource-policy'], 'cross-origin');
    t.equal(answer.headers['referrer-policy'], 'no-referrer', 'its address names the session');
    t.equal(answer.headers['cache-control'], 'no-store');
    t.same([nothing.status, nothing.body], [answer.status, answer.body], 'a guess learns nothing');
    await ends(cookie);
    t.match(two.audit.lines().at(-1), { action: 'session.ended', why: 'frontchannel', user: { id: 'gina' } });
  },
);

/** Opens something under a session at a replica; resolves with its end once it stands. */
function openStream(cookie: string, origin: string, path: string): Promise<{ closed: Promise<string> }> {
  const { hostname, port } = new URL(origin);
  const upgrade = path === '/socket';
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      hostname,
      port,
      path,
      agent: false,
      headers: upgrade
        ? {
            cookie,
            origin,
            connection: 'Upgrade',
            upgrade: 'websocket',
            'sec-websocket-version': '13',
            'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
          }
        : { cookie },
    });
    let opened = false;
    const closed = new Promise<string>((end) => {
      request.on('upgrade', (_response, socket) => {
        socket.on('error', () => undefined);
        socket.on('close', () => end('closed'));
        socket.on('end', () => socket.end());
        socket.resume();
        opened = true;
        resolve({ closed });
      });
      request.on('response', (response) => {
        response.on('data', () => undefined);
        response.on('error', () => undefined);
        response.on('close', () => end(response.complete ? `complete ${response.statusCode}` : 'cut'));
        if (path === '/never') return;
        opened = true;
        resolve({ closed });
      });
      request.on('error', (error) => (opened ? end('reset') : reject(error)));
    });
    request.end();
    if (path === '/never') {
      const seen = new Promise<void>((arrived) => app.once('request', () => arrived()));
      void seen.then(() => resolve({ closed }));
    }
  });
}

t.test(
  'WebSockets, event streams and long polls of an ended session are closed, on the other replica too',
  async (t) => {
    const cookie = await signIn('hugo', 'h1');
    const bystander = await signIn('ivan', 'i1');
    const streams = [
      ['/socket', origins[0], 'closed'],
      ['/socket', origins[1], 'closed'],
      ['/events', origins[0], 'cut'],
      ['/events', origins[1], 'cut'],
      ['/never', origins[1], 'complete 401'],
    ] as const;
    const opened = [];
    for (const [path, origin, end] of streams)
      opened.push({ path, end, ...(await openStream(cookie, origin, path)) });
    let others = 0;
    for (const path of ['/socket', '/events'])
      void (await openStream(bystander, origins[1], path)).closed.then(() => (others += 1));
    t.equal(upgraded.size, 3);
    const elapsedMs = stopwatch();
    t.equal((await logout(token(claims({ sid: 'h1' })), origins[0])).status, 200);
    for (const { path, end, closed } of opened) t.equal(await closed, end, path);
    t.ok(elapsedMs() < 2000, 'at once');
    await until(() => upgraded.size === 1);
    t.equal(others, 0, "nobody else's");
  },
);

t.test('signing out here ends the session on the other replica, with what runs under it', async (t) => {
  op.nextLogin = { sub: 'judy', claims: { preferred_username: 'judy' } };
  const browser = new UserAgent();
  await browser.follow(`${origins[0]}${prefix}/signin?source=main&return_to=/`);
  const cookie = `sallyport=${browser.cookie(origins[0], 'sallyport')!}`;
  t.ok(await isIn(cookie, origins[1]));
  const { closed } = await openStream(cookie, origins[1], '/socket');
  const answer = await signOutAt(browser, origins[0]);
  t.equal(answer.status, 303);
  await ends(cookie);
  t.equal(await closed, 'closed');
  const state = new URL(answer.location!).searchParams.get('state')!;
  const back = (query: string) =>
    agent.request('GET', `${origins[0]}${prefix}/signed-out${query}`, { navigate: true });
  t.match((await back(`?state=${state}`)).body, 'main has signed you out as well');
  for (const query of ['', '?state=x', `?state=${state.slice(0, -4)}AAAA`])
    t.notMatch((await back(query)).body, 'has signed you out as well', query);
});

t.test('another sign-in in the same browser ends the session before it everywhere', async (t) => {
  op.nextLogin = { sub: 'kim', claims: { preferred_username: 'kim' } };
  const browser = new UserAgent();
  await browser.follow(`${origins[0]}${prefix}/signin?source=main&return_to=/`);
  const first = `sallyport=${browser.cookie(origins[0], 'sallyport')!}`;
  t.ok(await isIn(first, origins[1]));
  await browser.follow(`${origins[0]}${prefix}/signin?source=main&return_to=/`);
  await ends(first);
});

t.test(
  'while Redis is down a logout is answered 503 within a second, and the same token is good when it is back',
  async (t) => {
    const cookie = await signIn('lena', 'l1');
    const again = token(claims({ sub: 'lena' }));
    await redis.stop();
    const elapsedMs = stopwatch();
    const answer = await logout(again);
    t.equal(answer.status, 503);
    t.ok(answer.headers['retry-after']);
    t.equal(answer.headers['cache-control'], 'no-store');
    t.ok(elapsedMs() < 1500);
    await redis.restart();
    await until(async () => (await logout(again)).status === 200, 'the logout after the outage');
    await ends(cookie);
  },
);

t.test(
  'what ended while a replica could hear nothing is not served once it hears again, and its WebSockets are closed',
  async (t) => {
    const cookie = await signIn('mona', 'm1');
    const { closed } = await openStream(cookie, origins[0], '/socket');
    const admin = new Redis(redis.port, '127.0.0.1');
    for (const key of await admin.keys('sallyport:session:*')) await admin.del(key);
    t.ok(await isIn(cookie, origins[0]), 'nobody was told, and memory serves for session.cache');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    admin.disconnect();
    await until(() => isOutEverywhere(cookie), 'memory asked again');
    t.equal(await closed, 'closed');
  },
);

t.test('Redis holds nothing readable of whom it can find', async (t) => {
  await signIn('readable-subject', 'readable-sid');
  const everything = (await redis.dump()).join('\n');
  t.match(everything, 'sallyport:index:');
  t.match(everything, 'sallyport:card:');
  t.match(everything, 'sallyport:note:');
  for (const part of ['readable-subject', 'readable-sid', 'example.com', op.issuer])
    t.notMatch(everything, part);
});
