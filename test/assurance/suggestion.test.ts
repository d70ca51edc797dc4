import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { decide } from '../../src/assurance/decide.ts';
import { resolvePolicy, type MfaSettings } from '../../src/assurance/policy.ts';
import { suggestPolicy } from '../../src/assurance/suggestion.ts';
import { configSchema } from '../../src/config/schema.ts';

const elsewhere = 'https://idp.example.com';
const entra = 'https://login.microsoftonline.com/00000000-0000-0000-0000-000000000001/v2.0';
const now = 1_800_000_000;
const plain = (mfa: Partial<MfaSettings> = {}): MfaSettings => ({
  mode: 'report_only',
  preset: 'generic',
  allow_unsupported_issuer: false,
  ...mfa,
});
const multiFactor = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor';

/** What is written, what came, from where, and what is suggested. */
const table: readonly (readonly [
  string,
  Partial<MfaSettings>,
  Record<string, unknown>,
  string,
  string,
  RegExp,
])[] = [
  ['an accepted sign-in', {}, { amr: ['pwd', 'mfa'] }, elsewhere, 'accepted', /as it is/],
  ['a weak one', {}, { amr: ['pwd', 'kba'] }, elsewhere, 'accepted', /weak/],
  [
    'mfa in amr where only acr counts',
    { preset: 'keycloak', aal2_acr_values: ['gold'] },
    { acr: '1', amr: ['mfa'] },
    elsewhere,
    'strict',
    /accept: amr # new\n.*\n {2}aal2_amr_values: strict # new/s,
  ],
  [
    'two factors where a list asks for another',
    { aal2_amr_values: ['hwk'] },
    { amr: ['pwd', 'otp'] },
    elsewhere,
    'strict',
    /aal2_amr_values: strict # new/,
  ],
  [
    'an acr that says MFA, where only amr counts',
    {},
    { acr: multiFactor },
    elsewhere,
    'strict',
    /accept: acr # new\n {2}aal2_acr_values: \["http:.*multi-factor"\] # new/,
  ],
  [
    'another context of Entra',
    { preset: 'entra_c2' },
    { acrs: ['c3'] },
    entra,
    'conditional',
    /aal2_claims: \{"acrs":\["c3"\]\} # new/,
  ],
  [
    'the same claim from somebody else',
    { preset: 'entra_c2' },
    { acrs: ['c3'] },
    elsewhere,
    'none',
    /proves/,
  ],
  ['a password', {}, { amr: ['pwd'] }, elsewhere, 'none', /does not name two kinds/],
  ['nothing', {}, {}, elsewhere, 'none', /Nothing in this ID token proves MFA/],
  [
    'an acr of the house',
    { preset: 'keycloak', aal2_acr_values: ['gold'] },
    { acr: 'silver' },
    elsewhere,
    'none',
    /only if no flow yields it/,
  ],
  [
    'a weak value that is not accepted',
    { aal2_amr_values: 'strict' },
    { amr: ['kba', 'pwd'] },
    elsewhere,
    'none',
    /two kinds/,
  ],
  ['evidence without a time', { max_auth_age: 900_000 }, { amr: ['mfa'] }, elsewhere, 'none', /auth_time/],
  [
    'other evidence without a time',
    { preset: 'keycloak', aal2_acr_values: ['gold'], max_auth_age: 900_000 },
    { amr: ['mfa'] },
    elsewhere,
    'none',
    /auth_time is not recent enough/,
  ],
];

for (const [title, mfa, claims, issuer, kind, expected] of table) {
  t.test(`${title}: ${kind}`, async (t) => {
    const suggestion = suggestPolicy(claims, plain(mfa), { issuer }, now);
    t.equal(suggestion.kind, kind);
    t.match(suggestion.yaml ?? suggestion.note, expected);
    t.equal(suggestion.yaml !== undefined, kind === 'strict' || kind === 'conditional');
  });
}

t.test('what is written already is kept, and what an IdP sent never becomes structure', async (t) => {
  const { yaml: kept = '' } = suggestPolicy(
    { amr: ['mfa'], acr: 'x\n mode: trust_idp ${HOME}' },
    plain({
      preset: 'custom',
      acr_values: ['${HOME}'],
      accept: 'acr',
      enforce_for: { groups: ['ops: # ${X}'], emails: [] },
    }),
    { issuer: elsewhere },
    now,
  );
  t.same(parse(kept), {
    mfa: {
      mode: 'report_only',
      preset: 'custom',
      enforce_for: { groups: ['ops: # $${X}'], emails: [] },
      acr_values: ['$${HOME}'],
      accept: 'amr',
      aal2_amr_values: 'strict',
    },
  });
});

t.test('whatever is suggested is valid, is accepted by the decision, and is never weak', async () => {
  const value = fc.constantFrom('pwd', 'otp', 'mfa', 'kba', 'user', 'hwk', 'face', 'wia', 'x');
  const acr = fc.constantFrom(
    '0',
    '1',
    'gold',
    'phr',
    'urn:okta:loa:2fa:any',
    'urn:okta:loa:1fa:any',
    multiFactor,
  );
  const claims = fc.record(
    {
      amr: fc.oneof(fc.array(value, { maxLength: 4 }), fc.constant(7)),
      acr,
      acrs: fc.array(fc.constantFrom('c1', 'c2', 'c3', 'p1')),
      aal: fc.constantFrom(
        'http://idmanagement.gov/ns/assurance/aal/2',
        'http://idmanagement.gov/ns/assurance/aal/1',
      ),
    },
    { requiredKeys: [] },
  );
  const mfa = fc.record({
    preset: fc.constantFrom(
      'generic',
      'entra_c2',
      'okta_phr',
      'google_mfa',
      'authelia',
      'login_gov',
      'refeds_mfa',
      'custom',
    ),
    accept: fc.constantFrom('any', 'amr', 'acr', 'both', undefined),
    aal2_amr_values: fc.constantFrom('standard', 'strict', ['hwk'], undefined),
  } as const);
  fc.assert(
    fc.property(claims, mfa, fc.constantFrom(entra, elsewhere), (sent, written, issuer) => {
      const suggestion = suggestPolicy(sent, plain(written as Partial<MfaSettings>), { issuer }, now);
      if (suggestion.yaml === undefined) return;
      const config = configSchema.parse({
        server: { public_url: 'https://forge.example.com' },
        upstream: { url: 'http://127.0.0.1:3000' },
        session: { secrets: ['x'.repeat(32)] },
        sources: [
          { id: 'a', issuer, client_id: 'a', client_secret: 'b', ...(parse(suggestion.yaml) as object) },
        ],
      });
      const { policy, faults } = resolvePolicy(config.sources[0]!.mfa, { issuer });
      const verdict = decide(sent, policy, now);
      if (faults.length > 0 || verdict.aal !== 'aal2' || verdict.weak)
        throw new Error(`${suggestion.yaml} ${JSON.stringify({ faults, verdict })}`);
    }),
  );
});
