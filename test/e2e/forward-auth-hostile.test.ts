import t from 'tap';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { freePort } from '../support/ports.ts';
import { exchange, headerOf, type RawResponse } from '../support/raw-http.ts';
import { clientOf, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

/* What a proxy passes on to `auth` holds whatever its client has sent: here everything that the proxy does not overwrite, and more. */

async function furnish(trusted: readonly string[] = ['127.0.0.1/32']) {
  const origin = `http://127.0.0.1:${await freePort()}`;
  const app = await startEchoUpstream();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sallyport = await startSallyport({
    origin,
    upstream: app.url,
    sources: [{ id: 'idp', issuer: op.issuer, mfa: { mode: 'report_only' } }],
    config: {
      server: { listen: '127.0.0.1:0', trusted_proxies: trusted },
      routes: [
        { name: 'open', path: '/open/**', access: 'public' },
        { name: 'closed', path: '/closed/**', access: 'deny' },
        { name: 'strong', path: '/strong/**', require_aal: 'aal2' },
      ],
    },
  });
  const port = Number(sallyport.listen.slice(sallyport.listen.lastIndexOf(':') + 1));
  const { host } = new URL(origin);
  /** Asks as nginx, Caddy and Traefik do. @param lines more header lines; those of the description may be replaced */
  async function ask(
    uri: string | undefined,
    lines: readonly string[] = [],
    { method = 'GET', query = '', described = 'GET', hosts = [`X-Forwarded-Host: ${host}`] } = {},
  ): Promise<RawResponse> {
    const head = [
      `${method} /_sallyport/auth${query} HTTP/1.1`,
      `Host: ${host}`,
      ...hosts,
      ...(uri === undefined ? [] : [`X-Forwarded-Uri: ${uri}`]),
      ...(described === '-' ? [] : [`X-Forwarded-Method: ${described}`]),
      ...lines,
      'Connection: close',
    ];
    return exchange(port, Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), method);
  }
  return {
    ...{ origin, host, port, app, op, ask },
    async close() {
      await sallyport.close();
      await op.stop();
      await app.close();
    },
  };
}

const person = [
  'Accept: text/html',
  'Sec-Fetch-Mode: navigate',
  'Sec-Fetch-Dest: document',
  'Sec-Fetch-Site: none',
];

t.test('no description of a request sends anybody elsewhere', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, ask } = house;
  const query = '?redirect=302';
  for (const uri of [
    'https://evil.example/',
    '//evil.example/x',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/%5cevil.example',
    '/%2f/evil.example',
    '/.//evil.example',
    '/x/..//evil.example',
    '/%0d%0aLocation:%20https://evil.example',
    '/\tx',
    '/@evil.example',
    '/x@evil.example/',
    '/x?return_to=https://evil.example',
    '/x&source=evil&step_up=1',
    '/x#//evil.example',
    '/\xff\xfe',
    '/%ff',
    'javascript:alert(1)',
    '/_sallyport/signin?return_to=//evil.example',
    '/_sallyport/auth?redirect=302',
    '/strong/x?a=//evil.example',
  ]) {
    for (const lines of [
      person,
      [...person, 'X-Forwarded-Prefix: //evil.example', 'X-Original-URL: //evil.example'],
    ]) {
      const answer = await ask(uri, lines, { query });
      const location = headerOf(answer, 'location');
      t.ok([302, 403].includes(answer.status), `${uri}: ${answer.status}`);
      t.equal(answer.status === 302, location !== undefined, uri);
      if (location === undefined) continue;
      const target = new URL(location);
      t.equal(target.origin + target.pathname, `${origin}/_sallyport/signin`, uri);
      t.same([...target.searchParams.keys()], ['return_to'], uri);
      const back = new URL(target.searchParams.get('return_to')!, origin);
      t.equal(back.origin, origin, uri);
    }
  }
  const { last } = await new UserAgent({
    resolve: { [house.host]: { host: '127.0.0.1', port: house.port } },
  }).follow(`${origin}/_sallyport/signin?return_to=${encodeURIComponent('/\\evil.example')}`, {
    until: (url) => url === `${origin}/`,
  });
  t.equal(last.location, `${origin}/`);
});

t.test('another host, scheme, client or method than is true: refused, or of no effect', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, ask, host } = house;
  const query = '?redirect=302';
  for (const evil of [
    'evil.example',
    `evil.example, ${host}x`,
    `${host}.evil.example`,
    `${host}@evil.example`,
    '',
  ])
    for (const described of ['GET', 'POST']) {
      const answer = await ask('/x', person, { query, described, hosts: [`X-Forwarded-Host: ${evil}`] });
      t.ok(
        evil === '' ? [302, 401].includes(answer.status) : answer.status === 421,
        `${evil}: ${answer.status}`,
      );
      t.notMatch(headerOf(answer, 'location') ?? '', 'evil');
    }
  for (const proto of ['https', 'javascript', 'http, https', '//evil.example'])
    t.match(
      headerOf(await ask('/x', [...person, `X-Forwarded-Proto: ${proto}`], { query }), 'location'),
      new RegExp(`^${origin}/`),
    );
  for (const line of [
    'Forwarded: for=127.0.0.1;host=evil.example;proto=https',
    'X-Forwarded-Port: 1',
    'X-Forwarded-Server: evil.example',
    'X-HTTP-Method-Override: GET',
    'X-Rewrite-URL: /open/x',
    'X_Forwarded_Uri: /open/x',
    'X_Forwarded_Method: GET',
  ])
    t.equal((await ask('/closed/x', [line], { described: 'POST' })).status, 403, line);
  for (const described of ['get', 'GET,POST', 'GET POST', 'CONNECT', 'TRACE', 'NONE', '*', ' ', '-'])
    t.equal((await ask('/open/x', [], { described })).status, 400, described);
  for (const [uri, lines] of [
    ['/open/x', ['X-Forwarded-Uri: /closed/x']],
    ['/open/x', ['x-forwarded-uri: /open/x']],
    ['/open/x', ['X-Forwarded-Method: POST']],
    [undefined, []],
    ['', []],
  ] as const)
    t.equal((await ask(uri, lines)).status, 400, `${uri} ${lines.join()}`);
  t.equal((await ask('/open/x, /closed/x')).status, 403, 'what has a blank in it is no target');
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD'])
    t.equal((await ask('/open/x', ['Content-Length: 0'], { method })).status, 405, method);
  t.equal((await ask('/open/x')).status, 202);
});

t.test('whoever is not trusted learns nothing and gets nothing, whatever they say they are', async (t) => {
  const house = await furnish(['10.0.0.0/8']);
  t.teardown(() => house.close());
  const { ask, port, host } = house;
  for (const line of [
    'X-Forwarded-For: 10.0.0.1',
    'X-Real-IP: 10.0.0.1',
    'Forwarded: for=10.0.0.1',
    'X-Y: z',
  ]) {
    for (const uri of ['/open/x', '/closed/x', '/strong/x', '/nowhere']) {
      const answer = await ask(uri, [line]);
      t.equal(answer.status, 400, `${line} ${uri}`);
      t.match(answer.body.toString(), 'peer_not_trusted');
    }
    const repeated = await exchange(
      port,
      `GET /_sallyport/auth/open/x HTTP/1.1\r\nHost: ${host}\r\n${line}\r\nConnection: close\r\n\r\n`,
    );
    t.equal(repeated.status, 400, line);
  }
});

t.test('nobody is somebody else by a header beside their cookie', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { origin, ask, port, host } = house;
  const agent = new UserAgent({ resolve: { [host]: { host: '127.0.0.1', port } } });
  await agent.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`);
  const cookie = agent.cookies(origin).map(({ name, value }) => `${name}=${value}`);
  const spoofed = [
    'X-Forwarded-User: root',
    'X-Forwarded-Email: root@example.com',
    'X-Sallyport-Assertion: x',
    'Remote-User: root',
  ];
  const answer = await ask('/page', [`Cookie: ${cookie.join('; ')}`, ...spoofed]);
  t.equal(answer.status, 202);
  const users = answer.headers.filter(([name]) => name.toLowerCase() === 'x-forwarded-user');
  t.same(users, [[users[0]?.[0], 'alice']], 'once, and as it is');
  t.notMatch(JSON.stringify(answer.headers), 'root');
  const twice = await ask('/page', [
    `Cookie: ${cookie.join('; ')}`,
    `Cookie: ${cookie[0]!.split('=')[0]!}=${'A'.repeat(43)}`,
  ]);
  t.ok([202, 401].includes(twice.status));
  if (twice.status === 202) t.equal(headerOf(twice, 'x-forwarded-user'), 'alice');
  t.equal((await ask('/page', [`Cookie: ${cookie[0]!.slice(0, -1)}`])).status, 401);
  t.equal(headerOf(answer, 'set-cookie'), undefined);
  t.match(headerOf(answer, 'cache-control'), 'no-store');
});
