import fc from 'fast-check';
import t from 'tap';
import { canonicalTarget, upstreamTarget } from '../../src/policy/canonical-target.ts';

const accepted: readonly [raw: string, path: string][] = [
  ['/', '/'],
  ['/?', '/'],
  ['/?a=/../b', '/'],
  ['/a', '/a'],
  ['/a/', '/a'],
  ['/a//', '/a'],
  ['//a', '/a'],
  ['///a///b///', '/a/b'],
  ['/a/b?x=1&y=%2e%2e', '/a/b'],
  ['/a?q=100%', '/a'],
  ['/a?q=\\', '/a'],
  ['/a?b?c', '/a'],
  ['/A/b', '/A/b'],
  ['/%61', '/a'],
  ['/%7Euser', '/~user'],
  ['/%7euser', '/~user'],
  ['/%2d/%2D/%5f', '/-/-/_'],
  ['/user/log%69n', '/user/login'],
  ['/%40scope', '/@scope'],
  ['/@scope', '/@scope'],
  ['/a%2Fb', '/a%2Fb'],
  ['/a%2fb', '/a%2Fb'],
  ['/%2f', '/%2F'],
  ['/a%2fb/', '/a%2Fb'],
  ['/a%20b', '/a%20b'],
  ['/%c3%a4', '/%C3%A4'],
  ['/\u00c3\u00a4', '/%C3%A4'],
  ['/a|b', '/a%7Cb'],
  ['/a%7cb', '/a%7Cb'],
  ['/"<>^`{}', '/%22%3C%3E%5E%60%7B%7D'],
  ['/[x]', '/%5Bx%5D'],
  ['/100%25', '/100%25'],
  ['/100%2525.txt', '/100%2525.txt'],
  ['/.well-known/x', '/.well-known/x'],
  ['/.gitignore', '/.gitignore'],
  ['/a/...', '/a/...'],
  ['/a/..b', '/a/..b'],
  ['/a/b..', '/a/b..'],
  ['/compare/a...b', '/compare/a...b'],
  ['/compare/a..b', '/compare/a..b'],
  ['/a.b/c.git', '/a.b/c.git'],
  ['/%2ehidden', '/.hidden'],
  ['/a;b', '/a;b'],
  ['/a%3Bb', '/a;b'],
  ['/a:b', '/a:b'],
  ['/a%3Fb', '/a%3Fb'],
  ['/a%23b', '/a%23b'],
  ['/%E9', '/%E9'],
  ['/%C0', '/%C0'],
  ['/*', '/*'],
];

t.test('a clean or harmlessly odd target has its canonical path', async (t) => {
  for (const [raw, path] of accepted) {
    const target = canonicalTarget(raw);
    t.match(target, { ok: true, path }, JSON.stringify(raw));
    if (!target.ok) continue;
    t.strictSame(target.segments, path === '/' ? [] : path.slice(1).split('/'), 'its segments');
  }
});

const dots = 'dot segment';
const control = 'control character';
const hostile: readonly [raw: string, why: string][] = [
  // Not in origin form
  ['', 'origin form'],
  ['*', 'origin form'],
  ['a', 'origin form'],
  ['?a', 'origin form'],
  ['http://forge.example.com/', 'origin form'],
  ['https://forge.example.com/user/login', 'origin form'],
  ['HTTP://x', 'origin form'],
  ['forge.example.com:443', 'origin form'],
  ['\\a', 'origin form'],
  ['%2Fa', 'origin form'],
  [' /a', 'origin form'],
  // Dot segments
  ['/.', dots],
  ['/..', dots],
  ['/./', dots],
  ['/../', dots],
  ['/a/..', dots],
  ['/a/.', dots],
  ['/a/../b', dots],
  ['/a/./b', dots],
  ['/../../etc/passwd', dots],
  ['//..//a', dots],
  ['/a/..?x=1', dots],
  ['/a/.?x', dots],
  // Dot segments, encoded once
  ['/%2e', dots],
  ['/%2E%2E', dots],
  ['/%2e%2e/a', dots],
  ['/.%2e/a', dots],
  ['/%2e./a', dots],
  ['/a/%2E%2e/b', dots],
  ['/a/%2e', dots],
  // Twice, three times
  ['/%252e%252e/a', dots],
  ['/a/%252E%252E', dots],
  ['/a/.%252e/b', dots],
  ['/a/%25252e%25252e/b', dots],
  ['/a/%25%32%65%25%32%65/b', dots],
  ['/a/%252e%252e%252fb', dots],
  // Behind an opaque slash or backslash
  ['/a%2F..%2Fb', dots],
  ['/a%2f..', dots],
  ['/..%2fa', dots],
  ['/%2e%2e%2fa', dots],
  ['/a%2F%2e%2e%2Fb', dots],
  ['/a%252F..%252Fb', dots],
  ['/a/..%255cb', dots],
  // With path parameters
  ['/a/..;/b', dots],
  ['/a/..;x=1/b', dots],
  ['/.;/a', dots],
  ['/a/%2e%2e;/b', dots],
  ['/a/..%3b/b', dots],
  // With an encoded end of path
  ['/a/..%3fb', dots],
  ['/a/..%23b', dots],
  // Backslashes
  ['/a\\b', 'backslash'],
  ['/\\', 'backslash'],
  ['/..\\a', 'backslash'],
  ['/a%5Cb', 'backslash'],
  ['/a%5cb', 'backslash'],
  ['/%5c%5cevil.example', 'backslash'],
  // Control characters and spaces
  ['/a\u0000', control],
  ['/a\nb', control],
  ['/a\r\nHost: x', control],
  ['/a\tb', control],
  ['/a b', control],
  ['/a\u007f', control],
  ['/a?x=\u0000', control],
  ['/a?x= y', control],
  ['/a?x=\r\n', control],
  ['/%00', control],
  ['/a%00b', control],
  ['/a%0a', control],
  ['/a%0D%0Ab', control],
  ['/%1f', control],
  ['/%1F', control],
  ['/a%7f', control],
  ['/a%7Fb', control],
  // Broken escapes
  ['/%', 'broken escape'],
  ['/a%', 'broken escape'],
  ['/%2', 'broken escape'],
  ['/%zz', 'broken escape'],
  ['/%2g', 'broken escape'],
  ['/%u002e', 'broken escape'],
  ['/%%32%65', 'broken escape'],
  ['/a%?x', 'broken escape'],
  ['/% 20', control],
  // Overlong UTF-8
  ['/%c0%ae%c0%ae/a', 'overlong'],
  ['/%C0%AF', 'overlong'],
  ['/a%c1%9cb', 'overlong'],
  ['/%e0%80%ae', 'overlong'],
  ['/%f0%80%80%ae', 'overlong'],
  ['/\u00c0\u00ae\u00c0\u00ae/a', 'overlong'],
  ['/\u00c0%ae', 'overlong'],
  // Fragments, and what is no byte
  ['/a#b', 'fragment'],
  ['/#', 'fragment'],
  ['/a?b#c', 'fragment'],
  ['/\u2025/a', 'no byte'],
  ['/a\uff0e\uff0e/b', 'no byte'],
  ['/a?\u{1f600}', 'no byte'],
  // Nested beyond reason
  [`/%${'25'.repeat(40)}2e`, 'nested too deep'],
];

t.test('hostile targets are refused, each for its reason', async (t) => {
  t.ok(hostile.length >= 60, `${hostile.length} of them`);
  for (const [raw, why] of hostile) {
    const target = canonicalTarget(raw);
    t.match(target, { ok: false, code: 'target_malformed' }, JSON.stringify(raw));
    if (!target.ok) t.match(target.why, why, JSON.stringify(raw));
  }
});

t.test('the upstream gets what came, but never an authority before the path', async (t) => {
  for (const [raw, sent] of [
    ['/', '/'],
    ['/a//b/', '/a//b/'],
    ['/%2561?x=//', '/%2561?x=//'],
    ['//', '/'],
    ['//open/admin', '/open/admin'],
    ['////open//admin?x', '/open//admin?x'],
  ] as const) {
    t.equal(upstreamTarget(raw), sent, raw);
    t.equal(new URL(upstreamTarget(raw), 'http://upstream.invalid').host, 'upstream.invalid');
  }
});

t.test('deep nesting costs no time', async (t) => {
  const start = process.hrtime.bigint();
  for (let round = 0; round < 50; round += 1) canonicalTarget(`/%${'25'.repeat(16_000)}2e`);
  t.ok(process.hrtime.bigint() - start < 2_000_000_000n);
});

const piece = fc.constantFrom(
  ...[
    '/',
    '//',
    '.',
    '..',
    'a',
    'B',
    '-',
    '~',
    '%2f',
    '%2F',
    '%2e',
    '%25',
    '%5c',
    '%',
    '%41',
    '%c3%a4',
    '\u00e4',
    ';',
    '?',
    '#',
  ],
  ...['\\', '\u0000', ' ', '@', '%40', '*', '%7c', '|', '\u2025', '%00', 'login', 'user'],
);
const anyTarget = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
  fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`),
);

t.test('property: never throws, and what is canonical stays as it is', async () => {
  fc.assert(
    fc.property(anyTarget, (raw) => {
      const target = canonicalTarget(raw);
      if (!target.ok) return true;
      const again = canonicalTarget(target.path);
      return again.ok && again.path === target.path && target.path === `/${target.segments.join('/')}`;
    }),
    { numRuns: 5000 },
  );
});

t.test(
  'property: a canonical path holds no dot segment, empty segment, query or lower-case escape',
  async () => {
    fc.assert(
      fc.property(anyTarget, (raw) => {
        const target = canonicalTarget(raw);
        if (!target.ok) return true;
        const decoded = target.path.replace(/%2F/g, '/');
        return (
          !decoded.split('/').some((segment) => segment === '.' || segment === '..') &&
          !target.segments.includes('') &&
          // eslint-disable-next-line no-control-regex -- control characters are what must not be there
          !/[?#\\\u0000-\u0020\u007f-\uffff]|%(?![0-9A-F]{2})|%[0-9A-F]?[a-f]/.test(target.path)
        );
      }),
      { numRuns: 5000 },
    );
  },
);

t.test('property: escaping any unreserved character changes nothing', async () => {
  const characters = 'abcXYZ019-._~'.split('');
  const segment = fc.array(fc.constantFrom(...characters), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 4 }), fc.infiniteStream(fc.boolean()), (segments, coin) => {
      const plain = `/${segments.map((each) => each.join('')).join('/')}`;
      const escaped = plain.replace(/[^/]/g, (character) =>
        coin.next().value ? `%${character.charCodeAt(0).toString(16)}` : character,
      );
      const [one, two] = [canonicalTarget(plain), canonicalTarget(escaped)];
      return one.ok === two.ok && (!one.ok || !two.ok || one.path === two.path);
    }),
    { numRuns: 2000 },
  );
});
