import fc from 'fast-check';
import t from 'tap';
import { localReturnTo } from '../../src/signin/return-to.ts';

const origin = 'https://forge.example.com';

t.test('a local path is kept', async (t) => {
  for (const path of [
    '/',
    '/org/repo',
    '/org/repo/src/branch/feature%2Fx/a%20b.txt?x=1&y=%0A#L10',
    '/search?q=https://elsewhere.example/',
    '/user/settings/applications',
    '/a//b',
    '/100%25',
    '/_sallyport/whoami',
    '/_sallyport/status',
    '/_sallyport/canary/entra',
    '/_sallyportal/signin',
  ]) {
    t.equal(localReturnTo(path), path);
  }
  t.equal(localReturnTo('/é'), '/%C3%A9', 'in ASCII, as a Location must be');
  t.equal(localReturnTo('/a/../b'), '/b');
});

t.test('what a browser, proxy or upstream could read as another origin becomes /', async (t) => {
  for (const value of [
    undefined,
    null,
    7,
    ['/a'],
    '',
    'org/repo',
    'https://evil.example/',
    'https:/evil.example',
    'http:evil.example',
    'javascript:alert(1)',
    'data:text/html,x',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '\\/evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    ' //evil.example',
    '/ /evil.example',
    '/%09/evil.example',
    '/%0d%0aSet-Cookie:%20a=b',
    '/\u0000/evil.example',
    '/a\\b',
    '/.//evil.example',
    '/..//evil.example',
    '/%2e//evil.example',
    '/%2e%2e//evil.example',
    '/a/..//evil.example',
    '/%2f/evil.example',
    '/%2fevil.example',
    '/%2Fevil.example',
    '/%5cevil.example',
    '/%255cevil.example',
    '/%252fevil.example',
    '/%25252fevil.example',
    '/%2525252fevil.example',
    '/%c0%af/evil.example',
    '/%zz',
    '/\ud800',
    `/${'a'.repeat(2000)}`,
    `/${'é'.repeat(1000)}`,
  ]) {
    t.equal(localReturnTo(value), '/', JSON.stringify([value]).slice(0, 60));
  }
});

t.test('our own sign-in and sign-out endpoints become /, in every spelling', async (t) => {
  for (const value of [
    '/_sallyport/signin?return_to=/_sallyport/signin',
    '/_sallyport/signout',
    '/_sallyport//signout',
    '//_sallyport/signout',
    '/_SallyPort/signout',
    '/%5fsallyport/signout',
    '/_sallyport/%73ignout',
    '/_sallyport%2fsignout',
    '/x/../_sallyport/signout',
    '/_sallyport/callback/entra?code=x&state=y',
    '/_sallyport/signed-out',
    '/_sallyport',
    '/_sallyport/whoami/x',
    '/_sallyport/canary',
    '/_sallyport/canary/entra/x',
    '/_sallyport/status/x',
  ]) {
    t.equal(localReturnTo(value), '/', value);
  }
  t.equal(localReturnTo('/gate/a/signout', '/gate/a'), '/');
  t.equal(localReturnTo('/gate/b/signout', '/gate/a'), '/gate/b/signout');
});

t.test('whatever comes in, the result stays on the origin', async () => {
  const piece = fc.constantFrom(
    ...[
      '/',
      '\\',
      '.',
      '..',
      '%2f',
      '%5c',
      '%2e',
      '%09',
      '%25',
      '\t',
      '\n',
      '\r',
      ' ',
      '@',
      ':',
      '?',
      '#',
      ';',
      '\u0000',
    ],
    ...['evil.example', 'https:', 'a', '_sallyport', 'signout', '\u2028', '\ufeff', '。', 'é'],
  );
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(value, fc.boolean(), (tail, rooted) => {
      const result = localReturnTo(rooted ? `/${tail}` : tail);
      const url = new URL(result, origin);
      return (
        url.origin === origin &&
        /^\/(?![/\\])[\x21-\x7e]*$/.test(result) &&
        // What one more reader makes of it, who decodes first, stays here too.
        new URL(safeDecode(url.pathname), origin).origin === origin &&
        // Once local, always local: nothing is decoded away between two passes.
        localReturnTo(result) === result
      );
    }),
    { numRuns: 3000 },
  );
});

function safeDecode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
