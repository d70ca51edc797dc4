import t from 'tap';
import { parseConfig } from '../../src/config/load.ts';
import { faultsOf, soundFile } from './workshop.ts';

/** The sound file with a line put into one of its mappings. */
const into = {
  server: (line: string) => soundFile.replace('\nupstream:', `\n  ${line}\nupstream:`),
  publicUrl: (value: string) => soundFile.replace('https://forge.example.com', value),
  operations: (line: string) => `${soundFile}operations: { ${line} }\n`,
  upstream: (line: string) => soundFile.replace('3000\n', `3000\n  ${line}\n`),
  upstreamUrl: (value: string) => soundFile.replace('http://127.0.0.1:3000', value),
  session: (line: string) => soundFile.replace('\n  redis:', `\n  ${line}\n  redis:`),
  redis: (inside: string) =>
    soundFile.replace('redis: { url: "redis://redis:6379/0" }', `redis: { ${inside} }`),
  source: (line: string) => soundFile.replace('    mfa:', `    ${line}\n    mfa:`),
  issuer: (value: string) => soundFile.replace('https://idp.example.com', value),
  mfa: (inside: string) => soundFile.replace('{ preset: authentik }', `{ ${inside} }`),
  secret: (lines: string) => soundFile.replace('    client_secret: hush-hush\n', lines),
  routes: (...rows: readonly string[]) =>
    `${soundFile}routes:\n${rows.map((row) => `  - { ${row} }\n`).join('')}`,
  twoSources: (row: string) =>
    `${soundFile}  - { id: okta, issuer: "https://o.example.com", client_id: x, client_secret: y, mfa: { preset: okta_2fa } }
routes:
  - { ${row} }
`,
};

t.test('sound values pass', async (t) => {
  const table: readonly (readonly [what: string, text: string])[] = [
    ['the file itself', soundFile],
    ['several origins', into.publicUrl('[https://a.example.com, "https://b.example.com:8443"]')],
    ...[
      'http://localhost:4180',
      'http://127.0.0.1:4180',
      'http://127.9.9.9',
      'http://[::1]:4180',
      'http://x.localhost',
    ].map((url) => [url, into.publicUrl(`"${url}"`)] as const),
    ...['127.0.0.1:0', '"[::]:4180"', '"[::1]:1"', 'localhost:4180', 'unix:/run/x.sock', '0.0.0.0:65535'].map(
      (listen) => [listen, into.server(`listen: ${listen}`)] as const,
    ),
    ['two port zeros', `${into.server('listen: 127.0.0.1:0')}operations: { listen: 127.0.0.1:0 }\n`],
    ...['/x', '/a/b', '/_sallyport', '/~x.y-z'].map(
      (prefix) => [prefix, into.server(`path_prefix: ${prefix}`)] as const,
    ),
    ['CIDRs', into.server('trusted_proxies: [10.0.0.0/8, 127.0.0.1/32, "::1/128", fd00::/8]')],
    ...['unix:/run/x', 'https://x', 'https://x:1/', 'http://[::1]:3000'].map(
      (url) => [url, into.upstreamUrl(`"${url}"`)] as const,
    ),
    ['a rate limit', into.server('rate_limit: { sign_in: 100/10s }')],
    ['timeouts alike', into.session('idle_timeout: 24h')],
    ['no prefix', into.session('cookie_name: sallyport')],
    ['a cluster with TLS', into.redis('cluster: { nodes: [a, "b:1", "[::1]:6379", 10.0.0.1] }, tls: {}')],
    ['sentinels without TLS', into.redis('sentinel: { name: m, nodes: [a], tls: false }, tls: {}')],
    ['redis with a password', into.redis('url: "rediss://me:pw@redis:1/3", tls: {}')],
    [
      'addresses',
      into.routes('name: a, path: /a, emails: [ada+forge@example.com, "o\'hara@xn--bcher-kva.example"]'),
    ],
    ['http issuer on a loopback', into.issuer('http://127.0.0.1:8080/op')],
    [
      'extra parameters',
      into.source('authorization_params: { prompt: login, kc_idp_hint: x, login_hint: y, ui_locales: de }'),
    ],
    ['a private key', into.secret('    private_key_jwt: { key_file: x, alg: PS256 }\n')],
    ['a pinned algorithm', into.source('id_token_signed_response_alg: EdDSA')],
    ['a date', into.mfa('preset: generic, mode: report_only, report_only_until: 2027-01-31')],
    ['a pattern', into.upstream("username: { pattern: '[\\p{L}]+' }")],
    [
      'routes',
      into.routes(
        'name: a, path: /a/**, groups: [x]',
        'name: b, path: "/b/*", sources: [entra], access: session',
      ),
    ],
    ['a route of one source', into.twoSources('name: a, path: /a, groups: [x], source: okta')],
    ['a mail address for help', `${soundFile}branding: { support_url: "mailto:help@example.com" }\n`],
  ];
  for (const [what, text] of table) t.same(faultsOf(text), [], what);
});

t.test('what is impossible is refused at its key', async (t) => {
  const table: readonly (readonly [text: string, path: string, message: RegExp])[] = [
    // public_url
    ...[
      'forge.example.com',
      'https://x/path',
      'https://x?q',
      'https://x#f',
      'https://u@x',
      'ftp://x',
      '"https://x y"',
      '"https://"',
    ].map((url) => [into.publicUrl(url), 'server.public_url', /expected an origin/] as const),
    [into.publicUrl('http://forge.example.com'), 'server.public_url', /expected https/],
    [into.publicUrl('http://127.0.0.1.example.com'), 'server.public_url', /expected https/],
    [into.publicUrl('http://localhost.example.com'), 'server.public_url', /expected https/],
    [into.publicUrl('http://10.0.0.1'), 'server.public_url', /expected https/],
    [into.publicUrl('"https://*.example.com"'), 'server.public_url', /wildcards/],
    [into.publicUrl('[https://a, https://A/]'), 'server.public_url[1]', /twice/],
    [into.publicUrl('[https://a.example.com, "http://localhost"]'), 'server.public_url', /same scheme/],
    [into.publicUrl('[]'), 'server.public_url', /non-empty list/],
    // server
    ...[
      '4180',
      '":4180"',
      '"::1:4180"',
      '"[::]"',
      'x:65536',
      'x:y',
      'unix:x',
      '"999.1.1.1:80"',
      '"unix:"',
      '"[::1]4180"',
    ].map((listen) => [into.server(`listen: ${listen}`), 'server.listen', /expected/] as const),
    [into.operations('listen: 0.0.0.0:4180'), 'operations.listen', /same address/],
    ...['x', '/', '/x/', '//x', '/x/../y', '/.', '/a b', '/x?y', '"/%61"', '/x;y'].map(
      (prefix) => [into.server(`path_prefix: ${prefix}`), 'server.path_prefix', /expected a path/] as const,
    ),
    ...[
      '10.0.0.1',
      '10.0.0.0/33',
      '010.0.0.0/8',
      'x/8',
      '"::/129"',
      '10.0.0.0/8/8',
      '"10.0.0.0/"',
      '10/8',
      '0x0a000000/8',
      '"*"',
    ].map(
      (block) =>
        [into.server(`trusted_proxies: [${block}]`), 'server.trusted_proxies[0]', /expected a CIDR/] as const,
    ),
    ...['30', '30/m', '0/1m', '30/0s', '30/1m/1m', '-1/1m'].map(
      (limit) =>
        [into.server(`rate_limit: { sign_in: "${limit}" }`), 'server.rate_limit.sign_in', /30\/1m/] as const,
    ),
    [into.server('max_header_size: 1B'), 'server.max_header_size', /4KiB/],
    [
      into
        .publicUrl('"http://localhost"')
        .replace('\nupstream', '\n  tls: { cert_file: a, key_file: b }\nupstream'),
      'server.tls',
      /public_url is http/,
    ],
    [into.server('tls: { cert_file: a }'), 'server.tls.key_file', /required/],
    [
      into.operations('readiness_requires: [redis]').replace(/ {2}redis: .*\n/, ''),
      'operations.readiness_requires',
      /no session\.redis/,
    ],
    // upstream
    ...['x', 'http://x/path', 'http://u:p@x', 'ftp://x', 'unix:x', 'http://x?y'].map(
      (url) => [into.upstreamUrl(url), 'upstream.url', /without path/] as const,
    ),
    [into.upstream('tls: { ca_file: x }'), 'upstream.tls.ca_file', /no effect/],
    [
      into.upstreamUrl('https://x').replace('\nsession', '\n  tls: { client_cert_file: x }\nsession'),
      'upstream.tls.client_key_file',
      /beside it/,
    ],
    [into.upstream('username: { pattern: "(" }'), 'upstream.username.pattern', /regular expression/],
    [into.upstream('connect_timeout: 0s'), 'upstream.connect_timeout', /more than 0/],
    ...[
      'Host',
      'cookie',
      'AUTHORIZATION',
      'Connection',
      'x-real-ip',
      'X_Real_IP',
      'X-Sallyport-Assertion',
      'transfer-encoding',
      '"a b"',
      '"a:b"',
      'é',
    ].map(
      (header) =>
        [
          into.upstream(`identity_headers: [{ header: ${header}, claim: email }]`),
          'upstream.identity_headers[0].header',
          /./,
        ] as const,
    ),
    [
      into.upstream('identity_headers: [{ header: X-User, claim: a }, { header: x_user, claim: b }]'),
      'upstream.identity_headers[1].header',
      /twice/,
    ],
    [
      into.upstream('identity_headers: [{ header: X-User, claim: a }, { header: X.User, claim: b }]'),
      'upstream.identity_headers[1].header',
      /twice/,
    ],
    // session
    [into.session('idle_timeout: 25h'), 'session.idle_timeout', /absolute_timeout/],
    [into.session('absolute_timeout: 0s'), 'session.absolute_timeout', /1s or more/],
    [into.session('secret_files: [x]'), 'session.secrets', /both/],
    [soundFile.replace(/ {2}secrets: .*\n/, ''), 'session.secret_files', /required/],
    [soundFile.replace(/secrets: .*\n/, 'secrets: []\n'), 'session.secrets', /at least one/],
    [soundFile.replace('0123456789abcdef0123', 'x'), 'session.secrets[0]', /32 bytes/],
    ...['"a b"', '"a;b"', '"a=b"', '__Secure-x', '__host-x', '__Host-', '__Host-__Host-x', '__Http-x'].map(
      (name) => [into.session(`cookie_name: ${name}`), 'session.cookie_name', /expected/] as const,
    ),
    [into.redis(''), 'session.redis.url', /required/],
    ...['redis', 'http://x', 'redis://', 'redis://x/y', 'redis://x?y=z'].map(
      (url) => [into.redis(`url: "${url}"`), 'session.redis.url', /expected redis/] as const,
    ),
    [into.redis('url: "redis://x", password: a, password_file: b'), 'session.redis.password', /both/],
    [into.redis('url: "redis://:p@x", password: a'), 'session.redis.password', /in the url/],
    [into.redis('url: "redis://x", tls: {}'), 'session.redis.tls', /no effect/],
    [
      into.redis('url: "redis://x", cluster: { nodes: [a] }'),
      'session.redis.cluster',
      /both url and cluster/,
    ],
    [
      into.redis('sentinel: { name: m, nodes: [a] }, cluster: { nodes: [b] }'),
      'session.redis.cluster',
      /both sentinel and cluster/,
    ],
    [
      into.redis('url: "redis://x", sentinel: { name: m, nodes: [a] }'),
      'session.redis.sentinel',
      /both url and sentinel/,
    ],
    [into.redis('sentinel: { name: m, nodes: [] }'), 'session.redis.sentinel.nodes', /expected/],
    [into.redis('sentinel: { nodes: [a] }'), 'session.redis.sentinel.name', /required/],
    [into.redis('sentinel: { name: "a b", nodes: [a] }'), 'session.redis.sentinel.name', /name of a master/],
    [
      into.redis('sentinel: { name: m, nodes: [a], password: a, password_file: b }'),
      'session.redis.sentinel.password',
      /both/,
    ],
    [
      into.redis('sentinel: { name: m, nodes: [a], username: a }'),
      'session.redis.sentinel.password_file',
      /username needs/,
    ],
    [into.redis('cluster: { nodes: [a] }, username: a'), 'session.redis.password_file', /username needs/],
    [
      into.redis('sentinel: { name: m, nodes: [a], tls: true }'),
      'session.redis.sentinel.tls',
      /session\.redis\.tls is absent/,
    ],
    ...['redis://a:6379', 'me:pw@a', 'a:0', 'a:65536', 'a:b', '"[::g]:1"', 'a/1', '"a b"'].map(
      (node) =>
        [into.redis(`cluster: { nodes: [${node}] }`), 'session.redis.cluster.nodes[0]', /host:port/] as const,
    ),
    [into.redis('cluster: { nodes: [a, b, a] }'), 'session.redis.cluster.nodes[2]', /twice/],
    // sources
    ...['idp', 'ftp://x', 'https://'].map(
      (url) => [into.issuer(url), 'sources[0].issuer', /https URL/] as const,
    ),
    [into.issuer('http://idp.example.com'), 'sources[0].issuer', /expected https/],
    ...['https://x?y', 'https://x#y', 'https://u@x'].map(
      (url) => [into.issuer(url), 'sources[0].issuer', /no query/] as const,
    ),
    [into.issuer('https://x/.well-known/openid-configuration'), 'sources[0].issuer', /discovery/],
    [soundFile.replace('id: entra', 'id: Entra'), 'sources[0].id', /lower-case/],
    [into.secret(''), 'sources[0].client_secret_file', /required/],
    [
      into.source('client_secret_file: x'),
      'sources[0].client_secret_file',
      /client_secret and client_secret_file/,
    ],
    [
      into.source('private_key_jwt: { key_file: x }'),
      'sources[0].private_key_jwt',
      /client_secret and private_key_jwt/,
    ],
    [into.source('scopes: [profile]'), 'sources[0].scopes', /openid/],
    [into.source('scopes: [openid profile]'), 'sources[0].scopes', /openid/],
    [into.source('scopes: [openid, "a b"]'), 'sources[0].scopes[1]', /one scope/],
    ...[
      'response_type',
      'client_id',
      'redirect_uri',
      'scope',
      'state',
      'nonce',
      'code_challenge',
      'code_challenge_method',
    ].map(
      (name) =>
        [
          into.source(`authorization_params: { ${name}: x }`),
          `sources[0].authorization_params.${name}`,
          /itself/,
        ] as const,
    ),
    ...[
      'acr_values',
      'claims',
      'max_age',
      'response_mode',
      'request',
      'request_uri',
      'STATE',
      'client_secret',
    ].map(
      (name) =>
        [
          into.source(`authorization_params: { ${name}: x }`),
          `sources[0].authorization_params.${name}`,
          /itself/,
        ] as const,
    ),
    ...['none', 'HS256', 'rs256', 'RSA'].map(
      (alg) =>
        [
          into.source(`id_token_signed_response_alg: ${alg}`),
          'sources[0].id_token_signed_response_alg',
          /expected one of/,
        ] as const,
    ),
    [
      into.secret('    private_key_jwt: { key_file: x, alg: HS256 }\n'),
      'sources[0].private_key_jwt.alg',
      /expected one of/,
    ],
    [into.source('email_domains: [me@example.com]'), 'sources[0].email_domains[0]', /expected a domain/],
    [into.source('email_domains: ["*.example.com"]'), 'sources[0].email_domains[0]', /expected a domain/],
    [into.source('proxy: "socks://x"'), 'sources[0].proxy', /HTTP proxy/],
    [into.source('mfa_setup_url: "javascript:alert(1)"'), 'sources[0].mfa_setup_url', /http or https/],
    [
      into.source('authorization_params: { prompt: none }'),
      'sources[0].authorization_params.prompt',
      /nobody/,
    ],
    // mfa, by the room that owns it
    [into.mfa('preset: nope'), 'sources[0].mfa.preset', /no preset/],
    [into.mfa('preset: keycloak'), 'sources[0].mfa.aal2_acr_values', /needs aal2_acr_values/],
    [into.mfa('preset: generic, aal2_amr_values: []'), 'sources[0].mfa.accept', /nothing to accept/],
    [
      into.mfa('preset: generic, report_only_until: 2027-01-31'),
      'sources[0].mfa.report_only_until',
      /report_only/,
    ],
    [
      into.mfa('preset: generic, mode: report_only, report_only_until: 2027-02-30'),
      'sources[0].mfa.report_only_until',
      /no.* date|not a date/,
    ],
    [
      into.mfa('preset: generic, mode: report_only, enforce_for: {}'),
      'sources[0].mfa.enforce_for',
      /names nobody/,
    ],
    ...[
      'ada',
      '@example.com',
      '*@example.com',
      'ada@',
      'a@b@c',
      'Ada <ada@example.com>',
      'ada@*.example.com',
      'ada@example.com grace',
    ].map(
      (email) =>
        [
          into.mfa(
            `preset: generic, mode: report_only, enforce_for: { emails: [ada@example.com, "${email}"] }`,
          ),
          'sources[0].mfa.enforce_for.emails[1]',
          /expected an email address/,
        ] as const,
    ),
    [into.mfa('preset: generic, enforce_for: { groups: [x] }'), 'sources[0].mfa.enforce_for', /report_only/],
    [into.mfa('preset: generic, max_auth_age: 1500ms'), 'sources[0].mfa.max_auth_age', /whole seconds/],
    [
      into.mfa('preset: generic, aal2_claims: { amr: [mfa] }'),
      'sources[0].mfa.aal2_claims.amr',
      /another claim/,
    ],
    [
      into.mfa('preset: keycloak, aal2_acr_values: [gold], acr_values: [gold]'),
      'sources[0].mfa.acr_values',
      /beside an essential acr/,
    ],
    [into.issuer('https://appleid.apple.com'), 'sources[0].mfa.mode', /nobody could sign in/],
    // routes
    [into.routes('name: a, path: /a', 'name: a, path: /b'), 'routes[1].name', /taken/],
    [into.routes('name: sallyport, path: /a'), 'routes[0].name', /taken/],
    [into.routes('name: a, path: a'), 'routes[0].path', /slash/],
    [into.routes('name: a, path: /a*'), 'routes[0].path', /star/],
    [into.routes('name: a, path: /a/../b'), 'routes[0].path', /can match no request/],
    [into.routes('name: a, path: /a, sources: [nope]'), 'routes[0].sources[0]', /no source/],
    [into.routes('name: a, path: /a, source: nope, groups: [x]'), 'routes[0].source', /no source/],
    [into.routes('name: a, path: /a, groups: []'), 'routes[0].groups', /matches nobody/],
    [
      into.routes('name: a, path: /a, access: public, require_aal: aal2'),
      'routes[0].require_aal',
      /no effect/,
    ],
    [into.routes('name: a, path: /a, access: deny, groups: [x]'), 'routes[0].groups', /no effect/],
    [
      into.routes('name: a, path: /a, access: public, accept_attested: true'),
      'routes[0].accept_attested',
      /no effect/,
    ],
    [
      into.routes('name: a, path: /a, credential_headers: [X-Key]'),
      'routes[0].credential_headers',
      /no effect/,
    ],
    [
      into.routes('name: a, path: /a, access: credentials, credential_headers: []'),
      'routes[0].credential_headers',
      /at least one/,
    ],
    [
      into.routes('name: a, path: /a, access: credentials, credential_headers: [X-Key, "a b"]'),
      'routes[0].credential_headers[1]',
      /name of a header/,
    ],
    ...['Authorization', 'Cookie', 'X_WebAuth_User', 'X-Sallyport-Assertion', 'X-Forwarded-User'].map(
      (name) =>
        [
          into.routes(`name: a, path: /a, access: credentials, credential_headers: [${name}]`),
          'routes[0].credential_headers[0]',
          /meaning of its own/,
        ] as const,
    ),
    [
      `${into.upstream('identity_headers: [{ header: X-Who, claim: user }]')}routes:
  - { name: a, path: /a, access: credentials, credential_headers: [X_Who] }
`,
      'routes[0].credential_headers[0]',
      /meaning of its own/,
    ],
    [into.upstream('bound_cookies: ["a=b"]'), 'upstream.bound_cookies[0]', /name of a cookie/],
    [into.routes('name: a, path: /a, methods: ["G T"]'), 'routes[0].methods[0]', /HTTP method/],
    [into.routes('name: a, path: /a, methods: [GET, post]'), 'routes[0].methods[1]', /in capitals/],
    [into.routes('name: a, path: /a, methods: []'), 'routes[0].methods', /matches no request/],
    [into.routes('name: a, path: /a, emails: [ada]'), 'routes[0].emails[0]', /email address/],
    [into.routes('name: a, path: /a, emails: [ädä@example.com]'), 'routes[0].emails[0]', /not all ASCII/],
    [into.routes('name: a, path: /a, emails: [ada@exämple.com]'), 'routes[0].emails[0]', /not all ASCII/],
    [into.twoSources('name: a, path: /a, groups: [x]'), 'routes[0].source', /required beside/],
    [into.twoSources('name: a, path: /a, emails: [x@example.com]'), 'routes[0].source', /required beside/],
    [
      into.twoSources('name: a, path: /a, groups: [x], source: okta, sources: [entra]'),
      'routes[0].source',
      /not among/,
    ],
    // operators
    [`${soundFile}operators: [{}]\n`, 'operators[0]', /names nobody/],
    [`${soundFile}operators: [{ source: entra }]\n`, 'operators[0]', /names nobody/],
    [`${soundFile}operators: [{ groups: [] }]\n`, 'operators[0].groups', /names nobody/],
    [`${soundFile}operators: [{ emails: [ada] }]\n`, 'operators[0].emails[0]', /email address/],
    [`${soundFile}operators: [{ source: nope, groups: [x] }]\n`, 'operators[0].source', /no source/],
    [
      `${into.twoSources('name: a, path: /a')}operators: [{ emails: [x@example.com] }]\n`,
      'operators[0].source',
      /more than one source/,
    ],
    [
      `${soundFile}branding: { support_url: "javascript:x" }\n`,
      'branding.support_url',
      /http, https or mailto/,
    ],
  ];
  for (const [text, path, message] of table) {
    const parsed = parseConfig(text, 'f.yaml', {});
    const found = parsed.ok ? [] : parsed.faults;
    t.match(found, [{ path, message }], `${path} ${String(message)}`);
    t.equal(
      found.length,
      1,
      `${path}: one fault alone, found ${JSON.stringify(found.map((fault) => [fault.path, fault.message]))}`,
    );
    t.ok((found[0]?.line ?? 0) > 0 && (found[0]?.column ?? 0) > 0, `${path} has a place`);
  }
});

t.test('a faulty key hides no other, and brings no echo', async (t) => {
  t.match(faultsOf(into.session('absolute_timeout: 1').replace('3000', '3000/x')), [
    /upstream\.url/,
    /absolute_timeout/,
  ]);
  t.same(faultsOf(into.mfa('preset: keycloak, aal2_acr_values: 3')).length, 1, 'no policy is judged by half');
  t.same(
    faultsOf(into.routes('name: a, path: /a, sources: [entra]').replace('id: entra', 'id: ENTRA')).length,
    1,
  );
});

t.test('no header that the proxy takes off every request counts as a credential', async (t) => {
  const taken = (name: string) =>
    parseConfig(
      into.routes(`name: a, path: /a, access: credentials, credential_headers: ["${name}"]`),
      'f.yaml',
      {},
    ).ok;
  for (const name of [
    ...['Authorization', 'Cookie', 'Host', 'Origin', 'Referer', 'User-Agent', 'Accept', 'Accept-Language'],
    ...['TE', 'Upgrade', 'Expect', 'Proxy-Authorization', 'Content-Type', 'Content_Length', 'Sec-Fetch-Site'],
    ...['Remote_User', 'X-Forwarded-For', 'x_forwarded_user', 'X-Real-IP', 'X.Webauth.User', 'X-Id-Token'],
    ...['If-None-Match', 'Range', 'Cache-Control', 'Pragma', 'Priority', 'DNT', 'Upgrade-Insecure-Requests'],
    ...['X-Request-Id', 'traceparent', 'tracestate', 'X-Original-URL', 'X-HTTP-Method-Override', 'Cookie2'],
  ])
    t.notOk(taken(name), name);
  for (const name of [
    'X-Api-Key',
    'X-NuGet-ApiKey',
    'Private-Token',
    'X-Auth-Token',
    'X-Access-Token',
    'X-Gitea-OTP',
  ])
    t.ok(taken(name), name);
});

t.test('what is allowed but doubtful is a warning', async (t) => {
  const table: readonly (readonly [text: string, warning: RegExp])[] = [
    [soundFile.replace(/ {2}redis: .*\n/, ''), /^session\.redis: absent: sessions live in memory/],
    [into.server('trusted_proxies: [0.0.0.0/0]'), /^server\.trusted_proxies\[0\]: everybody/],
    [into.session('cookie_name: sid'), /^session\.cookie_name: .*__Host-/],
    [into.session('cache: 5m'), /^session\.cache/],
    [into.mfa('preset: generic, mode: trust_idp'), /^sources\[0\]\.mfa\.mode: .*retired/],
    [into.routes('name: a, path: /_sallyport/**'), /^routes\[0\]\.path: never matches/],
    [into.routes('name: a, path: /_SALLYPORT/x'), /^routes\[0\]\.path: never matches/],
    [into.routes('name: a, path: "/%5fsallyport"'), /^routes\[0\]\.path: never matches/],
    ...['X-WEBAUTH-EMAIL', 'X_Forwarded_Email', 'Remote-Email', 'X-Mail', 'X-User-Email-Address'].map(
      (header) =>
        [
          into.upstream(`identity_headers: [{ header: ${header}, claim: upn }]`),
          /^upstream\.identity_headers\[0\]\.claim: .*neither verified nor bound/,
        ] as const,
    ),
    [
      `${into.mfa('preset: generic, mode: trust_idp')}operators: [{ groups: [x] }]\n`,
      /^operators\[0\]: .*AAL2/,
    ],
  ];
  for (const [text, warning] of table) {
    const parsed = parseConfig(text, 'f.yaml', {});
    t.ok(parsed.ok && parsed.warnings.some((line) => warning.test(line)), String(warning));
  }
  const mail = 'identity_headers: [{ header: X-Email, claim: email }, { header: X-Mailbox, claim: upn }]';
  for (const text of [soundFile, into.upstream(mail)]) {
    const quiet = parseConfig(text, 'f.yaml', {});
    t.same(quiet.ok && quiet.warnings, []);
  }
});
