import fc from 'fast-check';
import t from 'tap';
import {
  attemptCookie,
  isOwnCookie,
  readCookie,
  serializeExpiredCookie,
  serializeSessionCookie,
  sessionCookie,
  stripOwnCookies,
} from '../../src/session/cookie.ts';

const name = '__Host-sallyport';
const property = { numRuns: 300 };

t.test('the prefix stays on a secure origin and goes on an http loopback one', async (t) => {
  t.equal(sessionCookie(name, true), '__Host-sallyport');
  t.equal(sessionCookie(name, false), 'sallyport');
  t.equal(sessionCookie('__Secure-door', false), 'door');
  t.equal(sessionCookie('__HOST-door', false), 'door');
  t.equal(sessionCookie('door', false), 'door');
  t.equal(sessionCookie('__Host-', false), '__Host-', 'a name is never emptied');
});

t.test('a session cookie is Lax, HttpOnly, for the whole host, without Domain', async (t) => {
  t.equal(
    serializeSessionCookie(name, 'value', true),
    '__Host-sallyport=value; Path=/; HttpOnly; SameSite=Lax; Secure',
  );
  t.equal(
    serializeSessionCookie('sallyport', 'value', false),
    'sallyport=value; Path=/; HttpOnly; SameSite=Lax',
  );
  t.match(serializeSessionCookie(attemptCookie(name, 'x'), 'v', true, 600), /; Max-Age=600$/);
});

t.test('an expired cookie carries the same attributes, or browsers keep the old one', async (t) => {
  t.equal(
    serializeExpiredCookie(name, true),
    '__Host-sallyport=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
  );
});

t.test('the cookie is read from wherever it stands in the header', async (t) => {
  const rows: [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ['', undefined],
    [`${name}=v`, 'v'],
    [`a=b; ${name}=v; c=d`, 'v'],
    [`a=b;${name}=v`, 'v'],
    [`a=b; \t ${name}=v \t; c=d`, 'v'],
    [`${name}=`, ''],
    [`${name}=a=b`, 'a=b'],
    [name, undefined],
    [`x${name}=v`, undefined],
    [`${name}x=v`, undefined],
    [`${name}-a-1=v`, undefined],
    [`${name.toLowerCase()}=v`, undefined],
    [`a=${name}=v`, undefined],
    [`a= ${name}=v`, undefined],
    [`a="; ${name}=v`, 'v'],
    [`${name}x=1; ${name}=v; ${name}-a-1=2`, 'v'],
  ];
  for (const [header, expected] of rows) t.equal(readCookie(header, name), expected, String(header));
});

t.test('two different cookies of the name are none: one of them was planted', async (t) => {
  t.equal(readCookie(`${name}=mine; ${name}=planted`, name), undefined);
  t.equal(readCookie(`${name}=planted; a=b; ${name}=mine`, name), undefined);
  t.equal(readCookie(`${name}=mine; ${name}=mine`, name), 'mine', 'the same one twice is one');
});

t.test('session and attempt cookies are ours in every case, others are not', async (t) => {
  for (const own of [
    name,
    name.toUpperCase(),
    name.toLowerCase(),
    ` ${name}\t`,
    `${name}-a-x1`,
    `${name}-A-X1`,
    `${name}-a-`,
  ]) {
    t.equal(isOwnCookie(own, name), true, own);
  }
  for (const other of [
    '',
    'sallyport',
    `${name}x`,
    `x${name}`,
    `${name}-b-1`,
    `${name}-a`,
    `${name}-`,
    '__Host-sallypor',
  ]) {
    t.equal(isOwnCookie(other, name), false, other);
  }
  t.equal(isOwnCookie(attemptCookie(name, 'k3'), name), true);
});

t.test('our cookies are taken out of the header, and nothing else is touched', async (t) => {
  const rows: [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ['', ''],
    ['a=b; c=d', 'a=b; c=d'],
    [`${name}=v`, undefined],
    [`${name}=v; a=b`, 'a=b'],
    [`a=b; ${name}=v`, 'a=b'],
    [`a=b; ${name}=v; c=d`, 'a=b; c=d'],
    [`a=b;${name}=v;c=d`, 'a=b;c=d'],
    [`${name}=1; ${name}-a-x=2; ${name.toUpperCase()}=3;`, undefined],
    [`a=1; ${name}-a-x=2; b=2; ${name}=3; c=3`, 'a=1; b=2; c=3'],
    [`a=1; ${name} =2`, 'a=1'],
    [`a=1; ${name}`, 'a=1'],
    [`a=${name}=v; b=2`, `a=${name}=v; b=2`],
    [`a=1;; ${name}=v;;b=2`, 'a=1;;;b=2'],
  ];
  for (const [header, expected] of rows) t.equal(stripOwnCookies(header, name), expected, String(header));
});

const pairName = fc.constantFrom('a', 'b', 'session', `${name}x`, `x${name}`, '', `${name}-b`);
const ownName = fc.constantFrom(
  name,
  name.toUpperCase(),
  `${name}-a-1`,
  ` ${name}`,
  `${name}\t`,
  `${name}-A-z`,
);
const value = fc.string({ unit: fc.constantFrom('a', 'Z', '9', '=', '"', ' ', '_', '-', ','), maxLength: 8 });
const pairs = fc.array(
  fc.record({ name: fc.oneof(pairName, ownName), value, glue: fc.constantFrom('; ', ';', ' ; ') }),
  { maxLength: 8 },
);

t.test('whatever the header, no pair of ours is left and every other one is, in order', async () => {
  const write = (all: { name: string; value: string; glue: string }[]) =>
    all.map((pair) => `${pair.name}=${pair.value}${pair.glue}`).join('');
  const read = (header: string | undefined) =>
    (header ?? '')
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair !== '');
  fc.assert(
    fc.property(pairs, (all) => {
      const header = write(all);
      const expected = read(header).filter((pair) => !isOwnCookie(pair.split('=')[0]!, name));
      const left = read(stripOwnCookies(header, name));
      return left.join('\n') === expected.join('\n');
    }),
    property,
  );
});

t.test('reading never throws and finds what a plain parser finds', async () => {
  fc.assert(
    fc.property(pairs, fc.string(), (all, noise) => {
      const header = all.map((pair) => `${pair.name}=${pair.value}${pair.glue}`).join('') + noise;
      const values = new Set(
        header
          .split(';')
          .map((pair) => /^[ \t]*__Host-sallyport=([^]*?)[ \t]*$/.exec(pair)?.[1])
          .filter((found) => found !== undefined),
      );
      return readCookie(header, name) === (values.size === 1 ? [...values][0] : undefined);
    }),
    property,
  );
});
