import fc from 'fast-check';
import t from 'tap';
import { presetRoutes } from '../../src/policy/forge-routes.ts';
import { compilePattern, matchPattern, type Pattern } from '../../src/policy/pattern.ts';
import { covers, overlaps, warnAboutRoutes } from '../../src/policy/route-warnings.ts';
import { compileRoutes, plainRule } from '../../src/policy/routes.ts';
import type { Access, RouteRule } from '../../src/policy/types.ts';

const sources = [
  { id: 'entra', reachesAal2: true, attests: false, emailDomains: ['example.com'] },
  { id: 'weak', reachesAal2: false, attests: true, emailDomains: [] },
];

const rule = (name: string, path: string, access: Access, more: Partial<RouteRule> = {}): RouteRule => ({
  ...plainRule(name, path, access),
  ...more,
});
const aal2 = { requireAal: 'aal2' } as const;

const table: readonly (readonly [string, readonly RouteRule[], readonly string[]])[] = [
  ['rules in a sensible order', [rule('a', '/a/open/**', 'public'), rule('b', '/a/**', 'session', aal2)], []],
  [
    'shadowed by a wider path',
    [rule('a', '/a/**', 'public'), rule('b', '/a/*/x', 'session')],
    ['shadowed b'],
  ],
  ['shadowed by the same path', [rule('a', '/a', 'session'), rule('b', '/a', 'deny')], ['shadowed b']],
  [
    'not shadowed: other methods',
    [rule('a', '/a/**', 'session', { methods: ['GET'] }), rule('b', '/a/**', 'session')],
    [],
  ],
  [
    'shadowed: HEAD goes where GET goes',
    [
      rule('a', '/a/**', 'session', { methods: ['GET'] }),
      rule('b', '/a/x', 'session', { methods: ['GET', 'HEAD'] }),
    ],
    ['shadowed b'],
  ],
  [
    'an open rule that cuts through a stricter one',
    [rule('a', '/*/info', 'public'), rule('b', '/admin/**', 'session', aal2)],
    ['partly_shadowed b'],
  ],
  [
    'a strict rule that cuts through an open one',
    [rule('a', '/*/info', 'deny'), rule('b', '/open/**', 'public')],
    [],
  ],
  ['open to everyone', [rule('a', '/**', 'public')], ['open_to_everyone a']],
  ['closed to everyone', [rule('a', '/**', 'deny')], []],
  ['tokens pass by', [rule('a', '/git/**', 'credentials', aal2)], ['credentials_not_narrowed a']],
  ['TRACE', [rule('a', '/a', 'session', { methods: ['TRACE'] })], ['method_never_passes a']],
  ['no source can', [rule('a', '/a', 'session', { ...aal2, sources: ['weak'] })], ['no_source_can_give a']],
  [
    'attested will do',
    [rule('a', '/a', 'session', { ...aal2, sources: ['weak'], acceptAttested: true })],
    [],
  ],
  [
    'attested, where nothing asks for more',
    [rule('a', '/a', 'session', { acceptAttested: true })],
    ['attested_without_effect a'],
  ],
  [
    'attested, by nobody',
    [rule('a', '/a', 'session', { ...aal2, sources: ['entra'], acceptAttested: true })],
    ['attested_without_effect a'],
  ],
  ['one source can', [rule('a', '/a', 'session', aal2)], []],
  [
    'an address that cannot sign in',
    [rule('a', '/a', 'session', { sources: ['entra'], emails: ['a@example.com', 'b@Elsewhere.example'] })],
    ['email_never_signs_in a'],
  ],
];

for (const [title, rules, expected] of table) {
  t.test(title, async (t) => {
    const found = warnAboutRoutes(rules, [], sources);
    t.same(
      found.map(({ code, rule }) => `${code} ${rule}`),
      expected,
    );
    for (const { message, cure } of found) t.ok(message.includes('route') && cure !== '');
  });
}

t.test("a rule before the forge's own is told what it opens", async (t) => {
  const forge = presetRoutes('forgejo');
  const [warning] = warnAboutRoutes([rule('users', '/user/**', 'session')], forge, sources);
  t.equal(warning?.code, 'opens_preset');
  t.match(warning?.message, /forge-login \(\/user\/login\/\*\*\).* and \d+ more/);
  const meant = [rule('admin', '/admin/**', 'session', aal2), rule('metrics', '/metrics', 'public')];
  t.same(warnAboutRoutes(meant, forge, sources), [], 'the very path: that is meant');
});

t.test("a rule on a path that the forge's own ask AAL2 for is told so where it does not", async (t) => {
  const forge = presetRoutes('forgejo');
  const warned = (path: string, access: Access, more: Partial<RouteRule> = {}) =>
    warnAboutRoutes([rule('own', path, access, more)], forge, sources).map(({ code }) => code);
  const table: readonly (readonly [string, Access, Partial<RouteRule>, readonly string[]])[] = [
    ['/user/settings/keys/**', 'session', {}, ['drops_aal2']],
    ['/user/settings/keys/**', 'session', { groups: ['staff'] }, ['drops_aal2']],
    ['/user/settings/keys/**', 'session', { maxAuthAgeSeconds: 60 }, ['drops_aal2']],
    ['/user/settings/keys/**', 'public', {}, ['drops_aal2']],
    ['/user/settings/keys/**', 'session', aal2, []],
    ['/user/settings/keys/**', 'deny', {}, []],
    ['/user/settings/keys/**', 'bearer', aal2, []],
    ['/user/settings/keys/**', 'credentials', aal2, ['drops_aal2', 'credentials_not_narrowed']],
    ['/api/v1/user/keys/**', 'credentials', aal2, ['credentials_not_narrowed']],
    ['/api/v1/user/keys/**', 'session', {}, ['drops_aal2']],
    ['/api/v1/user/keys/**', 'session', { methods: ['GET'] }, []],
    ['/acme/app/settings/hooks/**', 'session', {}, ['drops_aal2']],
    ['/acme/app/settings', 'session', {}, []],
    ['/user/settings/**', 'session', {}, ['opens_preset']],
  ];
  for (const [path, access, more, expected] of table)
    t.same(warned(path, access, more), expected, `${path} ${access} ${JSON.stringify(more)}`);
  const cured = [
    rule('keys', '/user/settings/keys/**', 'session', { ...aal2, maxAuthAgeSeconds: 3600 }),
    rule('users', '/user/settings/**', 'session'),
  ];
  t.match(
    warnAboutRoutes(cured, forge, sources)[0]?.message,
    /: it stands before the preset's stricter forge-user-app/,
  );
  t.notMatch(
    warnAboutRoutes(cured, forge, sources)[0]?.message,
    /forge-user-keys/,
    'a rule before it takes that',
  );
  const shadowed = [rule('all', '/**', 'deny'), rule('keys', '/user/settings/keys/**', 'session')];
  t.same(
    warnAboutRoutes(shadowed, forge, sources).map(({ code }) => code),
    ['shadowed'],
    'what never matches opens nothing',
  );
  const [warning] = warnAboutRoutes([rule('keys', '/user/settings/keys/**', 'session')], forge, sources);
  t.match(
    warning?.message,
    /route keys opens without AAL2 .* forge-user-keys \(\/user\/settings\/keys\/\*\*\)$/,
  );
  t.match(warning?.cure, /require_aal: aal2/);
});

const segment = fc.constantFrom('a', 'b', '*', '**');
const path = fc.array(segment, { maxLength: 5 }).map((parts) => `/${parts.join('/')}`);
const target = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 6 });

function patternOf(text: string): Pattern {
  const compiled = compilePattern(text);
  if ('fault' in compiled) throw new Error(compiled.fault.message);
  return compiled.pattern;
}

t.test('covers and overlaps agree with the matcher', async () => {
  fc.assert(
    fc.property(path, path, target, (one, other, segments) => {
      const [a, b] = [patternOf(one), patternOf(other)];
      const [inA, inB] = [matchPattern(a, segments), matchPattern(b, segments)];
      if (covers(a, b) && inB && !inA) return false;
      return !(inA && inB) || overlaps(a, b);
    }),
    { numRuns: 5000 },
  );
});

t.test('what is called shadowed is never chosen', async () => {
  fc.assert(
    fc.property(fc.array(path, { minLength: 1, maxLength: 5 }), target, (paths, segments) => {
      const rules = paths.map((each, index) => rule(`r${index}`, each, 'session'));
      const shadowed = warnAboutRoutes(rules, [], sources)
        .filter(({ code }) => code === 'shadowed')
        .map((warning) => warning.rule);
      const chosen = compileRoutes(rules)('GET', { ok: true, path: `/${segments.join('/')}`, segments });
      return !shadowed.includes(chosen.name);
    }),
    { numRuns: 3000 },
  );
});
