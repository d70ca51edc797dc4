import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createBoundCookies, expiredBoundCookies } from '../../src/session/bound-cookies.ts';
import { createSealing } from '../../src/session/sealing.ts';
import type { OpenedSession } from '../../src/session/types.ts';
import { makeRecord } from './record-fixture.ts';

const names = ['i_like_gitea', 'gitea_incredible'];
const [secretA, secretB] = [randomBytes(32), randomBytes(32)];
const sealingOf = (...secrets: Buffer[]) => createSealing(secrets, systemRandomness);
const sealing = sealingOf(secretA);
const session = (lineage: string | undefined, id = 'public-id'): OpenedSession => {
  const record = makeRecord(0, { id });
  return { record: lineage === undefined ? record : { ...record, lineage } };
};
const bound = createBoundCookies(names, sealing)!;
const [alice, bob] = [session('lineage-a'), session('lineage-b')];
/** What the browser stores of a `Set-Cookie`, and sends. */
const pairOf = (setCookie: string) => setCookie.split(';')[0]!.trim();

t.test('what the upstream set comes back to it in the same lineage only', async (t) => {
  const set = bound.tie('i_like_gitea=0123abcd; Path=/; HttpOnly; SameSite=Lax', alice);
  t.match(set, /^i_like_gitea=[\w-]{43}\.0123abcd; Path=\/; HttpOnly; SameSite=Lax$/);
  const pair = pairOf(set);
  t.equal(bound.untie(pair, alice), 'i_like_gitea=0123abcd');
  t.equal(
    bound.untie(pair, session('lineage-a', 'after-step-up')),
    'i_like_gitea=0123abcd',
    'kept by step-up',
  );
  t.equal(bound.untie(pair, bob), undefined, 'another user, or a new sign-in');
  t.equal(bound.untie(pair, session(undefined)), undefined);
  t.equal(bound.untie('i_like_gitea=0123abcd', alice), undefined, 'without a tag: from before, or stolen');
});

t.test('sessions of the release before, which have no lineage, are their own', async (t) => {
  const [old, other] = [session(undefined, 'one'), session(undefined, 'two')];
  const pair = pairOf(bound.tie('i_like_gitea=v', old));
  t.equal(bound.untie(pair, session(undefined, 'one')), 'i_like_gitea=v');
  t.equal(bound.untie(pair, other), undefined);
});

t.test('attributes, spelling and everything that is not bound stay byte for byte', async (t) => {
  const rows = [
    'i_like_gitea=v',
    'i_like_gitea=v;Path=/;;HttpOnly',
    'i_like_gitea=v ; Path=/; Expires=Thu, 01 Jan 2026 00:00:00 GMT; Max-Age=5',
    ' i_like_gitea = v; Path=/x; Domain=a.example; Partitioned; priority=High',
    'I_Like_Gitea=v; secure',
    'i_like_gitea="quoted value"; Path=/',
    'i_like_gitea=a=b==; Path=/',
    'i_like_gitea=\xe4\xff; Path=/',
  ];
  for (const row of rows) {
    const tied = bound.tie(row, alice);
    t.equal(tied.replace(/[\w-]{43}\./, ''), row);
    t.equal(tied.length, row.length + 44);
    const back = bound.untie(pairOf(tied), alice) ?? '';
    t.equal(back.replace(/ *= */, '='), pairOf(row).replace(/ *= */, '='), row);
  }
  t.equal(
    pairOf(bound.tie('i_like_gitea="a b"', alice)).replace(/[\w-]{43}/, 'T'),
    'i_like_gitea="T.a b"',
    'quotes stay around the whole',
  );
  for (const row of [
    'lang=en-US; Path=/',
    'x_i_like_gitea=v; Path=/',
    'i_like_gitea2=v',
    'other=i_like_gitea; i_like_gitea=v',
    'i_like_gitea',
    'i_like_gitea; x=1',
    'i_like_gitea=; Path=/; Max-Age=0',
    'i_like_gitea= ; Max-Age=0',
    '',
  ])
    t.equal(bound.tie(row, alice), row, row);
  for (const row of ['', 'a=1', 'a=1; b="x"; c', ' ;; a=1', 'x_i_like_gitea=v; y=i_like_gitea'])
    t.equal(bound.untie(row, alice), row, JSON.stringify(row));
});

t.test('several cookies of one name, and in any order: each is judged for itself', async (t) => {
  const pair = (value: string, who: OpenedSession, name = 'i_like_gitea') =>
    pairOf(bound.tie(`${name}=${value}`, who));
  const [mine, older, theirs] = [pair('new', alice), pair('old', alice), pair('bobs', bob)];
  t.equal(bound.untie(`${mine}; ${older}`, alice), 'i_like_gitea=new; i_like_gitea=old');
  t.equal(bound.untie(`${theirs}; a=1; ${mine}; b=2`, alice), 'a=1; i_like_gitea=new; b=2');
  t.equal(bound.untie(`a=1;${theirs};b=2`, alice), 'a=1;b=2');
  t.equal(bound.untie(`${theirs}; i_like_gitea=x; i_like_gitea`, alice), undefined);
  t.equal(
    bound.untie(`${pair('r', alice, 'gitea_incredible')}; ${mine}`, alice),
    'gitea_incredible=r; i_like_gitea=new',
  );
});

t.test('a tag is good for its name, its value and its lineage, and nothing else', async (t) => {
  const pair = pairOf(bound.tie('i_like_gitea=value', alice));
  const [, tagged = ''] = pair.split('=');
  for (const forged of [
    `gitea_incredible=${tagged}`,
    `I_LIKE_GITEA=${tagged}`,
    `i_like_gitea=${tagged}2`,
    `i_like_gitea=${tagged.slice(0, -1)}`,
    `i_like_gitea=${tagged.replace('.', '..')}`,
    `i_like_gitea="${tagged}"`,
    `i_like_gitea=${tagged.slice(0, 43)}`,
    `i_like_gitea=${tagged.slice(0, 44)}`,
    `i_like_gitea=${tagged.slice(1)}`,
    `i_like_gitea=${'A'.repeat(43)}.value`,
    `i_like_gitea=${tagged}, x`,
    'i_like_gitea=.value',
    'i_like_gitea=value',
    'i_like_gitea=',
    'i_like_gitea',
    '\ti_like_gitea\t=value',
    'I_LIKE_gitea=value',
  ])
    t.equal(bound.untie(forged, alice), undefined, JSON.stringify(forged));
});

t.test('every secret verifies, the first one tags: rotation signs nobody out of the forge', async (t) => {
  const before = createBoundCookies(names, sealingOf(secretA))!;
  const during = createBoundCookies(names, sealingOf(secretB, secretA))!;
  const after = createBoundCookies(names, sealingOf(secretB))!;
  const old = pairOf(before.tie('i_like_gitea=v', alice));
  const fresh = pairOf(during.tie('i_like_gitea=v', alice));
  t.equal(during.untie(old, alice), 'i_like_gitea=v');
  t.equal(after.untie(old, alice), undefined);
  t.equal(after.untie(fresh, alice), 'i_like_gitea=v');
});

t.test('tags are made once for a session, and never remembered without bound', async (t) => {
  let made = 0;
  const counted = createBoundCookies(names, {
    indexKeys: (purpose, value) => {
      made += 1;
      return sealing.indexKeys(purpose, value);
    },
  })!;
  const who = session('lineage-c');
  const pair = pairOf(counted.tie('i_like_gitea=v', who));
  for (let i = 0; i < 50; i += 1) counted.untie(`a=1; ${pair}`, who);
  t.equal(made, 1);
  for (let i = 0; i < 50; i += 1) counted.untie('a=1; b=2', who);
  t.equal(made, 1, 'nothing for requests without such cookies');
  counted.untie('i_like_gitea=no-tag', who);
  t.equal(made, 1, 'nor for what has no tag');
  for (let i = 0; i < 40; i += 1) counted.untie(`i_like_gitea=${'A'.repeat(43)}.${i}`, who);
  const filled = made;
  counted.untie(pair, who);
  t.equal(made, filled + 1, 'a flood pushes it out, and it is simply made again');
});

t.test('without names there is nothing; names are no patterns', async (t) => {
  t.equal(createBoundCookies([], sealing), undefined);
  const odd = createBoundCookies(['a.b', 'c|d'], sealing)!;
  t.equal(odd.untie('axb=1; c=2; d=3', alice), 'axb=1; c=2; d=3');
  t.equal(odd.untie('a.b=1; c|d=2; e=3', alice), 'e=3');
  t.strictSame(expiredBoundCookies(['x'], true), [
    'x=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
  ]);
  t.notMatch(expiredBoundCookies(['x'], false)[0], /Secure/);
});

t.test(
  'property: whatever the browser sends, only what was tied in this lineage reaches the upstream',
  async () => {
    const value = fc.stringMatching(/^[!#-+\--:<-[\]-~]{1,30}$/);
    const pairs = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant('mine' as const), value }),
        fc.record({ kind: fc.constant('theirs' as const), value }),
        fc.record({ kind: fc.constant('bare' as const), value }),
        fc.record({ kind: fc.constant('other' as const), value }),
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(pairs, fc.constantFrom('; ', ';', ' ;  '), (list, separator) => {
        const header = list
          .map((each) => {
            const set = `i_like_gitea=${each.value}`;
            if (each.kind === 'mine') return bound.tie(set, alice);
            if (each.kind === 'theirs') return bound.tie(set, bob);
            return each.kind === 'bare' ? set : `x=${each.value}`;
          })
          .join(separator);
        const expected = list
          .filter(({ kind }) => kind === 'mine' || kind === 'other')
          .map((each) => (each.kind === 'mine' ? `i_like_gitea=${each.value}` : `x=${each.value}`));
        const left = bound.untie(header, alice);
        const found = (left ?? '')
          .split(';')
          .map((pair) => pair.trim())
          .filter((pair) => pair !== '');
        return JSON.stringify(found) === JSON.stringify(expected);
      }),
      { numRuns: 2000 },
    );
  },
);
