import fc from 'fast-check';
import t from 'tap';
import { standardAmrValues } from '../../src/assurance/amr.ts';
import { checkAuthTime, decide } from '../../src/assurance/decide.ts';
import type { MfaSettings } from '../../src/assurance/policy.ts';
import type { Accept, AssurancePolicy, Claims } from '../../src/assurance/types.ts';
import { policyOf } from './policies.ts';

const now = 1_700_000_000;

/** A policy whose three lists differ from each other, for one `accept`. */
const three = (accept: Accept, more: Partial<MfaSettings> = {}): AssurancePolicy =>
  policyOf({
    preset: 'custom',
    acr_values: [],
    aal2_acr_values: ['gold'],
    aal2_claims: { acrs: ['c2'], level: ['high'] },
    aal2_amr_values: 'strict',
    accept,
    ...more,
  });

t.test('evidence counts where accept names it, and nowhere else', async (t) => {
  const inAmr = { amr: ['mfa'] };
  const inAcr = { acr: 'gold' };
  const inClaim = { acrs: ['c1', 'c2'] };
  const elsewhere = 'evidence_not_in_required_claim';
  const rows: readonly [Claims, Record<Accept, string>][] = [
    [inAmr, { any: 'amr', amr: 'amr', acr: elsewhere, both: elsewhere }],
    [inAcr, { any: 'acr', amr: elsewhere, acr: 'acr', both: elsewhere }],
    [inClaim, { any: 'acrs', amr: elsewhere, acr: 'acrs', both: elsewhere }],
    [
      { ...inAmr, ...inAcr },
      { any: 'acr', amr: 'amr', acr: 'acr', both: 'acr' },
    ],
    [
      { ...inAmr, ...inClaim },
      { any: 'acrs', amr: 'amr', acr: 'acrs', both: 'acrs' },
    ],
    [
      { ...inAcr, ...inClaim },
      { any: 'acr', amr: elsewhere, acr: 'acr', both: elsewhere },
    ],
    [
      { ...inAmr, ...inAcr, ...inClaim },
      { any: 'acr', amr: 'amr', acr: 'acr', both: 'acr' },
    ],
    [
      { amr: ['pwd'] },
      { any: 'amr_not_mfa', amr: 'amr_not_mfa', acr: 'mfa_claims_absent', both: 'amr_not_mfa' },
    ],
    [
      { acr: 'silver' },
      { any: 'acr_mismatch', amr: 'mfa_claims_absent', acr: 'acr_mismatch', both: 'acr_mismatch' },
    ],
    [
      { acrs: ['c1'] },
      { any: 'claim_mismatch', amr: 'mfa_claims_absent', acr: 'claim_mismatch', both: 'claim_mismatch' },
    ],
    [
      { amr: ['pwd'], ...inAcr },
      { any: 'acr', amr: elsewhere, acr: 'acr', both: 'amr_not_mfa' },
    ],
    [
      { ...inAmr, acr: 'silver' },
      { any: 'amr', amr: 'amr', acr: elsewhere, both: 'acr_mismatch' },
    ],
    [
      { ...inAcr, acrs: ['c1'] },
      { any: 'acr', amr: elsewhere, acr: 'acr', both: elsewhere },
    ],
    [
      { amr: ['pwd'], acr: 'silver', acrs: ['c1'] },
      { any: 'amr_not_mfa', amr: 'amr_not_mfa', acr: 'acr_mismatch', both: 'amr_not_mfa' },
    ],
    [
      { amr: 7, acr: 'silver' },
      { any: 'amr_malformed', amr: 'amr_malformed', acr: 'acr_mismatch', both: 'amr_malformed' },
    ],
    [
      { amr: 7, acr: 7, acrs: 7 },
      { any: 'amr_malformed', amr: 'amr_malformed', acr: 'acr_malformed', both: 'amr_malformed' },
    ],
    [
      { amr: ['pwd'], acrs: [7] },
      { any: 'claim_malformed', amr: 'amr_not_mfa', acr: 'claim_malformed', both: 'claim_malformed' },
    ],
    [
      { amr: 7, ...inAcr },
      { any: 'acr', amr: 'amr_malformed', acr: 'acr', both: 'amr_malformed' },
    ],
    [
      {},
      {
        any: 'mfa_claims_absent',
        amr: 'mfa_claims_absent',
        acr: 'mfa_claims_absent',
        both: 'mfa_claims_absent',
      },
    ],
  ];
  for (const [claims, expected] of rows) {
    for (const accept of ['any', 'amr', 'acr', 'both'] as const) {
      const verdict = decide(claims, three(accept), now);
      const seen = verdict.evidence?.claim ?? verdict.reason;
      t.equal(seen, expected[accept], `${JSON.stringify(claims)} under ${accept}`);
      t.equal(verdict.aal, verdict.reason === undefined ? 'aal2' : 'aal1');
    }
  }
});

t.test('acr is one string, compared exactly', async (t) => {
  const policy = policyOf({ preset: 'refeds_mfa' });
  const mfa = 'https://refeds.org/profile/mfa';
  t.match(decide({ acr: mfa }, policy, now), {
    aal: 'aal2',
    evidence: { claim: 'acr', value: mfa },
    weak: false,
  });
  const mismatches = [
    'https://refeds.org/profile/MFA',
    `${mfa}/`,
    ` ${mfa}`,
    `${mfa} `,
    `${mfa} x`,
    'https://refeds.org/profile/mf',
    '0',
    '1',
  ];
  for (const acr of mismatches)
    t.equal(decide({ acr }, policy, now).reason, 'acr_mismatch', JSON.stringify(acr));
  for (const acr of [[mfa], { value: mfa }, 1, null, true]) {
    t.equal(decide({ acr }, policy, now).reason, 'acr_malformed', JSON.stringify(acr));
  }
  for (const claims of [{}, { acr: '' }, { acr: undefined }, { ACR: mfa }]) {
    t.equal(decide(claims, policy, now).reason, 'mfa_claims_absent', JSON.stringify(claims));
  }
});

t.test('acr "0" and the empty acr never match, even when they are listed', async (t) => {
  const policy = three('any', { aal2_acr_values: ['0', '', 'gold'] });
  t.equal(decide({ acr: '0' }, policy, now).reason, 'acr_mismatch');
  t.equal(decide({ acr: '' }, policy, now).reason, 'mfa_claims_absent');
  t.equal(decide({ acrs: '' }, three('any', { aal2_claims: { acrs: [''] } }), now).aal, 'aal1');
  t.equal(decide({ acrs: [''] }, three('any', { aal2_claims: { acrs: [''] } }), now).aal, 'aal1');
});

t.test('acr values have no order: a higher one that is not listed does not count', async (t) => {
  const policy = policyOf({ preset: 'keycloak', aal2_acr_values: ['2'] });
  for (const acr of ['3', '4', '20', '2.0', '02'])
    t.equal(decide({ acr }, policy, now).reason, 'acr_mismatch');
  t.equal(decide({ acr: '2' }, policy, now).aal, 'aal2');
});

t.test('a claim of aal2_claims is a string or an array of strings', async (t) => {
  const policy = policyOf({ preset: 'entra_c2' });
  for (const acrs of ['c2', ['c2'], ['c1', 'c2', 'c3']]) {
    t.match(decide({ acrs }, policy, now), {
      aal: 'aal2',
      evidence: { claim: 'acrs', value: 'c2' },
      weak: false,
    });
  }
  for (const acrs of ['C2', ['c22'], ['c1'], 'c1 c2', [' c2']]) {
    t.equal(decide({ acrs }, policy, now).reason, 'claim_mismatch', JSON.stringify(acrs));
  }
  for (const acrs of [['c2', 1], { c2: true }, [['c2']], null, 2]) {
    t.equal(decide({ acrs }, policy, now).reason, 'claim_malformed', JSON.stringify(acrs));
  }
  for (const acrs of [[], '', undefined]) t.equal(decide({ acrs }, policy, now).reason, 'mfa_claims_absent');
});

t.test('a claim that every object inherits is no claim', async (t) => {
  const policy = three('any', { aal2_claims: { constructor: ['x'], toString: ['x'] } });
  t.equal(decide({}, policy, now).reason, 'mfa_claims_absent');
  const inherited = Object.create({ amr: ['mfa'], acr: 'gold' }) as Claims;
  t.equal(decide(inherited, three('any'), now).reason, 'mfa_claims_absent');
});

t.test('no list means AAL1, always', async (t) => {
  const all = { amr: [...standardAmrValues], acr: 'gold', acrs: ['c2'] };
  for (const accept of ['any', 'amr', 'acr', 'both'] as const) {
    const policy = policyOf({
      mode: 'carry_over',
      accept,
      aal2_amr_values: [],
      aal2_acr_values: [],
      aal2_claims: {},
    });
    t.equal(decide(all, policy, now).aal, 'aal1', accept);
  }
  const half = policyOf({ mode: 'carry_over', accept: 'both', aal2_amr_values: 'strict' });
  t.equal(decide(all, half, now).aal, 'aal1', 'both needs two lists');
});

t.test('a rule that does not exist is met by nobody', async (t) => {
  const policy = { ...three('any'), accept: 'whatever' as Accept };
  t.equal(decide({ amr: ['mfa'], acr: 'gold' }, policy, now).aal, 'aal1');
});

t.test('weak marks what strict in place of aal2_amr_values would have refused', async (t) => {
  const rows: readonly [Accept, Claims, boolean][] = [
    ['any', { amr: ['otp'] }, true],
    ['any', { amr: ['pwd', 'kba'] }, true],
    ['any', { amr: ['user'] }, true],
    ['any', { amr: ['pwd', 'otp'] }, false],
    ['any', { amr: ['mfa'] }, false],
    ['any', { amr: ['otp'], acr: 'gold' }, false],
    ['any', { amr: ['otp'], acrs: ['c2'] }, false],
    ['any', { amr: ['otp'], acr: 'silver' }, true],
    ['amr', { amr: ['otp'], acr: 'gold' }, true],
    ['amr', { amr: ['pwd', 'otp'], acr: 'gold' }, false],
    ['acr', { amr: ['otp'], acr: 'gold' }, false],
    ['both', { amr: ['otp'], acr: 'gold' }, true],
    ['both', { amr: ['mfa'], acr: 'gold' }, false],
  ];
  for (const [accept, claims, weak] of rows) {
    const verdict = decide(claims, three(accept, { aal2_amr_values: 'standard' }), now);
    t.equal(verdict.aal, 'aal2');
    t.equal(verdict.weak, weak, `${JSON.stringify(claims)} under ${accept}`);
  }
  const list = policyOf({ aal2_amr_values: ['BankID', ['password', 'totp']] });
  t.equal(decide({ amr: 'BankID' }, list, now).weak, true, 'a value of the operator that names no factors');
  t.equal(decide({ amr: ['password', 'totp'] }, list, now).weak, false, 'a combination of two factors');
});

t.test('auth_time has to be an integer, at most max_auth_age old, with 60 s of skew both ways', async (t) => {
  const rows: readonly [unknown, ReturnType<typeof checkAuthTime>][] = [
    [now, undefined],
    [now - 900, undefined],
    [now - 960, undefined],
    [now - 961, 'auth_too_old'],
    [0, 'auth_too_old'],
    [-1, 'auth_too_old'],
    [now + 60, undefined],
    [now + 61, 'auth_time_in_future'],
    [now * 1000, 'auth_time_in_future'],
    [undefined, 'auth_time_missing'],
    [null, 'auth_time_missing'],
    [String(now), 'auth_time_missing'],
    [now + 0.5, 'auth_time_missing'],
    [Number.NaN, 'auth_time_missing'],
    [Infinity, 'auth_time_missing'],
    [[now], 'auth_time_missing'],
  ];
  const policy = three('any', { max_auth_age: 900_000 });
  for (const [authTime, reason] of rows) {
    t.equal(checkAuthTime(authTime, 900, now), reason, String(authTime));
    const verdict = decide({ acr: 'gold', auth_time: authTime }, policy, now);
    t.match(verdict, { aal: reason === undefined ? 'aal2' : 'aal1', reason });
    if (reason !== undefined) t.match(verdict, { evidence: undefined, weak: false });
  }
  t.equal(decide({ acr: 'gold' }, three('any'), now).aal, 'aal2', 'without max_auth_age nobody asks');
  t.equal(
    decide({ acr: 'silver', auth_time: 0 }, policy, now).reason,
    'acr_mismatch',
    'freshness comes last',
  );
  t.equal(checkAuthTime(now, Number.NaN, now), 'auth_too_old', 'a limit that is no number is kept by nobody');
});

t.test('observed holds the claims as received, required the keys of the operator', async (t) => {
  const claims = { amr: [1, 'x'], acr: null, acrs: { a: 1 }, auth_time: 'soon', email: 'a@example.com' };
  const verdict = decide(claims, three('any', { max_auth_age: 60_000 }), now);
  t.strictSame(verdict.observed, { amr: [1, 'x'], acr: null, auth_time: 'soon', acrs: { a: 1 } });
  t.strictSame(verdict.required, {
    accept: 'any',
    aal2_acr_values: ['gold'],
    aal2_claims: { acrs: ['c2'], level: ['high'] },
    aal2_amr_values: 'strict',
    max_auth_age: '60s',
  });
  t.strictSame(decide({}, policyOf({ preset: 'authelia' }), now).required, {
    accept: 'amr',
    aal2_amr_values: 'strict',
  });
});

t.test('the steps tell every claim, the rule and the freshness, in the order taken', async (t) => {
  const verdict = decide({ acr: 'gold', amr: 5 }, three('any', { max_auth_age: 60_000 }), now);
  t.strictSame(
    verdict.steps.map(({ subject, result }) => [subject, result]),
    [
      ['acr', 'match'],
      ['acrs', 'absent'],
      ['level', 'absent'],
      ['amr', 'malformed'],
      ['accept', 'match'],
      ['auth_time', 'absent'],
    ],
  );
  const ignored = decide({ acr: 'gold' }, three('amr'), now).steps[0];
  t.match(ignored, { result: 'not_considered', note: /does not look there/ });
  for (const { note } of verdict.steps) t.match(note, /^\S.*\.$/);
});

const anyValue = fc.oneof(
  fc.string(),
  fc.constantFrom('mfa', 'otp', 'pwd', 'gold', 'c2', 'Mfa', '0', ''),
  fc.array(fc.oneof(fc.string(), fc.constantFrom('mfa', 'MFA', 'otp', 'pwd', 'c2', 'kba'), fc.integer()), {
    maxLength: 4,
  }),
  fc.jsonValue({ maxDepth: 2 }),
);
const anyClaims = fc.record(
  { amr: anyValue, acr: anyValue, acrs: anyValue, auth_time: anyValue },
  { requiredKeys: [] },
);
const anyAccept = fc.constantFrom<Accept>('any', 'amr', 'acr', 'both');
const anyRule = fc.constantFrom<AssurancePolicy['aal2AmrValues']>(
  'standard',
  'strict',
  ['otp', ['pwd', 'kba']],
  [],
);

t.test('property: AAL2 only when an accepted value stands literally in the token', async () => {
  fc.assert(
    fc.property(anyClaims, anyAccept, anyRule, (claims, accept, aal2AmrValues) => {
      const policy: AssurancePolicy = { ...three(accept), aal2AmrValues };
      const { aal, evidence, reason, weak } = decide(claims, policy, now);
      if (aal === 'aal1') return reason !== undefined && evidence === undefined && !weak;
      if (evidence === undefined || reason !== undefined) return false;
      const stands = (claims as Claims)[evidence.claim];
      const values = typeof stands === 'string' ? [stands] : (stands as unknown[]);
      return [evidence.value]
        .flat()
        .every((value) => value !== '' && value !== '0' && values.includes(value));
    }),
    { numRuns: 2000 },
  );
});

t.test(
  'property: where strict gives AAL2, standard does too, but for password, vbm and their like',
  async () => {
    const kinds = fc.array(fc.constantFrom(...standardAmrValues, 'pwd'), { maxLength: 5 });
    fc.assert(
      fc.property(kinds, (amr) => {
        const strict = decide({ amr }, policyOf({ aal2_amr_values: 'strict' }), now);
        const standard = decide({ amr }, policyOf(), now);
        return strict.aal === 'aal1' || (standard.aal === 'aal2' && !standard.weak);
      }),
    );
  },
);

t.test('property: the decision changes nothing of what it is given', async () => {
  fc.assert(
    fc.property(anyClaims, anyAccept, (claims, accept) => {
      const before = structuredClone(claims);
      decide(claims, three(accept), now);
      return JSON.stringify(before) === JSON.stringify(claims);
    }),
  );
});
