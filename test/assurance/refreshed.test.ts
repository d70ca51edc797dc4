import fc from 'fast-check';
import t from 'tap';
import { decide } from '../../src/assurance/decide.ts';
import type { MfaSettings } from '../../src/assurance/policy.ts';
import { decideRefreshed, noteRefreshed } from '../../src/assurance/refreshed.ts';
import type { AssurancePolicy, Claims } from '../../src/assurance/types.ts';
import { policyOf } from './policies.ts';

const now = 1_700_000_000;

const policy = (more: Partial<MfaSettings> = {}): AssurancePolicy =>
  policyOf({
    preset: 'custom',
    acr_values: [],
    aal2_acr_values: ['gold'],
    aal2_claims: { acrs: ['c2'] },
    aal2_amr_values: 'strict',
    accept: 'any',
    ...more,
  });

/** The verdict after one refresh. */
function after(signIn: Claims, said: Claims, under: AssurancePolicy) {
  return decideRefreshed(signIn, noteRefreshed(signIn, undefined, said, under), under, now);
}

t.test('what a refreshed ID token says, and what becomes of the session', async (t) => {
  const byAmr = { amr: ['pwd', 'otp'], acr: '1' };
  const byAcr = { acr: 'gold', amr: ['pwd'] };
  const byClaim = { acrs: ['c1', 'c2'] };
  const byBoth = { acr: 'gold', amr: ['mfa'] };
  const rows: readonly [string, Claims, Claims, Partial<MfaSettings>, string][] = [
    ['nothing at all', byAmr, {}, {}, 'aal2'],
    ['the same again', byAmr, byAmr, {}, 'aal2'],
    ['an empty list', byAmr, { amr: [] }, {}, 'aal2'],
    ['an empty string', byAmr, { amr: '' }, {}, 'aal2'],
    ['null', byAmr, { amr: null, acr: null }, {}, 'aal2'],
    ['other evidence that counts', byAmr, { amr: ['mfa'] }, {}, 'aal2'],
    ['a password alone', byAmr, { amr: ['pwd'] }, {}, 'amr_not_mfa'],
    ['a string that does not count', byAmr, { amr: 'pwd' }, {}, 'amr_not_mfa'],
    ['something that is no amr', byAmr, { amr: { mfa: true } }, {}, 'amr_malformed'],
    ['a list with a number in it', byAmr, { amr: ['mfa', 1] }, {}, 'amr_malformed'],
    ['an acr that did not count before either', byAmr, { acr: '0' }, {}, 'aal2'],
    ['an acr of another value, where none counts', byAmr, { acr: 'bronze' }, { accept: 'amr' }, 'aal2'],
    ['no amr, and the acr that never counted', byAmr, { acr: '1' }, {}, 'aal2'],
    ['another acr', byAcr, { acr: 'bronze' }, {}, 'acr_mismatch'],
    ['acr 0', byAcr, { acr: '0' }, {}, 'acr_mismatch'],
    ['an acr that is no string', byAcr, { acr: 2 }, {}, 'acr_malformed'],
    ['an empty acr', byAcr, { acr: '' }, {}, 'aal2'],
    ['an amr that did not count before either', byAcr, { acr: 'gold', amr: ['sms'] }, {}, 'aal2'],
    ['a claim without the value', byClaim, { acrs: ['c1'] }, {}, 'claim_mismatch'],
    ['an empty claim', byClaim, { acrs: [] }, {}, 'aal2'],
    ['a malformed claim', byClaim, { acrs: 7 }, {}, 'claim_malformed'],
    ['one of two channels says so', byBoth, { amr: ['pwd'] }, {}, 'amr_not_mfa'],
    ['one of two, where both are needed', byBoth, { acr: 'bronze' }, { accept: 'both' }, 'acr_mismatch'],
    ['malformed goes first', byBoth, { acr: 'bronze', amr: 5 }, {}, 'amr_malformed'],
  ];
  for (const [what, signIn, said, more, expected] of rows) {
    const under = policy(more);
    t.equal(decide(signIn, under, now).aal, 'aal2', `${what}: AAL2 at the sign-in`);
    const verdict = after(signIn, said, under);
    t.equal(verdict.reason ?? verdict.aal, expected, what);
    if (verdict.aal === 'aal1') {
      t.equal(verdict.evidence, undefined, what);
      t.equal(verdict.weak, false, what);
    } else t.strictSame(verdict, decide(signIn, under, now), what);
  }
});

t.test('what contradicts is observed as it came, over what the sign-in said', async (t) => {
  const { observed, steps } = after({ amr: ['mfa'], acr: '1' }, { amr: ['pwd'] }, policy());
  t.strictSame(observed, { amr: ['pwd'], acr: '1' });
  t.match(steps.at(-1), { subject: 'amr', result: 'no_match', observed: ['pwd'] });
});

t.test('once lowered, a refresh that says the right thing does not lift it', async (t) => {
  const signIn = { amr: ['mfa'] };
  const under = policy();
  let kept = noteRefreshed(signIn, undefined, { amr: ['pwd'] }, under);
  for (const said of [{ amr: ['mfa'] }, {}, { amr: [] }, { amr: ['pwd', 'otp'], acr: 'gold' }]) {
    kept = noteRefreshed(signIn, kept, said, under);
    t.equal(decideRefreshed(signIn, kept, under, now).reason, 'amr_not_mfa', JSON.stringify(said));
  }
});

t.test('the policy in force judges what was said: a reload may lower, and may lift', async (t) => {
  const signIn = { amr: ['mfa'], acr: 'gold' };
  const onlyAmr = policy({ accept: 'amr' });
  const kept = noteRefreshed(signIn, undefined, { acr: 'bronze' }, onlyAmr);
  t.equal(decideRefreshed(signIn, kept, onlyAmr, now).aal, 'aal2');
  t.equal(decideRefreshed(signIn, kept, policy({ accept: 'acr' }), now).reason, 'acr_mismatch');
  t.equal(decideRefreshed(signIn, kept, policy({ aal2_acr_values: ['gold', 'bronze'] }), now).aal, 'aal2');
});

t.test('nothing is kept of what says nothing new', async (t) => {
  const signIn = { amr: ['mfa'], acr: '1', name: 'Alice' };
  t.equal(noteRefreshed(signIn, undefined, { ...signIn, name: 'Mallory', exp: 5 }, policy()), undefined);
  const kept = noteRefreshed(signIn, undefined, { amr: ['otp', 'pwd'] }, policy());
  t.strictSame(kept, { amr: ['otp', 'pwd'] });
  t.ok(Object.isFrozen(kept));
  t.equal(
    noteRefreshed(signIn, kept, { amr: ['mfa'] }, policy()),
    undefined,
    'the sign-in says the same again',
  );
});

t.test('a claim that is called like a member of every object is a claim', async (t) => {
  const under = policy({ aal2_claims: { constructor: ['c2'] } });
  const signIn = Object.assign(Object.create(null) as Record<string, unknown>, { constructor: 'c2' });
  t.equal(after(signIn, {}, under).aal, 'aal2');
  t.equal(after(signIn, JSON.parse('{"constructor":"c1"}') as Claims, under).reason, 'claim_mismatch');
});

const odd = fc.oneof(
  fc.constantFrom<unknown>('mfa', 'pwd', 'otp', 'gold', 'bronze', '0', '', null, 7, {}, [], ['mfa'], ['pwd']),
  fc.array(fc.constantFrom<unknown>('mfa', 'pwd', 'otp', 'sms', '', 1, null), { maxLength: 3 }),
);
const claims = fc.record({ amr: odd, acr: odd, acrs: odd }, { requiredKeys: [] });
const policies = fc
  .record({ accept: fc.constantFrom('any' as const, 'amr' as const, 'acr' as const, 'both' as const) })
  .map(policy);

t.test('no sequence of refreshes adds evidence, or gives back what one has taken', async () => {
  fc.assert(
    fc.property(claims, fc.array(claims, { maxLength: 5 }), policies, (signIn, said, under) => {
      const first = decide(signIn, under, now);
      let kept: Claims | undefined;
      let before = first.aal;
      for (const each of said) {
        kept = noteRefreshed(signIn, kept, each, under);
        const verdict = decideRefreshed(signIn, kept, under, now);
        if (before === 'aal1' && verdict.aal === 'aal2') return false;
        // Whatever is left is what the sign-in brought.
        if (verdict.aal === 'aal2' && JSON.stringify(verdict.evidence) !== JSON.stringify(first.evidence))
          return false;
        if ((verdict.reason === undefined) !== (verdict.aal === 'aal2')) return false;
        before = verdict.aal;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
});

t.test('a refresh lowers exactly where a claim that counted now says what does not', async () => {
  const silent = (value: unknown): boolean =>
    value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);
  fc.assert(
    fc.property(claims, claims, policies, (signIn, said, under) => {
      if (decide(signIn, under, now).aal === 'aal1') return true;
      // Each channel by itself, under a policy that looks there alone.
      const alone: readonly [string, AssurancePolicy][] = [
        ['amr', policy({ accept: 'amr' })],
        ['acr', policy({ accept: 'acr', aal2_claims: {} })],
        ['acrs', policy({ accept: 'acr', aal2_acr_values: [] })],
      ];
      const looksAt = (name: string): boolean =>
        under.accept === 'any' || under.accept === 'both' || (under.accept === 'amr') === (name === 'amr');
      const contradicted = alone.some(
        ([name, only]) =>
          looksAt(name) &&
          decide(signIn, only, now).aal === 'aal2' &&
          !silent(said[name as keyof typeof said]) &&
          decide(said, only, now).aal === 'aal1',
      );
      return (after(signIn, said, under).aal === 'aal1') === contradicted;
    }),
    { numRuns: 2000 },
  );
});
