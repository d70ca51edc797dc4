import fc from 'fast-check';
import t from 'tap';
import { isRefreshDue, keptTokens, spentTokens } from '../../src/session/kept-tokens.ts';
import { makeRecord } from './record-fixture.ts';

const now = 1_700_000_000;
const brought = {
  idToken: 'id',
  accessToken: 'access',
  accessTokenExpiresAt: now + 300,
  refreshToken: 'refresh',
};

t.test('kept is what somebody will use, and nothing else', async (t) => {
  const kept = (more: Partial<Record<keyof typeof brought, undefined>>, pass: boolean) =>
    keptTokens({ ...brought, ...more }, pass, now);
  t.strictSame(kept({}, true), { ...brought, refreshDueAt: now + 240 });
  t.strictSame(kept({}, false), { ...brought, accessToken: undefined, refreshDueAt: now + 240 });
  t.strictSame(kept({ refreshToken: undefined }, true), {
    ...brought,
    refreshToken: undefined,
    refreshDueAt: undefined,
  });
  t.strictSame(kept({ refreshToken: undefined }, false), {
    idToken: 'id',
    accessToken: undefined,
    accessTokenExpiresAt: undefined,
    refreshToken: undefined,
    refreshDueAt: undefined,
  });
  t.strictSame(
    kept({ accessTokenExpiresAt: undefined }, false).refreshToken,
    undefined,
    'nobody knows when it would be needed',
  );
});

t.test('due in the last fifth of its life: 10 s before the end at least, 60 s at most', async (t) => {
  const dueAfter = (life: number): number =>
    keptTokens({ ...brought, accessTokenExpiresAt: now + life }, false, now).refreshDueAt! - now;
  for (const [life, due] of [
    [3600, 3540],
    [300, 240],
    [100, 80],
    [40, 30],
    [20, 10],
    [10, 5],
    [1, 1],
    [0, 1],
    [-5, 1],
  ] as const)
    t.equal(dueAfter(life), due, `${life} s`);
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 1e6 }), (life) => dueAfter(life) >= 1 && dueAfter(life) < life),
  );
});

t.test('what is due is due from that second on, and what has nothing to refresh never is', async (t) => {
  const record = makeRecord(now * 1000);
  const due = (refreshDueAt: number | undefined, atMs: number): boolean =>
    isRefreshDue({ record: { ...record, tokens: { ...record.tokens, refreshDueAt } } }, atMs);
  t.equal(due(now, now * 1000 - 1), false);
  t.equal(due(now, now * 1000), true);
  t.equal(due(undefined, Infinity), false);
  t.equal(isRefreshDue({ record }, Infinity), false, 'a record of a release before');
});

t.test('a refresh token that is of no more use goes, and an access token once it has expired', async (t) => {
  const kept = keptTokens(brought, true, now);
  t.strictSame(spentTokens(kept, now + 299), { ...kept, refreshToken: undefined, refreshDueAt: undefined });
  t.strictSame(spentTokens(kept, now + 300), {
    idToken: 'id',
    accessToken: undefined,
    accessTokenExpiresAt: undefined,
    refreshToken: undefined,
    refreshDueAt: undefined,
  });
});
