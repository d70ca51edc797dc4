import fc from 'fast-check';
import t from 'tap';
import { canonicalTarget } from '../../src/policy/canonical-target.ts';
import { presetRoutes } from '../../src/policy/forge-routes.ts';
import { compilePattern, matchPattern } from '../../src/policy/pattern.ts';
import {
  ambiguousRule,
  compileRoutes,
  defaultRule,
  findRouteFaults,
  plainRule,
  ruleOfConfig,
  validateRoutePattern,
  type RouteSettings,
} from '../../src/policy/routes.ts';
import type { RouteRule } from '../../src/policy/types.ts';

/** Which rule a raw target meets: its name, or `400`. */
function meets(rules: readonly RouteRule[], raw: string, method = 'GET'): string {
  const target = canonicalTarget(raw);
  return target.ok ? compileRoutes(rules)(method, target).name : '400';
}

t.test('patterns', async (t) => {
  const rows: readonly [pattern: string, yes: readonly string[], no: readonly string[]][] = [
    ['/', ['/', '//', '/?x'], ['/a']],
    ['/a', ['/a', '/a/', '//a', '/%61', '/a?b'], ['/', '/b', '/A', '/a/b', '/ab', '/a%2F']],
    ['/a/', ['/a', '/a/'], ['/a/b']],
    ['/*', ['/a', '/a%2Fb', '/...'], ['/', '/a/b']],
    ['/**', ['/', '/a', '/a/b/c'], []],
    ['/a/*', ['/a/b', '/a/b/'], ['/a', '/a/', '/a/b/c', '/b/b']],
    ['/a/**', ['/a', '/a/', '/a/b', '/a/b/c'], ['/', '/ab', '/b/a']],
    [
      '/*/*/settings/keys/**',
      ['/u/r/settings/keys', '/u/r/settings/keys/1/2'],
      ['/u/settings/keys', '/u/r/x/settings/keys'],
    ],
    ['/a/**/z', ['/a/z', '/a/b/z', '/a/z/z', '/a/b/c/z'], ['/a', '/a/z/b', '/z']],
    ['/**/b/**/d', ['/b/d', '/a/b/c/d', '/b/b/d/d'], ['/d/b', '/b', '/a/b']],
    ['/**/**', ['/', '/a/b'], []],
    ['/a/*/**', ['/a/b', '/a/b/c'], ['/a']],
    ['/a%2db', ['/a-b', '/a%2Db'], ['/a%252db']],
    ['/ä', ['/%C3%A4', '/%c3%a4', '/\u00c3\u00a4'], ['/%E4', '/a']],
    ['/%2A', ['/*', '/%2a'], ['/a']],
    ['/a%2Fb', ['/a%2Fb', '/a%2fb'], ['/a/b']],
    ['/.well-known/x', ['/.well-known/x', '/%2ewell-known/x'], ['/well-known/x']],
  ];
  for (const [pattern, yes, no] of rows) {
    // A session's rule: another reading of what is open to everybody is another test's affair.
    const rules = [plainRule('it', pattern, 'session')];
    for (const raw of yes) t.equal(meets(rules, raw), 'it', `${pattern} matches ${raw}`);
    for (const raw of no) t.not(meets(rules, raw), 'it', `${pattern} does not match ${raw}`);
  }
});

t.test('a pattern that could match no request is told, with a cure', async (t) => {
  for (const path of [
    'a',
    '',
    '/a?b',
    '/a#b',
    '//a',
    '/a*',
    '/*.git',
    '/a/***',
    '/a/../b',
    '/%2e',
    '/a\\b',
    '/%',
    '/%zz',
    '/a b',
    '/a%00',
  ]) {
    const fault = validateRoutePattern(path);
    t.match(fault, { message: /\S/, cure: /\S/ }, JSON.stringify(path));
  }
  for (const path of ['/', '/**', '/a', '/a/', '/*/b/**', '/ä', '/.x'])
    t.equal(validateRoutePattern(path), undefined, path);
});

t.test('property: matching agrees with a regular expression that says the same', async () => {
  const segment = fc.constantFrom('a', 'b', '*', '**');
  const paths = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 5 }), paths, (pattern, segments) => {
      const compiled = compilePattern(`/${pattern.join('/')}`);
      if ('fault' in compiled) return false;
      const source = pattern
        .map((each) => (each === '**' ? '(?:/[^/]+)*' : each === '*' ? '/[^/]+' : `/${each}`))
        .join('');
      const text = segments.map((each) => `/${each}`).join('');
      return matchPattern(compiled.pattern, segments) === new RegExp(`^${source}$`).test(text);
    }),
    { numRuns: 5000 },
  );
});

t.test('many stars cost no time', async (t) => {
  const rules = [plainRule('it', `/${Array.from({ length: 20 }, () => '**/a').join('/')}/b`, 'deny')];
  const start = process.hrtime.bigint();
  meets(rules, `/${'a/'.repeat(5000)}`);
  t.ok(process.hrtime.bigint() - start < 1_000_000_000n);
});

t.test('the first rule that matches wins, and the last one asks for a session', async (t) => {
  const rules = [
    plainRule('one', '/a/b', 'public'),
    plainRule('two', '/*/b', 'deny'),
    plainRule('three', '/a/**', 'session'),
    plainRule('four', '/a/c', 'public'),
  ];
  t.equal(meets(rules, '/a/b'), 'one');
  t.equal(meets(rules, '/x/b'), 'two');
  t.equal(meets(rules, '/a/c'), 'three', 'the order, not how exact a rule is');
  t.equal(meets(rules, '/'), 'default');
  t.equal(meets([], '/a'), 'default');
  t.match(defaultRule, { name: 'default', access: 'session' });
});

t.test('methods: HEAD matches where GET does, and case counts', async (t) => {
  const rules = [
    ruleOfConfig({ name: 'get', path: '/a', methods: ['get'], access: 'public', accept_attested: false }),
  ];
  t.equal(meets(rules, '/a', 'GET'), 'get');
  t.equal(meets(rules, '/a', 'HEAD'), 'get');
  for (const method of ['POST', 'get', 'Get', 'OPTIONS', 'GETX', ''])
    t.equal(meets(rules, '/a', method), 'default', method);
  const head = [{ ...plainRule('head', '/a', 'public'), methods: ['HEAD'] }];
  t.equal(meets(head, '/a', 'HEAD'), 'head');
  t.equal(meets(head, '/a', 'GET'), 'default');
});

t.test('%2F is opaque: it is no separator', async (t) => {
  const rules = [plainRule('one', '/*', 'public'), plainRule('two', '/a/b', 'public')];
  t.equal(meets(rules, '/a%2Fb'), 'one');
  t.equal(meets(rules, '/a/b'), 'two');
});

t.test('where another reading of %2F or ; meets a stricter rule, nobody passes', async (t) => {
  const aal2 = { ...plainRule('power', '/admin/**', 'session'), requireAal: 'aal2' as const };
  const rules = [plainRule('closed', '/secret/**', 'deny'), aal2, plainRule('open', '/*/**', 'public')];
  const { name } = ambiguousRule;
  for (const raw of [
    '/secret;x',
    '/secret;x=1/y',
    '/secret%2Fy',
    '/secret%2fy',
    '/secret;%2Fy',
    '/secret%3Bx',
    '/%73ecret%2Fy',
    '/admin;/users',
    '/admin%2Fusers',
    '/;/admin/users',
    '/%2Fadmin/users',
  ]) {
    t.equal(meets(rules, raw), name, raw);
  }
  t.equal(ambiguousRule.access, 'deny');
  for (const raw of ['/u/r/a;b.txt', '/u/r/a%2Fb', '/u/secret;x', '/x%2Fsecret']) {
    t.equal(meets(rules, raw), 'open', raw);
  }
  t.equal(meets(rules, '/admin/a;b'), 'power', 'the same rule in both readings');
  t.equal(
    meets([plainRule('open', '/open/**', 'public')], '/open;x'),
    'default',
    'the other way round, the stricter reading holds already',
  );
});

t.test('whatever narrows a rule, another reading does not lead past it', async (t) => {
  for (const narrowing of [
    { requireAal: 'aal2' as const },
    { maxAuthAgeSeconds: 300 },
    { sources: ['staff'] },
    { groups: ['admins'] },
    { emails: ['root@example.org'] },
  ]) {
    const rules = [
      { ...plainRule('narrow', '/admin/**', 'session'), ...narrowing },
      plainRule('wide', '/**', 'session'),
    ];
    const said = JSON.stringify(narrowing);
    t.equal(meets(rules, '/admin/users'), 'narrow', said);
    t.equal(meets(rules, '/admin%2Fusers'), ambiguousRule.name, said);
    t.equal(meets(rules, '/ADMIN/users'), ambiguousRule.name, said);
  }
});

t.test('the forge presets deny what would be a second way in', async (t) => {
  const rules = presetRoutes('forgejo');
  t.strictSame(presetRoutes('gitea'), rules);
  for (const preset of ['generic', 'grafana', 'authelia', 'oauth2_proxy', 'constructor'])
    t.strictSame(presetRoutes(preset), []);
  const compiled = compileRoutes(rules);
  const paths = [
    ...[
      '/api/internal',
      '/api/internal/hook/pre-receive/a/b',
      '/metrics',
      '/metrics/',
      '/install',
      '/user/sign_up',
    ],
    ...['/user/forgot_password', '/user/recover_account', '/user/login', '/user/login/x', '/user/two_factor'],
    ...[
      '/user/two_factor/scratch',
      '/user/webauthn',
      '/user/webauthn/assertion',
      '/user/oauth2/idp',
      '/user/oauth2/idp/callback',
    ],
    ...[
      '/user/openid/connect',
      '/user/link_account',
      '/user/link_account/x',
      '/user/link_account_signin',
      '/user/link_account_signup',
    ],
    ...[
      '//user//login',
      '/user/%6cogin',
      '/user/login?redirect_to=/',
      '/user%2Flogin',
      '/user/login;x',
      '/user;x/login',
    ],
  ];
  for (const raw of paths) {
    const target = canonicalTarget(raw);
    t.ok(target.ok && compiled('GET', target).access === 'deny', raw);
    t.ok(target.ok && compiled('POST', target).access === 'deny', `POST ${raw}`);
  }
  for (const raw of ['/', '/user/settings', '/metrics2', '/u/install', '/explore']) {
    t.equal(meets(rules, raw), 'default', raw);
  }
  t.strictSame(
    rules.filter(({ signInInstead }) => signInInstead).map(({ path }) => path),
    ['/user/login/**'],
  );
  t.strictSame(
    findRouteFaults(rules.map((rule) => route({ name: rule.name, path: rule.path, access: rule.access }))),
    [],
  );
});

t.test('the forge presets: who gets in where', async (t) => {
  const compiled = compileRoutes(presetRoutes('gitea'));
  const at = (raw: string, method = 'GET'): RouteRule => {
    const target = canonicalTarget(raw);
    if (!target.ok) throw new Error(`${raw}: ${target.why}`);
    return compiled(method, target);
  };
  const credentials = [
    ...['/u/r.git/info/refs?service=git-upload-pack', '/u/r/info/refs', '/u/r.git/git-upload-pack'],
    ...['/u/r.git/git-receive-pack', '/u/r/git-upload-archive', '/u/r.wiki.git/info/refs', '/u/r.git/HEAD'],
    ...['/u/r.git/objects/info/packs', '/u/r/objects/pack/pack-1.pack', '//u//r.git//info//refs/'],
    ...['/u/r.git/info/lfs/objects/batch', '/u/r/info/lfs/locks/1/unlock', '/api/v1', '/api/v1/user'],
    ...['/api/v1/repos/u/r/contents/a', '/api/v1/repos/u/r/branches/feature%2Fx', '/api/v1/users/u'],
    ...['/api/packages/u/npm/@s%2Fp', '/api/packages/u/nuget/index.json', '/v2', '/v2/', '/v2/token'],
    ...[
      '/v2/u/i/manifests/latest',
      '/u/r/archive/main.tar.gz',
      '/u/r/raw/branch/main/a',
      '/u/r/media/branch/x',
    ],
    ...['/u/r/releases/download/v1/a.zip', '/u/r/raw/branch/main/settings/keys', '/api/forgejo/v1/version'],
  ];
  for (const raw of credentials) t.equal(at(raw).access, 'credentials', raw);
  const power = [
    ...['/user/settings/applications', '/user/settings/applications/oauth2/1', '/user/settings/keys'],
    ...['/user/settings/security/two_factor/enroll', '/user/settings/account', '/u/r/settings/keys'],
    ...['/u/r/settings/hooks/1', '/org/o/settings', '/org/o/settings/hooks', '/login/oauth/authorize?x'],
    ...['/login/oauth/grant', '/admin', '/admin/users', '/-/admin', '/-/admin/users/raw/x', '//-//admin/'],
    ...['/api/v1/users/u/tokens', '/api/v1/users/u/tokens/3', '/api/v1/admin/users', '/api/v1/admin/raw/x'],
    ...['/api/v1/users/u%41/tokens', '/org/raw/settings/raw/x', '/user/settings/keys/raw/x'],
  ];
  for (const raw of power) {
    for (const method of ['GET', 'POST', 'DELETE', 'PROPFIND'])
      t.match(
        at(raw, method),
        { access: 'session', requireAal: 'aal2', maxAuthAgeSeconds: 3_600, acceptAttested: false },
        `${method} ${raw}`,
      );
  }
  const keys = ['/api/v1/user/keys', '/api/v1/user/applications/oauth2', '/api/v1/repos/u/r/hooks'];
  for (const raw of keys) {
    t.match(at(raw, 'POST'), { access: 'credentials', requireAal: 'aal2', maxAuthAgeSeconds: 3_600 }, raw);
    t.match(at(raw), { access: 'credentials', requireAal: undefined }, raw);
  }
  for (const raw of [
    ...['/api/actions/runner.v1.RunnerService/Register', '/api/actions_pipeline/_apis/pipelines/1/artifacts'],
    ...['/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact', '/login/oauth/access_token'],
    ...['/login/oauth/keys', '/login/oauth/introspect', '/login/oauth/userinfo'],
    '/.well-known/openid-configuration',
  ])
    t.equal(at(raw, 'POST').access, 'upstream', raw);
  for (const raw of ['/assets/css/x.css', '/robots.txt', '/favicon.ico', '/manifest.json'])
    t.equal(at(raw).access, 'public', raw);
  for (const raw of [
    '/avatars/1',
    '/repo-avatars/1',
    '/',
    '/u/r',
    '/u/r/issues',
    '/user/logout',
    '/user/events',
  ])
    t.equal(at(raw).access, 'session', raw);
  t.equal(at('/user/logout').endsSession, true);
  t.same(
    presetRoutes('gitea').flatMap(({ path, credentialHeaders }) => (credentialHeaders ? [path] : [])),
    ['/api/packages/**'],
  );
  // Spellings by which an upstream could read another path than the rule was chosen for.
  for (const raw of [
    '/api/v1/users/u%2Ftokens',
    '/api/v1/admin;x/users',
    '/api/v1%2Fadmin/users',
    '/u/r;x/settings/keys',
  ]) {
    t.not(at(raw, 'POST').access, 'credentials', raw);
    t.ok(at(raw, 'POST').requireAal === 'aal2' || at(raw, 'POST') === ambiguousRule, raw);
  }
  for (const raw of ['/Api/v1/user', '/V2/', '/Assets/x']) {
    t.equal(at(raw).access, 'session', `${raw}: fixed parts are compared exactly, by the forge too`);
  }
  t.equal(at('/API/V1/users/u/tokens'), ambiguousRule, 'nor is it a way round where case is folded');
});

t.test('a reading that decodes twice or folds case does not lead past a stricter rule', async (t) => {
  const compiled = compileRoutes([
    plainRule('closed', '/open/closed/**', 'deny'),
    plainRule('open', '/open/**', 'public'),
    plainRule('admin', '/admin/**', 'deny'),
  ]);
  const at = (raw: string) => {
    const target = canonicalTarget(raw);
    return target.ok ? compiled('GET', target).name : 'refused';
  };
  for (const raw of [
    '/ADMIN/panel',
    '/Admin',
    '/open/CLOSED/x',
    '/%2561dmin/panel',
    '/%252561dmin/panel',
    '/admin%252fpanel',
    '/admin%255cpanel',
    '/open/%2563losed/x',
    '/open/%2543LOSED/x',
    '/open%252Fclosed%252Fx',
    '/ADMIN;x/panel',
    '/admin%253bx/panel',
  ]) {
    t.equal(at(raw), 'ambiguous', raw);
  }
  for (const [raw, name] of [
    ['/open/README.md', 'open'],
    ['/open/100%25', 'open'],
    ['/Open/x', 'default'],
    ['/other/%2561', 'default'],
  ] as const) {
    t.equal(at(raw), name, raw);
  }
});

t.test('property: no spelling of a denied path is let in', async () => {
  const compiled = compileRoutes(presetRoutes('forgejo'));
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat({ max: 5 })), (dice) => {
      const roll = () => dice.next().value ?? 0;
      const raw = Array.from('/user/login', (character) => {
        const code = character.charCodeAt(0).toString(16);
        if (character === '/') return ['/', '//', '///', '/', ';a/', '/'][roll()] ?? '/';
        return [character, `%${code}`, `%${code.toUpperCase()}`][roll()] ?? character;
      });
      const target = canonicalTarget(`/${raw.join('')}`);
      return !target.ok || compiled('GET', target).access === 'deny';
    }),
    { numRuns: 3000 },
  );
});

/** A configured route with the defaults of the schema. */
function route(more: Partial<RouteSettings> = {}): RouteSettings {
  return { name: 'one', path: '/a', access: 'session', accept_attested: false, ...more };
}

t.test('a configured route becomes a rule', async (t) => {
  const full = route({
    methods: ['post', 'PUT'],
    require_aal: 'aal2',
    max_auth_age: 900_500,
    accept_attested: true,
    groups: ['g'],
    emails: ['e'],
    source: 'entra',
  });
  t.strictSame(ruleOfConfig(full), {
    name: 'one',
    path: '/a',
    methods: ['POST', 'PUT'],
    access: 'session',
    requireAal: 'aal2',
    maxAuthAgeSeconds: 900,
    acceptAttested: true,
    sources: ['entra'],
    groups: ['g'],
    emails: ['e'],
    signInInstead: false,
    credentialHeaders: undefined,
    endsSession: false,
  });
  t.strictSame(ruleOfConfig(route()), plainRule('one', '/a', 'session'));
  t.strictSame(ruleOfConfig(route({ sources: ['a', 'b'] })).sources, ['a', 'b']);
  t.strictSame(ruleOfConfig(route({ sources: ['a', 'b'], source: 'b' })).sources, ['b']);
  t.strictSame(ruleOfConfig(route({ sources: ['a'], source: 'b' })).sources, [], 'which nobody satisfies');
});

t.test('faults of routes are told together, each with its place', async (t) => {
  const faults = findRouteFaults(
    [
      route(),
      route({ path: '/a*' }),
      route({ name: 'default' }),
      route({ name: 'forge-login' }),
      route({ name: 'three', methods: [] }),
      route({ name: 'four', access: 'public', require_aal: 'aal2', groups: ['g'] }),
    ],
    presetRoutes('forgejo'),
  );
  t.strictSame(
    faults.map(({ index, path }) => [index, ...path]),
    [
      [1, 'path'],
      [1, 'name'],
      [2, 'name'],
      [3, 'name'],
      [4, 'methods'],
      [5, 'require_aal'],
      [5, 'groups'],
    ],
  );
  for (const { message, cure } of faults) t.match(message + cure, /\S/);
});

t.test('what narrows a session is a fault wherever no session is asked for', async (t) => {
  const narrowing = {
    require_aal: 'aal2',
    max_auth_age: 300_000,
    sources: ['staff'],
    groups: ['admins'],
    emails: ['root@example.org'],
    source: 'staff',
  } as const;
  for (const access of ['public', 'upstream', 'deny', 'session', 'credentials', 'bearer'] as const) {
    const looksLikeProtection = ['public', 'upstream', 'deny'].includes(access);
    for (const [key, value] of Object.entries(narrowing)) {
      t.strictSame(
        findRouteFaults([route({ access, [key]: value })]).map(({ path }) => path),
        looksLikeProtection ? [[key]] : [],
        `${key} beside access: ${access}`,
      );
    }
  }
});

t.test('a rule with a faulty pattern is never compiled into one that lets people in', async (t) => {
  t.throws(() => compileRoutes([plainRule('one', '/a*', 'deny')]), TypeError);
});

t.test(
  'an encoded slash or a path parameter does not lead an anonymous user from a public wildcard to a page that needs a session',
  async (t) => {
    const match = compileRoutes([
      plainRule('releases', '/*/*/releases/**', 'public'),
      plainRule('docs', '/README', 'public'),
    ]);
    const named = (raw: string) => {
      const target = canonicalTarget(raw);
      return target.ok ? match('GET', target).name : 'refused';
    };
    t.equal(named('/a/b/releases/x'), 'releases');
    t.equal(named('/a/b/c/releases/x'), 'default');
    for (const raw of ['/a%2Fb/c/releases/x', '/a%252Fb/c/releases/x', '/a%2fb/c/releases/x']) {
      t.equal(named(raw), 'ambiguous', raw);
    }
    t.equal(named('/a/b/releases/x%2Fy'), 'releases', 'a reading under the same rule does no harm');
    t.equal(named('/README'), 'docs', 'case alone is no other reading of a rule for everybody');
    t.equal(named('/README;v=1'), 'default');
  },
);

t.test(
  'a runner registration token takes AAL2 and a fresh sign-in by every method: some forges hand it out on GET',
  async (t) => {
    const match = compileRoutes(presetRoutes('forgejo'));
    for (const owner of ['user', 'orgs/o', 'repos/o/r']) {
      for (const method of ['GET', 'HEAD', 'POST']) {
        const target = canonicalTarget(`/api/v1/${owner}/actions/runners/registration-token`);
        const rule = target.ok ? match(method, target) : defaultRule;
        t.match(rule, { requireAal: 'aal2', maxAuthAgeSeconds: 3600 }, `${method} ${owner}`);
      }
    }
  },
);
