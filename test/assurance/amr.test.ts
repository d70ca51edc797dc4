import t from 'tap';
import { factorKinds, findAmrEvidence, standardAmrValues, strictEvidence } from '../../src/assurance/amr.ts';
import { decide } from '../../src/assurance/decide.ts';
import { policyOf } from './policies.ts';

// Written out a second time, on purpose: this is the specification's list, not the code's.
const eighteen = 'mfa otp hwk fido sms tel mca sc otpasswd swk user wia pop eye iris face fpt kba'.split(' ');
const knowledge = 'pwd pin kba password'.split(' ');
const possession = 'otp sms tel hwk swk sc pop fido totp webauthn'.split(' ');
const inherence = 'face fpt iris retina vbm eye'.split(' ');
const noFactor = 'user geo rba wia mca otpasswd'.split(' ');

t.test('the standard list has exactly the 18 values of the seeds', async (t) => {
  t.equal(eighteen.length, 18);
  t.strictSame([...standardAmrValues].sort(), [...eighteen].sort());
});

const standard = policyOf({ preset: 'generic' });
for (const value of eighteen) {
  t.test(`${value} alone is accepted by standard`, async (t) => {
    const verdict = decide({ amr: [value] }, standard, 0);
    t.match(verdict, { aal: 'aal2', reason: undefined, evidence: { claim: 'amr', value } });
    t.equal(verdict.weak, value !== 'mfa', 'and weak, unless it is mfa itself');
  });
}

const refused: readonly [title: string, claims: Record<string, unknown>, reason: string][] = [
  ['a password alone', { amr: ['pwd'] }, 'amr_not_mfa'],
  ['a PIN alone', { amr: ['pin'] }, 'amr_not_mfa'],
  ['values that are no evidence', { amr: ['geo', 'rba', 'phr', 'retina', 'vbm'] }, 'amr_not_mfa'],
  ['an empty string in the list', { amr: [''] }, 'amr_not_mfa'],
  ['an empty list', { amr: [] }, 'mfa_claims_absent'],
  ['an empty string', { amr: '' }, 'mfa_claims_absent'],
  ['no amr at all', {}, 'mfa_claims_absent'],
  ['amr undefined', { amr: undefined }, 'mfa_claims_absent'],
  ['null', { amr: null }, 'amr_malformed'],
  ['true', { amr: true }, 'amr_malformed'],
  ['a number', { amr: 2 }, 'amr_malformed'],
  ['an object', { amr: { 0: 'mfa', length: 1 } }, 'amr_malformed'],
  ['an object keyed by the value', { amr: { mfa: true } }, 'amr_malformed'],
  ['a nested list', { amr: [['mfa']] }, 'amr_malformed'],
  ['a list with a number beside mfa', { amr: ['mfa', 1] }, 'amr_malformed'],
  ['a list with null beside mfa', { amr: [null, 'mfa'] }, 'amr_malformed'],
  ['a list with an object beside mfa', { amr: ['mfa', {}] }, 'amr_malformed'],
  // eslint-disable-next-line no-sparse-arrays -- the hole is what is tried
  ['a list with a hole beside mfa', { amr: ['mfa', , 'otp'] }, 'amr_malformed'],
  ['a separated string', { amr: 'pwd mfa' }, 'amr_not_mfa'],
  ['a comma list', { amr: 'pwd,mfa' }, 'amr_not_mfa'],
  ['a list written as a string', { amr: '["mfa"]' }, 'amr_not_mfa'],
  ['evidence in another claim', { AMR: ['mfa'], amrs: ['mfa'], amr_values: 'mfa' }, 'mfa_claims_absent'],
];
for (const [title, claims, reason] of refused) {
  t.test(`${title} is refused by standard and by strict`, async (t) => {
    for (const policy of [standard, policyOf({ preset: 'authelia' })]) {
      const verdict = decide(claims, policy, 0);
      t.match(verdict, { aal: 'aal1', reason, evidence: undefined, weak: false });
    }
  });
}

t.test('a look-alike of an accepted value is refused', async (t) => {
  for (const value of eighteen) {
    const looks = [
      value.toUpperCase(),
      value[0]!.toUpperCase() + value.slice(1),
      ` ${value}`,
      `${value} `,
      `\t${value}`,
      `${value}\n`,
      `${value}\u0000`,
      `${value}\u200b`,
      `${value}s`,
      `x${value}`,
      `${value},${value}`,
      `${value} ${value}`,
      value.replace('a', '\u0430').replace('o', '\u043e').replace('e', '\u0435') + '\u0301',
    ];
    for (const look of looks) {
      for (const amr of [look, [look], ['pwd', look]]) {
        t.match(decide({ amr }, standard, 0), { aal: 'aal1', reason: 'amr_not_mfa' }, JSON.stringify(amr));
      }
    }
  }
});

t.test('a single string is a list of one', async (t) => {
  t.equal(decide({ amr: 'mfa' }, standard, 0).aal, 'aal2');
  t.equal(decide({ amr: 'BankID' }, policyOf({ aal2_amr_values: ['BankID'] }), 0).aal, 'aal2');
});

t.test('every value has the factor kind of the specification, and no other value has one', async (t) => {
  const kinds = Object.fromEntries([
    ...knowledge.map((value) => [value, 'knowledge']),
    ...possession.map((value) => [value, 'possession']),
    ...inherence.map((value) => [value, 'inherence']),
  ]);
  t.strictSame(Object.fromEntries(factorKinds), kinds);
});

t.test('strict accepts a pair exactly when mfa is in it or the two are of different kinds', async (t) => {
  const kindOf = (value: string) =>
    knowledge.includes(value)
      ? 'k'
      : possession.includes(value)
        ? 'p'
        : inherence.includes(value)
          ? 'i'
          : undefined;
  const vocabulary = [
    'mfa',
    ...knowledge,
    ...possession,
    ...inherence,
    ...noFactor,
    'phr',
    'fed',
    'Mfa',
    'PWD',
  ];
  let accepted = 0;
  for (const one of vocabulary) {
    for (const two of vocabulary) {
      const [a, b] = [kindOf(one), kindOf(two)];
      const expected = one === 'mfa' || two === 'mfa' || (a !== undefined && b !== undefined && a !== b);
      const evidence = strictEvidence([one, two]);
      if (expected) accepted += 1;
      t.equal(evidence !== undefined, expected, `${one} + ${two}`);
      t.strictSame(
        strictEvidence([two, one]) !== undefined,
        evidence !== undefined,
        `${one} + ${two} in the other order`,
      );
    }
  }
  // 2·(4·10 + 4·6 + 10·6) pairs of kinds, and mfa with each of the n values.
  t.equal(accepted, 2 * (40 + 24 + 60) + 2 * vocabulary.length - 1);
});

t.test('strict refuses what only looks like two factors', async (t) => {
  for (const values of [
    ['pwd', 'kba'],
    ['hwk', 'user'],
    ['pwd', 'user'],
    ['otp', 'sms'],
    ['pwd', 'pwd'],
    ['pwd', 'wia', 'mca', 'geo', 'rba', 'user'],
    [],
  ]) {
    t.equal(strictEvidence(values), undefined, values.join('+'));
  }
});

t.test('strict puts the first two values of different kinds on record, or mfa', async (t) => {
  t.strictSame(strictEvidence(['user', 'hwk', 'sms', 'pin']), ['hwk', 'pin']);
  t.equal(strictEvidence(['pwd', 'otp', 'mfa']), 'mfa');
});

t.test('in a list, an element is a value or values that must all be there', async (t) => {
  const rule = [['password', 'totp'], 'BankID', ['solo']];
  t.strictSame(findAmrEvidence(['totp', 'password'], rule), ['password', 'totp']);
  t.equal(findAmrEvidence(['BankID'], rule), 'BankID');
  t.equal(findAmrEvidence(['solo'], rule), 'solo');
  t.equal(findAmrEvidence(['password'], rule), undefined);
  t.equal(findAmrEvidence(['totp'], rule), undefined);
  t.equal(findAmrEvidence([], rule), undefined);
});

t.test('an empty combination or an empty value is met by nobody', async (t) => {
  t.equal(findAmrEvidence(['pwd', ''], [[], '', [''], ['pwd', '']]), undefined);
});
