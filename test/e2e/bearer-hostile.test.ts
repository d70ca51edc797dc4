import { createHmac, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { makeKey, signJws, startOp } from '../support/op.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

/* Somebody who sends what no honest client does, byte by byte, to routes that take access tokens. */

type Json = Record<string, unknown>;

const audience = 'https://app.example.com/api';
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

async function furnish(upstreamConfig: Json = {}) {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [{ id: 'idp', issuer: op.issuer }],
    config: {
      upstream: { url: upstream.url, ...upstreamConfig },
      routes: [
        { name: 'api', path: '/api/**', access: 'bearer' },
        { name: 'git', path: '/git/**', access: 'credentials' },
        { name: 'open', path: '/open/**', access: 'public' },
      ],
      bearer: { audiences: [audience] },
    },
  });
  const now = Math.floor(Date.now() / 1000);
  const claims = (more: Json = {}): Json => ({
    ...{ iss: op.issuer, sub: 'alice', aud: audience, client_id: 'a-tool', iat: now, exp: now + 3600 },
    ...{ auth_time: now, amr: ['pwd', 'mfa'], preferred_username: 'alice' },
    ...{ email: 'alice@example.com', email_verified: true },
    ...more,
  });
  const key = op.signingKey();
  const header = { alg: key.alg, typ: 'at+jwt', kid: key.kid };
  const mint = (more: Json = {}, head: Json = {}, by = key): string =>
    signJws({ ...header, ...head }, claims(more), by.privateKey, by.alg);
  const port = Number(new URL(origin).port);
  return {
    ...{ origin, port, upstream, op, sallyport, now, claims, key, header, mint },
    /** @param lines header lines, as they go over the wire */
    ask: async (path: string, lines: readonly string[], method = 'GET') => {
      const head = [
        `${method} ${path} HTTP/1.1`,
        `Host: ${new URL(origin).host}`,
        ...lines,
        'Connection: close',
      ];
      return exchange(port, `${head.join('\r\n')}\r\n\r\n`, method);
    },
    call: (path: string, token: string) =>
      new UserAgent().request('GET', `${origin}${path}`, { headers: { authorization: `Bearer ${token}` } }),
    async close() {
      await sallyport.close();
      await op.stop();
      await upstream.close();
    },
  };
}

t.test('several credentials at once: one reading, or none', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, ask, mint, upstream } = house;
  const browser = new UserAgent();
  await browser.follow(`${origin}/_sallyport/signin?return_to=/x`);
  const cookie = `Cookie: ${browser
    .cookies(origin)
    .map(({ name, value }) => `${name}=${value}`)
    .join('; ')}; app=1`;
  const good = `Authorization: Bearer ${mint({ sub: 'carol', preferred_username: 'carol', email: 'carol@example.com' })}`;
  const bad = 'Authorization: Bearer abc.def.ghi';
  const basic = `Authorization: Basic ${Buffer.from('root:password').toString('base64')}`;
  upstream.seen.length = 0;
  for (const [title, lines, status, user] of [
    ['token and cookie: the token', [good, cookie], 200, 'carol'],
    ['cookie and token: the token', [cookie, good], 200, 'carol'],
    ['a bad token and a cookie: the token', [bad, cookie], 401, undefined],
    ['Basic beside a cookie is nothing of ours', [basic, cookie], 200, 'alice'],
    ['Basic alone', [basic], 401, undefined],
    ['token and Basic', [good, basic], 401, undefined],
    ['Basic and token', [basic, good, cookie], 401, undefined],
    ['the token twice', [good, good], 401, undefined],
    ['two in one line', [`${good}, Bearer abc`, cookie], 401, undefined],
    ['Basic, Bearer in one line', [`${basic}, ${good.slice(15)}`, cookie], 200, 'alice'],
    ['no token', ['Authorization: Bearer', cookie], 401, undefined],
    ['blanks', ['Authorization: Bearer    ', cookie], 401, undefined],
    ['a tab', [good.replace('Bearer ', 'Bearer\t'), cookie], 401, undefined],
    ['two tokens', [`${good} abc`, cookie], 401, undefined],
    ['in capitals', [good.replace('Bearer', 'BEARER')], 200, 'carol'],
    ['another scheme', [good.replace('Bearer', 'DPoP')], 401, undefined],
    ['meant for a proxy', [good.replace('Authorization', 'Proxy-Authorization')], 401, undefined],
    ['another spelling', [good.replace('Authorization', 'X-Authorization')], 401, undefined],
  ] as const) {
    const before = upstream.seen.length;
    const answer = await ask('/api/x', lines);
    t.equal(answer.status, status, title);
    const seen = upstream.seen.slice(before);
    t.equal(seen.length, status === 200 ? 1 : 0, title);
    t.equal(seen[0]?.headers['x-forwarded-user'], user, title);
    t.equal(seen[0]?.headers['authorization'], undefined, title);
    if (user === 'carol') t.equal(seen[0]?.headers['cookie'], undefined, title);
  }
  t.equal((await ask(`/api/x?access_token=${good.slice(22)}`, [])).status, 401, 'not in the address');
  t.equal((await ask('/page', [good])).status, 401, 'not on a session route');
  t.equal((await ask('/open/x', [good])).status, 200);
  t.equal(upstream.seen.at(-1)!.headers['authorization'], undefined);
  t.equal(upstream.seen.at(-1)!.headers['x-forwarded-user'], undefined);
});

t.test('forged tokens: whatever they say of how to check them', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { call, mint, claims, header, key, op, upstream, now } = house;
  t.equal((await call('/api/x', mint())).status, 200);
  let fetched = 0;
  const evil = createServer((_request, response) => {
    fetched += 1;
    response.end(JSON.stringify({ keys: [stranger.jwk] }));
  });
  await once(evil.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => evil.close());
  const url = `http://127.0.0.1:${(evil.address() as AddressInfo).port}/jwks`;
  const made = makeKey('RS256', 'stranger');
  const stranger = { ...made, jwk: made.publicKey.export({ format: 'jwk' }) };
  const pem = key.publicKey.export({ format: 'pem', type: 'spki' });
  const hmac = (head: Json, secret: string | Buffer): string => {
    const input = `${encode(head)}.${encode(claims())}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  /** Header and claims as they are written: no JSON of ours. */
  const signed = (rawHeader: string, rawClaims: string): string => {
    const input = `${encode(rawHeader)}.${encode(rawClaims)}`;
    return `${input}.${sign('sha256', Buffer.from(input), key.privateKey).toString('base64url')}`;
  };
  t.equal(key.alg, 'RS256');
  t.equal((await call('/api/x', signed(JSON.stringify(header), JSON.stringify(claims())))).status, 200);
  const seen = upstream.seen.length;
  const jwks = op.count('jwks');
  const table: readonly (readonly [string, string])[] = [
    ['alg none, unsigned', `${encode({ ...header, alg: 'none' })}.${encode(claims())}.`],
    ['alg None', `${encode({ ...header, alg: 'None' })}.${encode(claims())}.`],
    ['HS256 with the public key as PEM', hmac({ ...header, alg: 'HS256' }, pem)],
    [
      'HS256 with the public key as JWK',
      hmac({ ...header, alg: 'HS256' }, JSON.stringify(key.publicKey.export({ format: 'jwk' }))),
    ],
    ['HS256 with nothing', hmac({ ...header, alg: 'HS256' }, '')],
    ['HS256 under the name RS256', hmac(header, pem)],
    ['a key of its own: jwk', mint({}, { jwk: stranger.jwk }, made)],
    ['a key of its own: jwk, no kid', mint({}, { jwk: stranger.jwk, kid: undefined }, made)],
    ['a key of its own: jku', mint({}, { jku: url, kid: 'stranger' }, made)],
    ['a key of its own: x5u', mint({}, { x5u: url, kid: 'stranger' }, made)],
    ['a key of its own: x5c', mint({}, { x5c: ['AAAA'], kid: 'stranger' }, made)],
    ['crit', mint({}, { crit: ['exp'], exp: now + 60 })],
    ['crit, empty', mint({}, { crit: [] })],
    ['b64', mint({}, { b64: false, crit: ['b64'] })],
    ['alg as list', mint({}, { alg: ['RS256'] })],
    ['alg with a blank', mint({}, { alg: `${key.alg} ` })],
    ['alg in small letters', mint({}, { alg: key.alg.toLowerCase() })],
    ['typ as list', mint({}, { typ: ['at+jwt'] })],
    ['typ with parameters', mint({}, { typ: 'at+jwt; x=1' })],
    ['typ of another kind', mint({}, { typ: 'dpop+jwt' })],
    ['no typ', mint({}, { typ: undefined })],
    ['kid as number', mint({}, { kid: 1 })],
    ['kid as list', mint({}, { kid: [key.kid] })],
    ['kid __proto__', mint({}, { kid: '__proto__' }, made)],
    ['kid ../../', mint({}, { kid: '../../../dev/null' }, made)],
    ['kid as long as a book', mint({}, { kid: 'k'.repeat(8000) }, made)],
    ['exp as text', mint({ exp: String(now + 60) })],
    ['exp null', mint({ exp: null })],
    ['iss as list', mint({ iss: [op.issuer] })],
    ['iss with a slash', mint({ iss: `${op.issuer}/` })],
    ['sub as number', mint({ sub: 1 })],
    ['sub with a line', mint({ sub: 'alice\r\nX-Forwarded-User: root' })],
    ['a name with a line', mint({ preferred_username: 'alice\r\nX-Forwarded-User: root', jti: '1' })],
    ['aud as object', mint({ aud: { [audience]: true } })],
    ['aud with a number', mint({ aud: [audience, 1] })],
    ['aud with a client', mint({ aud: [audience, 'forge'] })],
    ['four parts', `${mint()}.x`],
    ['two parts', mint().split('.').slice(0, 2).join('.')],
    ['five parts', `${mint()}.x.y`],
    ['a JWT in a JWT', signed(JSON.stringify({ ...header, cty: 'JWT' }), mint())],
    ['claims that are a list', signed(JSON.stringify(header), JSON.stringify([claims()]))],
    ['claims twice', signed(JSON.stringify(header), `{"sub":"root",${JSON.stringify(claims()).slice(1)}`)],
    ['header twice', signed(`{"alg":"none",${JSON.stringify(header).slice(1)}`, JSON.stringify(claims()))],
    [
      'an exp without end',
      signed(JSON.stringify(header), JSON.stringify(claims()).replace(`"exp":${now + 3600}`, '"exp":1e999')),
    ],
    ['padding', `${mint()}=`],
    ['30 KiB of it', mint({ pad: 'x'.repeat(20_000), aud: 'y' })],
  ];
  for (const [title, token] of table) {
    const answer = await call('/api/x', token);
    t.ok(
      answer.status === 401 || (title === 'a name with a line' && answer.status === 403),
      `${title}: ${answer.status}`,
    );
  }
  t.equal(upstream.seen.length, seen, 'none of it has reached the upstream');
  t.equal(fetched, 0, 'nobody is asked for the keys of a stranger');
  t.ok(op.count('jwks') - jwks <= 3);
  t.equal((await call('/api/x', mint({ jti: 'after' }))).status, 200, 'and honest tokens go on');
  const whole = await house.ask('/api/x', [`Authorization: Bearer ${'a'.repeat(40_000)}`]);
  t.equal(whole.status, 431);
});

t.test('a token that opens nothing takes no name', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { call, mint } = house;
  const as = (sub: string, more: Json = {}) =>
    mint({ sub, preferred_username: 'wanted', email: `${sub}@example.com`, ...more });
  t.equal((await call('/api/x', as('squatter', { amr: ['pwd'] }))).status, 401, 'no MFA');
  t.equal((await call('/api/x', as('owner'))).status, 200, 'the name was free');
  t.equal((await call('/api/x', as('squatter'))).status, 403);
});

t.test('whoever wants the names of others with good tokens is held to the bound as well', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { call, mint, sallyport } = house;
  t.equal((await call('/api/x', mint())).status, 200);
  const answers: number[] = [];
  for (let n = 0; n < 130; n += 1)
    answers.push((await call('/api/x', mint({ sub: 'mallory', jti: `${n}` }))).status);
  t.same([...new Set(answers)], [403, 429]);
  const conflicts = sallyport.audit.lines().filter(({ action }) => action === 'identity.username_conflict');
  t.ok(conflicts.length <= 120, `${conflicts.length} lines in the trail`);
});

t.test(
  'nothing of the upstream’s cookies comes back to a token, and no socket opens from elsewhere',
  async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const { ask, mint, origin } = house;
    const good = `Authorization: Bearer ${mint()}`;
    const answer = await ask('/api/set-cookie', [good]);
    t.equal(answer.status, 200);
    t.equal(headerOf(answer, 'set-cookie'), undefined);
    const upgrade = [
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    for (const from of ['Origin: https://evil.example', 'Origin: null', 'X: y']) {
      const head = [
        `GET /api/x HTTP/1.1`,
        `Host: ${new URL(origin).host}`,
        good,
        from,
        ...upgrade,
        'Connection: Upgrade',
      ];
      t.equal((await exchange(house.port, `${head.join('\r\n')}\r\n\r\n`)).status, 403, from);
    }
  },
);
