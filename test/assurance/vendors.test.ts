import { readFileSync } from 'node:fs';
import t from 'tap';
import { decide } from '../../src/assurance/decide.ts';
import type { MfaSettings } from '../../src/assurance/policy.ts';
import type { AssuranceReason, Claims } from '../../src/assurance/types.ts';
import { policyOf } from './policies.ts';

interface Vendor {
  readonly id: string;
  readonly id_token_with_mfa: Claims;
  readonly id_token_without_mfa: Claims;
}
const vendors = JSON.parse(
  readFileSync(new URL('../fixtures/idp-claims.json', import.meta.url), 'utf8'),
) as readonly Vendor[];

/** The policy that fits a vendor, and what comes of its two tokens. */
interface Case {
  readonly mfa: Partial<MfaSettings>;
  /** The claim that is evidence, or the reason when there is none even with MFA. */
  readonly withMfa: string;
  readonly without: AssuranceReason;
}
const never = (preset: string): Case => ({
  mfa: { preset },
  withMfa: 'mfa_claims_absent',
  without: 'mfa_claims_absent',
});

const cases: Readonly<Record<string, readonly Case[]>> = {
  'entra-v2': [
    {
      // The sample names c1; contexts are the tenant's own.
      mfa: {
        preset: 'entra_c2',
        requested_claims: { id_token: { acrs: { essential: true, value: 'c1' } } },
        aal2_claims: { acrs: ['c1'] },
      },
      withMfa: 'acrs',
      without: 'mfa_claims_absent',
    },
    { mfa: { preset: 'entra_c2' }, withMfa: 'claim_mismatch', without: 'mfa_claims_absent' },
  ],
  'entra-v1': [
    { mfa: { preset: 'generic', aal2_amr_values: ['mfa'] }, withMfa: 'amr', without: 'amr_not_mfa' },
    { mfa: { preset: 'entra_c2' }, withMfa: 'amr', without: 'amr_not_mfa' },
  ],
  adfs: [never('generic')],
  okta: [
    { mfa: { preset: 'okta_2fa' }, withMfa: 'acr', without: 'amr_not_mfa' },
    { mfa: { preset: 'okta_phr' }, withMfa: 'amr', without: 'amr_not_mfa' },
    {
      mfa: { preset: 'okta_phrh', accept: 'acr' },
      withMfa: 'evidence_not_in_required_claim',
      without: 'acr_mismatch',
    },
    { mfa: { preset: 'okta_2fa', accept: 'both' }, withMfa: 'acr', without: 'amr_not_mfa' },
  ],
  google: [{ mfa: { preset: 'google_mfa' }, withMfa: 'amr', without: 'amr_not_mfa' }],
  auth0: [{ mfa: { preset: 'auth0' }, withMfa: 'acr', without: 'mfa_claims_absent' }],
  keycloak: [
    { mfa: { preset: 'keycloak', aal2_acr_values: ['gold'] }, withMfa: 'acr', without: 'acr_mismatch' },
  ],
  pingone: [{ mfa: { preset: 'ping', acr_values: 'Multi_Factor' }, withMfa: 'acr', without: 'amr_not_mfa' }],
  pingfederate: [
    // The sample's values are one and the same placeholder: the operator has to tell them apart.
    { mfa: { preset: 'ping', acr_values: 'mfa-context' }, withMfa: 'acr_mismatch', without: 'acr_mismatch' },
  ],
  pingam: [
    // The placeholder has a space, so it cannot be asked for; it can be accepted.
    {
      mfa: { preset: 'ping', acr_values: ['<mapped'], aal2_acr_values: ['<mapped key>'] },
      withMfa: 'acr',
      without: 'mfa_claims_absent',
    },
  ],
  onelogin: [never('generic'), never('custom')],
  'duo-sso': [never('generic')],
  jumpcloud: [never('generic')],
  authentik: [{ mfa: { preset: 'authentik' }, withMfa: 'amr', without: 'amr_not_mfa' }],
  authelia: [{ mfa: { preset: 'authelia' }, withMfa: 'amr', without: 'amr_not_mfa' }],
  zitadel: [{ mfa: { preset: 'zitadel' }, withMfa: 'amr', without: 'amr_not_mfa' }],
  dex: [never('generic')],
  cognito: [never('generic')],
  apple: [never('generic')],
  github: [never('generic')],
  gitlab: [never('generic')],
  'login-gov': [{ mfa: { preset: 'login_gov' }, withMfa: 'aal', without: 'claim_mismatch' }],
  'ory-hydra': [
    {
      mfa: { preset: 'custom', aal2_acr_values: ['<login-app defined>'], aal2_amr_values: [] },
      withMfa: 'acr',
      without: 'mfa_claims_absent',
    },
  ],
  'ory-kratos': [
    {
      mfa: {
        preset: 'generic',
        aal2_amr_values: [
          ['password', 'totp'],
          ['password', 'webauthn'],
        ],
      },
      withMfa: 'amr',
      without: 'amr_not_mfa',
    },
    { mfa: { preset: 'generic', aal2_amr_values: 'strict' }, withMfa: 'amr', without: 'amr_not_mfa' },
  ],
  'node-oidc-provider': [
    {
      mfa: { preset: 'keycloak', aal2_acr_values: ['urn:example:mfa'] },
      withMfa: 'acr',
      without: 'acr_mismatch',
    },
  ],
};

t.test('every vendor of the reference has its cases', async (t) => {
  t.strictSame(vendors.map(({ id }) => id).sort(), Object.keys(cases).sort());
});

for (const { id, id_token_with_mfa: withMfa, id_token_without_mfa: without } of vendors) {
  for (const { mfa, ...expected } of cases[id] ?? []) {
    t.test(
      `${id} under ${mfa.preset ?? ''}: with MFA ${expected.withMfa}, without ${expected.without}`,
      async (t) => {
        const policy = policyOf(mfa);
        const yes = decide(withMfa, policy, 1_700_000_000);
        t.equal(yes.evidence?.claim ?? yes.reason, expected.withMfa);
        t.equal(yes.weak, false, 'no vendor needs the wide list');
        const no = decide(without, policy, 1_700_000_000);
        t.match(no, { aal: 'aal1', reason: expected.without });
      },
    );
  }
}

t.test('the password-only sign-in of Authelia passes standard, and is marked weak', async (t) => {
  const claims = { amr: ['pwd', 'kba'] };
  t.match(decide(claims, policyOf({ preset: 'generic' }), 0), {
    aal: 'aal2',
    weak: true,
    evidence: { value: 'kba' },
  });
  t.match(decide(claims, policyOf({ preset: 'authelia' }), 0), { aal: 'aal1', reason: 'amr_not_mfa' });
});

t.test('a passkey of Authelia passes strict by its PIN and key, that of Authentik does not', async (t) => {
  const strict = policyOf({ preset: 'authelia' });
  t.match(decide({ amr: ['pop', 'hwk', 'user', 'pin'] }, strict, 0), {
    aal: 'aal2',
    evidence: { value: ['pop', 'pin'] },
  });
  t.match(decide({ amr: ['user'] }, policyOf({ preset: 'authentik' }), 0), { reason: 'amr_not_mfa' });
  t.match(decide({ amr: ['user', 'mfa'] }, policyOf({ preset: 'zitadel' }), 0), { aal: 'aal2' });
});

t.test('Entra: "Windows or MFA", single sign-on and a code by email', async (t) => {
  const strict = policyOf({ preset: 'generic', aal2_amr_values: 'strict' });
  for (const amr of [['wiaormfa'], ['wia'], ['otp'], ['fed'], ['rsa'], ['none'], ['ngcmfa']]) {
    t.equal(decide({ amr }, strict, 0).aal, 'aal1', amr.join());
  }
});

t.test('the ifpossible acr of Okta, which one factor can earn, is not the one asked for', async (t) => {
  const policy = policyOf({ preset: 'okta_2fa' });
  t.equal(decide({ acr: 'urn:okta:loa:2fa:any:ifpossible' }, policy, 0).reason, 'acr_mismatch');
});
