import fc from 'fast-check';
import t from 'tap';
import { createLocalJWKSet, jwtVerify } from 'jose';
import type { JSONWebKeySet } from 'jose';
import { headerPresets } from '../../src/identity/presets.ts';
import { fateOfHeader } from '../../src/policy/header-fate.ts';
import { createUpstreamHeaders } from '../../src/proxy/headers.ts';
import { filterTrailers, setsOwnCookie } from '../../src/proxy/response-headers.ts';
import { exchange, headerOf } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import type { SeenRequest } from '../support/upstream.ts';
import { startHarness } from './harness.ts';
import { configSchema } from '../../src/config/schema.ts';
import type { UpstreamHeaderInput } from '../../src/proxy/headers.ts';
import { openedSession } from '../identity/session-fixture.ts';

const plainConfig = configSchema.parse({
  server: { public_url: 'https://forge.example.com' },
  upstream: { url: 'http://127.0.0.1:3000' },
  session: { secrets: ['x'.repeat(32)] },
  sources: [{ id: 'main', issuer: 'https://idp.example.com', client_id: 'forge' }],
});

const none: ReadonlySet<string> = new Set();

const families = [
  ...new Set(Object.values(headerPresets).flatMap((rules) => rules.map(({ header }) => header))),
  'X-Sallyport-Assertion',
  'X-Sallyport-Anything',
  'X-Sallyport',
  'X-SallyportUser',
  'X-Forwarded-User',
  'X-Forwarded-Email',
  'X-Forwarded-Groups',
  'X-Forwarded-Preferred-Username',
  'X-Forwarded-Access-Token',
  'Remote-User',
  'X-Remote-User',
  'X-Auth-Request-User',
];
const misleading = [
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Prefix',
  'X-Real-IP',
  'X-Original-URL',
  'X-Original-URI',
  'X-Original-Method',
  'X-Original-Host',
  'X-Envoy-Original-Path',
  'X-HTTP-Method',
  'X-Method-Override',
  'X-Host',
  'Proxy',
  'True-Client-IP',
  'X-Client-IP',
  'X-Cluster-Client-IP',
  'CF-Connecting-IP',
  'X-Rewrite-URL',
  'X-HTTP-Method-Override',
  'Authorization',
  'Proxy-Authorization',
];

/** Every way of writing a name that some upstream could read as the same. */
function spellingsOf(name: string): string[] {
  return [
    name,
    name.toLowerCase(),
    name.toUpperCase(),
    name.replaceAll('-', '_'),
    name.toUpperCase().replaceAll('-', '_'),
    name.replace('-', '_'),
    name.replaceAll('-', '.'),
    Array.from(name)
      .map((c, i) => (i % 2 === 0 ? c.toLowerCase() : c.toUpperCase()))
      .join(''),
  ];
}

t.test('any spelling of a name that could name somebody is dropped', async (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(
        ...families,
        ...misleading.filter((name) => name !== 'Authorization' && name !== 'Forwarded'),
      ),
      fc.array(fc.tuple(fc.boolean(), fc.constantFrom('-', '_', '.')), { minLength: 60, maxLength: 60 }),
      (name, choices) => {
        const spelt = Array.from(name)
          .map((c, i) => (c === '-' ? choices[i]![1] : choices[i]![0] ? c.toUpperCase() : c.toLowerCase()))
          .join('');
        return fateOfHeader(spelt, none) === 'drop';
      },
    ),
  );
  t.equal(fateOfHeader('X_My-Header', new Set(['x-my-header'])), 'drop', "the operator's own names too");
});

t.test('what is for one hop alone, or for us to answer, goes no further', async (t) => {
  for (const name of [
    ...['Connection', 'Keep-Alive', 'Proxy-Connection', 'TE', 'Trailer', 'Transfer-Encoding', 'Upgrade'],
    ...['Proxy-Authenticate', 'Proxy-Authentication-Info', 'Proxy-Authorization'],
    ...['Expect', 'HTTP2-Settings', 'Host', 'Cookie2', 'Traceparent', 'X-Request-ID', 'X-Forwarded'],
  ])
    for (const spelling of spellingsOf(name)) t.equal(fateOfHeader(spelling, none), 'drop', spelling);
});

t.test('harmless headers stay', async (t) => {
  for (const name of [
    'Accept',
    'Content-Type',
    'User-Agent',
    'X-Requested-With',
    'X-Csrf-Token',
    'Git-Protocol',
    'Range',
    'Sec-WebSocket-Key',
    'Origin',
    'Remote',
  ]) {
    t.equal(fateOfHeader(name, none), 'keep', name);
  }
  t.equal(fateOfHeader('Content_Length', none), 'drop', 'a second length in disguise');
  t.equal(fateOfHeader('Transfer_Encoding', none), 'drop');
});

const plainInput: Omit<UpstreamHeaderInput, 'rawHeaders'> = {
  connection: undefined,
  facts: {
    ...{ id: 'r-1', traceparent: undefined, method: 'POST', rawTarget: '/a', clientIp: '198.51.100.7' },
    ...{ origin: 'https://forge.example.com', navigation: false, formNavigation: false, upgrade: false },
  },
  session: undefined,
  withCredential: false,
  identityHeaders: [],
};

t.test(
  'a credential of the client goes up where the route says so, and never beside a session',
  async (t) => {
    const build = createUpstreamHeaders(plainConfig, undefined);
    const goesUp = (over: Partial<UpstreamHeaderInput>) =>
      build({ ...plainInput, rawHeaders: ['Authorization', 'token x'], ...over }).includes('token x');
    t.equal(goesUp({ withCredential: true }), true);
    t.equal(goesUp({}), false);
    t.equal(goesUp({ withCredential: true, session: openedSession() }), false);
    t.equal(goesUp({ session: openedSession() }), false);
  },
);

t.test(
  'what Connection lists goes, but for what the request would mean something else without',
  async (t) => {
    const build = createUpstreamHeaders(plainConfig, undefined);
    const list = build({
      ...plainInput,
      connection: 'close, Content-Length, X_One, x-two',
      rawHeaders: ['Content-Length', '5', 'X-One', 'gone', 'X-Two', 'gone', 'X-Three', 'stays'],
    });
    t.same(list.slice(0, list.indexOf('X-Forwarded-For')).slice(-4), [
      'Content-Length',
      '5',
      'X-Three',
      'stays',
    ]);
    t.notOk(list.includes('gone'));
  },
);

t.test('trailers bring no framing, routing, cookies or credentials with them', async (t) => {
  const bytes = (...texts: string[]) => texts.map((text) => Buffer.from(text, 'latin1'));
  const kept = ['grpc-status', 'X-Checksum'];
  const dropped = [
    ...['Set-Cookie', 'set-cookie2', 'Connection', 'Keep-Alive', 'Transfer-Encoding', 'Content-Length'],
    ...['Trailer', 'TE', 'Upgrade', 'Host', 'Location', 'Authorization', 'Content-Type', 'content-encoding'],
  ];
  t.same(
    filterTrailers(bytes(...[...kept, ...dropped].flatMap((name) => [name, 'v']))),
    kept.map((name) => [name, 'v']),
  );
});

t.test('an upstream can neither set nor end our sessions', async (t) => {
  const own = ['__Host-sallyport'];
  for (const value of [
    '__Host-sallyport=x',
    ' __host-SALLYPORT =x; Path=/',
    '__Host-sallyport-a-state=x',
    '__Host-sallyport',
    '=__Host-sallyport=x',
    '__Host-sallyport=; Max-Age=0',
  ]) {
    t.ok(setsOwnCookie(value, own), value);
  }
  for (const value of [
    'app=__Host-sallyport=x',
    '__Host-sallyports=x',
    'sallyport=1',
    'a=b; Path=/__Host-sallyport=',
  ]) {
    t.notOk(setsOwnCookie(value, own), value);
  }
});

t.test(
  'spoofed headers of every family in every spelling never arrive, on HTTP or WebSocket, on any access',
  async (t) => {
    const upstream = await startRawUpstream(({ socket, headers }) => {
      const upgrade = headers.some(([name]) => name.toLowerCase() === 'upgrade');
      if (upgrade)
        socket.end(
          'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
        );
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
    const harness = await startHarness({
      upstream: { url: upstream.url, preset: 'forgejo', pass_access_token: true },
      server: { max_header_size: '64KiB' },
    });
    t.teardown(async () => {
      await harness.close();
      await upstream.close();
    });
    const cookie = await harness.signIn();
    // In two requests: so many headers are more than any one request may have.
    const spoofs = [families, misleading].map((names) =>
      names
        .flatMap(spellingsOf)
        .map((name) => `${name}: evil\r\n${name}: evil twice\r\n`)
        .join(''),
    );
    // Named in `Connection`, an honest proxy would remove ours as well: they must survive it.
    const listed = `Connection: keep-alive, X-WEBAUTH-USER, X-Sallyport-Assertion, Cookie, X-Kept-Not, Host\r\nX-Kept-Not: 1\r\n`;
    const webSocket = `Connection: Upgrade, X-WEBAUTH-USER, X-Sallyport-Assertion\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://forge.example.com\r\n`;

    const check = (seen: SeenRequest, withSession: boolean, what: string): void => {
      t.notMatch(JSON.stringify(seen.headers), 'evil', what);
      const counts = new Map<string, number>();
      for (const [name] of seen.headers) {
        const folded = name.toLowerCase().replace(/[^a-z0-9]/g, '-');
        counts.set(folded, (counts.get(folded) ?? 0) + 1);
      }
      t.strictSame(
        [...counts].filter(([name, count]) => count > 1 && name !== 'cookie'),
        [],
        `${what}: nothing twice`,
      );
      t.equal(headerOf(seen, 'x-webauth-user'), withSession ? 'zoe' : undefined, what);
      t.equal(headerOf(seen, 'x-webauth-fullname'), withSession ? 'Zo\xc3\xab Example' : undefined, what);
      t.equal(headerOf(seen, 'x-forwarded-access-token'), withSession ? 'at-secret' : undefined, what);
      t.equal(headerOf(seen, 'x-sallyport-assertion') !== undefined, withSession, what);
      t.equal(headerOf(seen, 'authorization'), undefined, what);
      t.equal(headerOf(seen, 'host'), 'forge.example.com', what);
    };

    for (const [what, upgrade] of [
      ['HTTP', listed],
      ['WebSocket', webSocket],
    ] as const) {
      for (const [path, headers, withSession] of [
        ['/private', `Cookie: ${cookie}\r\n`, true],
        ['/public/a', `Cookie: ${cookie}\r\n`, true],
        ['/public/a', '', false],
      ] as const) {
        for (const spoofed of spoofs) {
          const answer = await exchange(
            harness.port,
            `GET ${path} HTTP/1.1\r\nHost: forge.example.com\r\n${headers}${spoofed}${upgrade}\r\n`,
          );
          t.equal(answer.status, what === 'HTTP' ? 200 : 101, `${what} ${path}`);
          check(
            upstream.seen.at(-1)!,
            withSession,
            `${what} ${path} ${withSession ? 'signed in' : 'anonymous'}`,
          );
          t.equal(
            headerOf(upstream.seen.at(-1)!, 'x-kept-not'),
            undefined,
            'what Connection lists is dropped',
          );
        }
      }
    }
    const before = upstream.seen.length;
    for (const upgrade of [listed, webSocket]) {
      for (const spoofed of spoofs) {
        const answer = await exchange(
          harness.port,
          `GET /denied/a HTTP/1.1\r\nHost: forge.example.com\r\nCookie: ${cookie}\r\n${spoofed}${upgrade}\r\n`,
        );
        t.equal(answer.status, 403);
      }
    }
    t.equal(upstream.seen.length, before, 'what is denied does not go up at all');
  },
);

t.test('the assertion verifies against our keys and is reused within its life', async (t) => {
  const upstream = await startRawUpstream(
    ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  );
  const harness = await startHarness({ upstream: upstream.url });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = await harness.signIn();
  const ask = async (): Promise<string> => {
    await exchange(harness.port, `GET /x HTTP/1.1\r\nHost: forge.example.com\r\nCookie: ${cookie}\r\n\r\n`);
    return headerOf(upstream.seen.at(-1)!, 'x-sallyport-assertion') ?? '';
  };
  const first = await ask();
  t.equal(await ask(), first);
  const keys = createLocalJWKSet(harness.signer.jwks() as JSONWebKeySet);
  const { payload } = await jwtVerify(first, keys, {
    issuer: 'https://forge.example.com',
    audience: upstream.url,
  });
  t.match(payload, { sub: 'sub-1', aal: 'aal2' });
});
