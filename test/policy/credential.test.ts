import fc from 'fast-check';
import t from 'tap';
import { findCredential, isTokenShaped, shapeOfAuthorization } from '../../src/policy/credential.ts';

const hex = '0123456789abcdef0123456789abcdef01234567';
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const signature = 'c2lnbmF0dXJlLW9mLXNvbWUtYnl0ZXM';
const jwt = `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ gnt: 7, exp: 1 })}.${signature}`;
const basic = (text: string, encoding: BufferEncoding = 'utf8') =>
  `Basic ${Buffer.from(text, encoding).toString('base64')}`;

t.test('token-shaped is what a forge issues, and nothing that looks like it', async (t) => {
  const yes = [hex, 'f'.repeat(40), '0'.repeat(40), jwt];
  const no = [
    '',
    hex.slice(1),
    `${hex}0`,
    hex.toUpperCase(),
    `${hex.slice(1)}g`,
    ` ${hex}`,
    `${hex} `,
    `${hex}\n`,
    `sha1:${hex}`,
    `${hex}:${hex}`,
    hex.replace('0', '\u0660'),
    '\uff10'.repeat(40),
    'correct horse battery staple',
    'ey.ey.ey',
    `${jwt}.x`,
    `${jwt}=`,
    `${jwt} `,
    jwt.slice(0, jwt.lastIndexOf('.') + 1),
    jwt.slice(0, jwt.lastIndexOf('.')),
    `${part({ alg: 'none' })}.${part({})}.${signature}`,
    `${part({ alg: 'NONE' })}.${part({})}.${signature}`,
    `${part({ typ: 'JWT-of-some-kind' })}.${part({ a: 1 })}.${signature}`,
    `${part(['alg', 'RS256', 'more'])}.${part({ a: 1 })}.${signature}`,
    `${part({ alg: 256, typ: 'JWT' })}.${part({ a: 1 })}.${signature}`,
    `eyJhbGciOiJSUzI1NiI.${part({ a: 1 })}.${signature}`,
    `${part({ alg: 'RS256' })}.${part({ a: 'x'.repeat(9_000) })}.${signature}`,
  ];
  for (const secret of yes) t.ok(isTokenShaped(secret), secret);
  for (const secret of no) t.notOk(isTokenShaped(secret), JSON.stringify(secret));
});

t.test('an Authorization is a token, a password, or junk', async (t) => {
  const rows: readonly [value: string, shape: string][] = [
    // As tools send tokens.
    [`token ${hex}`, 'token'],
    [`Bearer ${hex}`, 'token'],
    [`bearer ${jwt}`, 'token'],
    [`TOKEN ${jwt}`, 'token'],
    [`BEARER  ${hex}`, 'token'],
    [basic(`alice:${hex}`), 'token'],
    [basic(`:${hex}`), 'token'],
    [basic(`x:${jwt}`), 'token'],
    [basic(`alice:${hex}`).replace('Basic', 'bAsIc'), 'token'],
    [basic(`${hex}:`), 'token'],
    [basic(`${hex}:x-oauth-basic`), 'token'],
    [basic(`${jwt}:x-oauth-basic`), 'token'],
    [basic(`älice:${hex}`), 'token'],
    [basic(`\u00e4lice:${hex}`, 'latin1'), 'token'],
    [basic(`${hex}:${hex}`), 'token'],
    // A phished password, in every place where the forge would take it for one.
    [basic('alice:hunter2'), 'password'],
    [basic('alice:'), 'password'],
    [basic(':'), 'password'],
    [basic('alice:x-oauth-basic'), 'password'],
    [basic(`${hex}:hunter2`), 'password'],
    [basic(`${hex}:X-OAUTH-BASIC`), 'password'],
    [basic(`${hex}: `), 'password'],
    [basic(`alice:${hex}:x-oauth-basic`), 'password'],
    [basic(`alice:${hex} `), 'password'],
    [basic(`alice: ${hex}`), 'password'],
    [basic(`alice:${hex}\n`), 'password'],
    [basic(`alice:${hex}\0`), 'password'],
    [basic(`alice::${hex}`), 'password'],
    [basic(`alice:x:${hex}`), 'password'],
    [basic(`alice:${hex.toUpperCase()}`), 'password'],
    [basic(`alice:${hex.slice(1)}`), 'password'],
    [basic(`alice:${hex}0`), 'password'],
    [basic('alice:pässwörd'), 'password'],
    [basic(`alice:${hex}`, 'utf16le'), 'password'],
    // Junk: what the forge cannot read either, and then goes on to its cookie.
    ['', 'malformed'],
    ['Basic', 'malformed'],
    ['Basic ', 'malformed'],
    ['x', 'malformed'],
    [hex, 'malformed'],
    [jwt, 'malformed'],
    ['token hunter2', 'malformed'],
    ['Bearer hunter2', 'malformed'],
    [`Bearer ${hex} ${hex}`, 'malformed'],
    [`Bearer\t${hex}`, 'malformed'],
    [`Bearer ${hex},`, 'malformed'],
    [`Bearer token=${hex}`, 'malformed'],
    [`Bearer:${hex}`, 'malformed'],
    [`Bearer"${hex}"`, 'malformed'],
    [`tokens ${hex}`, 'malformed'],
    [`Digest ${hex}`, 'malformed'],
    [`Negotiate ${hex}`, 'malformed'],
    [`${basic(`alice:${hex}`)} x`, 'malformed'],
    [`${basic(`alice:${hex}`)}, Bearer ${hex}`, 'malformed'],
    [basic(`alice:${hex}`).replace(/=+$/, ''), basic(`alice:${hex}`).endsWith('=') ? 'malformed' : 'token'],
    ['Basic !!!!', 'malformed'],
    ['Basic YWxpY2U', 'malformed'],
    ['Basic YWxpY2U=', 'malformed'],
    ['Basic YWxpY2V=', 'malformed'],
    // The last letter of `alice:<hex>` carries four bits that no byte uses: to a lenient decoder it is the same text.
    [basic(`alice:${hex}`).replace(/w==$/, 'x=='), 'malformed'],
    ['Basic YWxpY2U6aHVudGVyMg', 'malformed'],
    ['Basic YWxpY2U6aHVudGVyMg===', 'malformed'],
    [basic(`alice:${hex}`).replace('Basic ', 'Basic: '), 'malformed'],
    [basic('no colon here'), 'malformed'],
    [basic(hex), 'malformed'],
  ];
  for (const [value, shape] of rows) t.equal(shapeOfAuthorization(value), shape, JSON.stringify(value));
});

t.test(
  'a second Authorization is junk, however good both are; other headers count where they are named',
  async (t) => {
    const one = ['Authorization', `token ${hex}`];
    t.equal(findCredential([], undefined), undefined);
    t.equal(findCredential(['Accept', '*/*'], ['x-nuget-apikey']), undefined);
    t.equal(findCredential(one, undefined), 'token');
    t.equal(findCredential(['aUTHORIZATION', `token ${hex}`], undefined), 'token');
    t.equal(findCredential([...one, ...one], undefined), 'malformed');
    t.equal(findCredential([...one, 'authorization', ''], undefined), 'malformed');
    t.equal(findCredential(['Authorization', ''], undefined), 'malformed');
    t.equal(findCredential(['X-NuGet-ApiKey', hex], undefined), undefined);
    t.equal(findCredential(['X-NuGet-ApiKey', hex], ['x-nuget-apikey']), 'token');
    t.equal(findCredential(['X_NuGet_ApiKey', hex], ['x-nuget-apikey']), undefined, 'another name');
    t.equal(findCredential(['X-NuGet-ApiKey', ''], ['x-nuget-apikey']), 'malformed');
    t.equal(findCredential(['X-NuGet-ApiKey', 'a', 'x-nuget-apikey', 'b'], ['x-nuget-apikey']), 'malformed');
    t.equal(
      findCredential(['X-NuGet-ApiKey', hex, 'Authorization', basic('alice:hunter2')], ['x-nuget-apikey']),
      'password',
      'a key is no way around a password',
    );
  },
);

t.test(
  'property: what a person could have typed as a password never passes, whoever it is sent for',
  async () => {
    const names = fc.oneof(fc.string(), fc.constantFrom('alice', hex, jwt, 'x-oauth-basic', ''));
    const passwords = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.stringMatching(/^[0-9a-f]{0,39}$/),
      fc.stringMatching(/^[0-9a-f]{41,60}$/),
      fc.stringMatching(/^[0-9A-F]{40}$/).filter((text) => /[A-F]/.test(text)),
      fc.tuple(fc.string(), fc.string()).map(([a, b]) => `${a}:${b}`),
    );
    fc.assert(
      fc.property(names, passwords, (name, password) => {
        // Then the forge reads the name as a token.
        fc.pre(password !== '' && password !== 'x-oauth-basic' && !name.includes(':'));
        return shapeOfAuthorization(basic(`${name}:${password}`)) === 'password';
      }),
      { numRuns: 3000 },
    );
  },
);

t.test('property: nothing makes it throw, and it takes no time', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (value) =>
      ['token', 'password', 'malformed'].includes(shapeOfAuthorization(value)),
    ),
    { numRuns: 3000 },
  );
  const start = process.hrtime.bigint();
  for (const long of [
    `Basic ${'A'.repeat(30_000)}`,
    `Bearer ${'ey.'.repeat(10_000)}`,
    `${' '.repeat(30_000)}x`,
  ])
    shapeOfAuthorization(long);
  t.ok(process.hrtime.bigint() - start < 500_000_000n);
});
