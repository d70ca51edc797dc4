import fc from 'fast-check';
import t from 'tap';
import { hasControlCharacter } from '../../src/identity/characters.ts';
import { refreshedGroups } from '../../src/identity/groups.ts';
import { resolveIdentity } from '../../src/identity/resolve.ts';
import { foldUsername } from '../../src/identity/username-rules.ts';

type Claims = Record<string, unknown>;
type Parameters_ = Parameters<typeof resolveIdentity>;

const source: Parameters_[1] = {
  groups_claim: 'groups',
  email_trusted: false,
  email_domains: [],
  allowed_groups: [],
};
const username: Parameters_[2] = {
  claim: 'preferred_username',
  format: 'local_part',
  pattern: undefined,
  reserved: undefined,
  bind: true,
};
const claims: Claims = {
  sub: 's-1',
  email: 'alice@example.com',
  email_verified: true,
  preferred_username: 'alice',
  name: 'Alice',
  groups: ['dev'],
};

function resolve(
  over: Claims = {},
  with_: {
    source?: Partial<Parameters_[1]>;
    username?: Partial<Parameters_[2]>;
    preset?: Parameters_[3];
    profile?: Claims;
  } = {},
) {
  const all = { ...claims, ...over };
  return resolveIdentity(
    { claims: all, profile: with_.profile ?? all },
    { ...source, ...with_.source },
    { ...username, ...with_.username },
    with_.preset ?? 'forgejo',
  );
}
const codeOf = (result: ReturnType<typeof resolve>) => (result.ok ? 'ok' : result.code);
const nameOf = (result: ReturnType<typeof resolve>) => (result.ok ? result.identity.username : result.code);

t.test('a plain sign-in becomes an identity', async (t) => {
  t.same(resolve(), {
    ok: true,
    identity: {
      subject: 's-1',
      username: 'alice',
      name: 'Alice',
      email: 'alice@example.com',
      emailVerified: true,
      preferredUsername: 'alice',
      groups: ['dev'],
    },
  });
});

t.test(
  'an email counts as verified only for the boolean true, or where the operator trusts a silent IdP',
  async (t) => {
    const table: [unknown, boolean, boolean][] = [
      [true, false, true],
      [false, false, false],
      [false, true, false],
      ['true', false, false],
      ['true', true, false],
      [1, true, false],
      [null, true, false],
      [undefined, false, false],
      [undefined, true, true],
    ];
    for (const [email_verified, email_trusted, expected] of table) {
      const result = resolve({ email_verified }, { source: { email_trusted } });
      t.equal(
        result.ok && result.identity.emailVerified,
        expected,
        `${JSON.stringify(email_verified)} ${email_trusted}`,
      );
    }
  },
);

t.test("userinfo's email_verified does not vouch for the ID token's address", async (t) => {
  const idToken = { sub: 's', preferred_username: 'alice', email: 'admin@example.com' };
  const merged = { ...idToken, email_verified: true };
  const result = resolveIdentity(
    { claims: idToken, profile: merged },
    { ...source, email_trusted: true },
    username,
    'forgejo',
  );
  t.equal(result.ok && result.identity.emailVerified, false);
  const both = { email: 'a@example.com', email_verified: true, sub: 's', preferred_username: 'a1' };
  const fromUserinfo = resolveIdentity({ claims: { sub: 's' }, profile: both }, source, username, 'forgejo');
  t.equal(fromUserinfo.ok && fromUserinfo.identity.emailVerified, true);
});

t.test('email domains are compared whole, without case, and only of verified addresses', async (t) => {
  const table: [Claims, string][] = [
    [{ email: 'a@example.com' }, 'ok'],
    [{ email: 'a@EXAMPLE.com' }, 'ok'],
    [{ email: 'a@sub.example.com' }, 'email_domain_not_allowed'],
    [{ email: 'a@notexample.com' }, 'email_domain_not_allowed'],
    [{ email: 'a@example.com.evil.test' }, 'email_domain_not_allowed'],
    [{ email: 'a@example.com', email_verified: false }, 'email_unverified'],
    [{ email: undefined }, 'email_unverified'],
    [{ email: 'example.com' }, 'email_unverified'],
    [{ email: 'a@evil.test@example.com' }, 'email_unverified'],
    [{ email: '"a@evil.test "@example.com' }, 'email_unverified'],
    [{ email: ['a@example.com'] }, 'email_unverified'],
  ];
  for (const [over, code] of table) {
    t.equal(
      codeOf(resolve(over, { source: { email_domains: ['Example.com'] } })),
      code,
      JSON.stringify(over),
    );
  }
  t.equal(
    codeOf(resolve({ email: 'a@\u212aorp.com' }, { source: { email_domains: ['korp.com'] } })),
    'email_unverified',
    'the Kelvin sign is no k',
  );
});

t.test('groups that cannot be told are refused where groups are needed, and unknown elsewhere', async (t) => {
  const unknown: [string, Claims][] = [
    ['absent', { groups: undefined }],
    ['Entra overage', { groups: undefined, _claim_names: { groups: 'src1' }, _claim_sources: { src1: {} } }],
    ['Entra overage beside a partial list', { _claim_names: { groups: 'src1' } }],
    ['Entra implicit overage', { groups: undefined, hasgroups: true }],
    ['hasgroups as text', { groups: undefined, hasgroups: 'true' }],
    ['a list with something else in it', { groups: ['dev', 7] }],
    ['an object', { groups: { dev: true } }],
    ['too many', { groups: Array.from({ length: 5001 }, (_, i) => `g${i}`) }],
  ];
  for (const [title, over] of unknown) {
    t.equal(codeOf(resolve(over, { source: { allowed_groups: ['dev'] } })), 'groups_unavailable', title);
    const result = resolve(over);
    t.ok(result.ok && result.identity.groups === undefined, `${title}: unknown, not empty`);
  }
  for (const overage of [{ _claim_names: { groups: 'src1' } }, { hasgroups: true }]) {
    const atUserinfo = { profile: { ...claims, ...overage }, source: { allowed_groups: ['dev'] } };
    t.equal(codeOf(resolve({}, atUserinfo)), 'groups_unavailable', 'told by userinfo alone');
  }
  t.equal(codeOf(resolve({ groups: [] }, { source: { allowed_groups: ['dev'] } })), 'group_not_allowed');
  t.equal(codeOf(resolve({ groups: ['Dev'] }, { source: { allowed_groups: ['dev'] } })), 'group_not_allowed');
  t.equal(codeOf(resolve({ groups: 'dev' }, { source: { allowed_groups: ['dev'] } })), 'ok');
  t.equal(
    codeOf(resolve({ groups: 'dev,ops' }, { source: { allowed_groups: ['dev'] } })),
    'group_not_allowed',
  );
  t.equal(
    codeOf(resolve({ roles: ['dev'] }, { source: { allowed_groups: ['dev'], groups_claim: 'roles' } })),
    'ok',
  );
});

t.test(
  'groups follow a refreshed ID token where it lists them whole, and stay as they were otherwise',
  async (t) => {
    const rows: readonly [title: string, claims: Claims, groups: readonly string[] | undefined][] = [
      ['a list', { groups: ['dev', 'ops'] }, ['dev', 'ops']],
      ['an empty list', { groups: [] }, []],
      ['none', {}, undefined],
      ['one as text', { groups: 'dev' }, undefined],
      ['an inherited one', Object.create({ groups: ['admins'] }) as Claims, undefined],
      ['a partial one', { groups: ['dev'], _claim_names: { groups: 'src1' } }, undefined],
      ['something else in it', { groups: ['dev', 7] }, undefined],
      ['a line break in it', { groups: ['dev', 'ops\r\nX-Forwarded-User: root'] }, undefined],
    ];
    for (const [title, claims, groups] of rows) t.same(refreshedGroups(claims, 'groups'), groups, title);
  },
);

t.test('user names follow claim, email and format', async (t) => {
  const table: [string, Claims, Partial<Parameters_[2]>, string][] = [
    ['the claim', {}, {}, 'alice'],
    ['its local part', { preferred_username: 'bob@corp.example' }, {}, 'bob'],
    ['the email where the claim is absent', { preferred_username: undefined }, {}, 'alice'],
    ['the email where the claim is blank', { preferred_username: '  ' }, {}, 'alice'],
    ['trimmed', { preferred_username: ' carol ' }, {}, 'carol'],
    ['another claim', { upn: 'dave@corp.example' }, { claim: 'upn' }, 'dave'],
    ['the email by name', {}, { claim: 'email' }, 'alice'],
    [
      'an unverified email is no user name',
      { preferred_username: undefined, email_verified: false },
      {},
      'email_unverified',
    ],
    ['not even by name', { email_verified: false }, { claim: 'email' }, 'email_unverified'],
    ['nothing at all', { preferred_username: undefined, email: undefined }, {}, 'username_invalid'],
    ['not a string', { preferred_username: 7, email: undefined }, {}, 'username_invalid'],
    ['two @', { preferred_username: 'a@b@c' }, {}, 'username_invalid'],
    ['nothing before the @', { preferred_username: '@corp' }, {}, 'username_invalid'],
    ['an Entra guest', { preferred_username: 'x_gmail.com#EXT#@t.onmicrosoft.com' }, {}, 'username_invalid'],
    [
      'as it is, with @, in a forge',
      { preferred_username: 'bob@corp.example' },
      { format: 'as_is' },
      'username_invalid',
    ],
  ];
  for (const [title, over, rule, expected] of table)
    t.equal(nameOf(resolve(over, { username: rule })), expected, title);
  t.equal(
    nameOf(
      resolve(
        { preferred_username: 'bob@corp.example' },
        { username: { format: 'as_is' }, preset: 'generic' },
      ),
    ),
    'bob@corp.example',
  );
});

t.test("the forges' own rules decide which names are possible", async (t) => {
  // Forgejo, modules/validation/helpers_test.go: TestIsValidUsername and TestIsValidUsernameAllowDots.
  for (const name of ['a', 'abc', '0.b-c', 'a.b-c_d', 'A1', 'x'.repeat(40)])
    t.equal(nameOf(resolve({ preferred_username: name })), name);
  for (const name of [
    '.abc',
    'abc.',
    'a..bc',
    'a...bc',
    'a.-bc',
    'a._bc',
    'a_-bc',
    '-a',
    '_a',
    'a-',
    'a b',
    'ä',
    'a/b',
    'x'.repeat(41),
  ]) {
    t.equal(nameOf(resolve({ preferred_username: name })), 'username_invalid', name);
  }
  t.equal(
    nameOf(resolve({ preferred_username: 'x'.repeat(256) }, { preset: 'generic' })),
    'username_invalid',
    'too long anywhere',
  );
});

t.test('reserved names are given to nobody, in any case', async (t) => {
  const names = [
    'admin',
    'Admin',
    'ROOT',
    'gitea_admin',
    'forgejo_admin',
    'ghost',
    'Gitea-Actions',
    'forgejo-actions',
    'api',
    'v2',
    'user',
    'org',
    'alice.keys',
    'alice.PNG',
    '.well-known',
  ];
  for (const preset of ['forgejo', 'gitea'] as const) {
    for (const preferred_username of names) {
      t.match(
        nameOf(resolve({ preferred_username }, { preset })),
        /^username_(reserved|invalid)$/,
        preferred_username,
      );
    }
  }
  t.equal(nameOf(resolve({ preferred_username: ' Admin@corp.example' })), 'username_reserved');
  t.equal(
    nameOf(resolve({ preferred_username: 'CEO' }, { username: { reserved: ['ceo '] } })),
    'username_reserved',
    "the operator's list",
  );
  t.equal(
    nameOf(resolve({ preferred_username: 'admin' }, { username: { reserved: [] } })),
    'admin',
    'an empty list unsets the preset',
  );
  t.equal(nameOf(resolve({ preferred_username: 'admin' }, { preset: 'grafana' })), 'username_reserved');
});

t.test(
  'a name that some upstream reads as a reserved one is reserved too: dotted İ, accents, full width',
  async (t) => {
    for (const preferred_username of [
      'admİn',
      'admın',
      'ádmin',
      'a\u0301dmin',
      'ａdmin',
      'ＡＤＭＩＮ',
      'ad\u200dmin',
      'ad\u00admin',
      '𝐚dmin',
    ])
      t.equal(
        nameOf(resolve({ preferred_username }, { preset: 'grafana' })),
        'username_reserved',
        preferred_username,
      );
    const own = { username: { reserved: ['straßenbau', '*.keys'] }, preset: 'generic' as const };
    t.equal(nameOf(resolve({ preferred_username: 'STRASSENBAU' }, own)), 'username_reserved');
    t.equal(nameOf(resolve({ preferred_username: 'alice.\u212aeyſ' }, own)), 'username_reserved');
    t.equal(nameOf(resolve({ preferred_username: 'strasse' }, own)), 'strasse');
  },
);

t.test(
  "an address that is not ASCII is nobody's: a forge that lower-cases İ would read a colleague's address",
  async (t) => {
    for (const email of [
      'alİce@example.com',
      'al\u0131ce@example.com',
      'a\u0301lice@example.com',
      'ali\u200dce@example.com',
      'alice@ex\u212ample.com',
    ]) {
      for (const preset of ['forgejo', 'gitea', 'grafana', 'oauth2_proxy', 'authelia', 'generic'] as const) {
        const result = resolve({ email }, { preset });
        t.equal(result.ok && result.identity.emailVerified, false, `${preset} ${email}`);
        const trusted = resolve(
          { email, email_verified: undefined },
          { preset, source: { email_trusted: true } },
        );
        t.equal(
          trusted.ok && trusted.identity.emailVerified,
          false,
          'trusting the IdP changes nothing of how others read it',
        );
        t.equal(
          codeOf(resolve({ email }, { preset, username: { claim: 'email' } })),
          'email_unverified',
          'no name is made of it',
        );
        t.equal(
          codeOf(resolve({ email }, { preset, source: { email_domains: ['example.com'] } })),
          'email_unverified',
        );
      }
    }
  },
);

t.test(
  'whatever an upstream does to a letter, names that become the same there are the same here',
  async (t) => {
    const readings: readonly ((text: string) => string)[] = [
      (text) => text.toLowerCase(),
      (text) => text.toUpperCase(),
      (text) => text.toUpperCase().toLowerCase(),
      (text) => text.normalize('NFKC'),
      (text) => text.normalize('NFKC').toLowerCase(),
      (text) => text.toLowerCase().normalize('NFKC'),
      (text) => text.normalize('NFKD').replace(/\p{M}/gu, ''),
      // Go maps one rune to one: İ to i, without the dot that JavaScript leaves over it.
      (text) => String.fromCodePoint(text.toLowerCase().codePointAt(0) ?? 0),
      (text) => text.toLocaleLowerCase('tr'),
      (text) => text.toLocaleUpperCase('tr'),
    ];
    const apart: string[] = [];
    for (let point = 0x21; point <= 0x10ffff; point += 1) {
      if (point >= 0xd800 && point <= 0xdfff) continue;
      const letter = String.fromCodePoint(point);
      const folded = foldUsername(letter);
      // The Greek iota subscript is a mark that upper case makes a letter of; nothing ASCII comes of it either way.
      if (letter.normalize('NFKD').includes('\u0345')) continue;
      if (foldUsername(folded) !== folded) apart.push(`U+${point.toString(16)} folds on`);
      for (const read of readings) {
        const seen = read(letter);
        if (seen !== letter && foldUsername(seen) !== folded)
          apart.push(`U+${point.toString(16)} ${read.toString()}`);
      }
    }
    t.same(apart.slice(0, 20), []);
  },
);

t.test("the operator's pattern must match the whole name and replaces the preset's", async (t) => {
  const pattern = { username: { pattern: '[a-z]{3}|x' } };
  t.equal(nameOf(resolve({ preferred_username: 'abc' }, pattern)), 'abc');
  t.equal(nameOf(resolve({ preferred_username: 'abcd' }, pattern)), 'username_invalid');
  t.equal(nameOf(resolve({ preferred_username: 'yx' }, pattern)), 'username_invalid');
});

t.test('a control character anywhere refuses the sign-in', async (t) => {
  for (const control of ['\n', '\r', '\0', '\t', '\x7f', '\x85', '\u2028', '\ud800']) {
    for (const claim of ['name', 'email', 'preferred_username', 'sub']) {
      t.equal(
        codeOf(resolve({ [claim]: `a${control}` })),
        'token_invalid',
        `${claim} U+${control.charCodeAt(0).toString(16)}`,
      );
    }
    t.equal(codeOf(resolve({ groups: ['dev', `a${control}X-WEBAUTH-USER: admin`] })), 'token_invalid');
    t.equal(
      codeOf(resolve({ upn: `alice${control}` }, { username: { claim: 'upn' }, preset: 'generic' })),
      'username_invalid',
    );
  }
  t.equal(
    codeOf(
      resolveIdentity({ claims: { ...claims, role: 'a\nb' }, profile: claims }, source, username, 'generic', [
        'role',
      ]),
    ),
    'token_invalid',
    'of the claims that headers name too',
  );
});

t.test('whatever the claims, an admitted identity is safe to write into a header', async () => {
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.integer(),
    fc.constant(null),
    fc.array(fc.string({ unit: 'grapheme' })),
  );
  fc.assert(
    fc.property(
      fc.record(
        {
          sub: fc.oneof(fc.string({ minLength: 1 }), value),
          name: value,
          email: value,
          preferred_username: value,
          groups: value,
          email_verified: fc.oneof(fc.boolean(), value),
        },
        { requiredKeys: [] },
      ),
      fc.constantFrom('forgejo', 'generic', 'grafana', 'authelia'),
      (claims, preset) => {
        const result = resolveIdentity({ claims, profile: claims }, source, username, preset);
        if (!result.ok) return true;
        const { identity } = result;
        const texts = [
          identity.username,
          identity.name,
          identity.email,
          identity.preferredUsername,
          ...(identity.groups ?? []),
        ];
        return (
          identity.username !== '' && texts.every((text) => text === undefined || !hasControlCharacter(text))
        );
      },
    ),
    { numRuns: 500 },
  );
});
