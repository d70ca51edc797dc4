import t from 'tap';
import { presets } from '../../src/assurance/presets.ts';
import { describeReason, hintFor, reasonCodes } from '../../src/assurance/reasons.ts';
import { vendorHints } from '../../src/assurance/vendor-hints.ts';

/** SPEC section 3, written out a second time. */
const codes = [
  ...'mfa_claims_absent amr_not_mfa acr_mismatch evidence_not_in_required_claim amr_malformed acr_malformed'.split(
    ' ',
  ),
  ...'claim_malformed claim_mismatch auth_time_missing auth_too_old auth_time_in_future idp_refused'.split(
    ' ',
  ),
  ...'email_domain_not_allowed email_unverified group_not_allowed groups_unavailable'.split(' '),
  ...'username_invalid username_reserved username_conflict email_conflict state_invalid token_invalid idp_unavailable'.split(
    ' ',
  ),
  ...'aal2_required attested_not_accepted'.split(' '),
];

t.test('there is a text for every reason code of the specification', async (t) => {
  t.strictSame([...reasonCodes].sort(), [...codes].sort());
});

t.test('each code has one sentence for the user, without jargon', async (t) => {
  for (const code of codes) {
    const text = describeReason(code);
    t.match(text, /^[A-Z][^.]*\.$/, code);
    t.notMatch(text, /\b(amr|acr|claim|token|IdP|AAL)\b/i, code);
  }
  t.match(describeReason('no_such_code'), /^[A-Z][^.]*\.$/);
  t.equal(describeReason('constructor'), describeReason('no_such_code'));
});

t.test('each code has a hint for the operator with every preset', async (t) => {
  t.strictSame([...vendorHints.keys()].sort(), [...presets.keys()].sort());
  for (const code of codes) {
    for (const preset of presets.keys())
      t.match(hintFor(code, preset, {}), /^\S.{30,}\.$/, `${code}, ${preset}`);
  }
  t.equal(hintFor('no_such_code', 'generic', {}), '');
  t.match(hintFor('amr_not_mfa', 'no_such_preset', {}), /Nothing in amr is accepted/);
});

t.test('the troubleshooting lists of the seeds are told', async (t) => {
  t.match(hintFor('claim_mismatch', 'entra_c2'), /Conditional Access.*app of this source in scope/s);
  t.match(hintFor('amr_not_mfa', 'okta_phr'), /Any factor type allowed/);
  t.match(hintFor('amr_not_mfa', 'google_mfa'), /2-Step Verification is enforced/);
  t.match(hintFor('mfa_claims_absent', 'generic'), /emits them.*acr_values or requested_claims/s);
  t.match(hintFor('mfa_claims_absent', 'generic'), /claims_source/);
  t.match(hintFor('acr_mismatch', 'keycloak', { acr: '0' }), /never says MFA/);
});

t.test(
  'a hint of one vendor is not shown with another, nor with refusals that are not about MFA',
  async (t) => {
    t.notMatch(hintFor('amr_not_mfa', 'okta_2fa'), /Entra|Keycloak|Authelia/);
    t.notMatch(hintFor('username_invalid', 'okta_2fa'), /Okta/);
  },
);

t.test('values that tell something by themselves are read', async (t) => {
  t.match(hintFor('amr_not_mfa', 'generic', { amr: ['pwd', 'fed'] }), /federated/);
  t.match(hintFor('amr_not_mfa', 'zitadel', { amr: ['pwd', 'kba'] }), /preset is authelia/);
  t.match(hintFor('amr_not_mfa', 'generic', { amr: ['MFA'] }), /another spelling/);
  t.match(hintFor('amr_not_mfa', 'generic', { amr: ['pwd'], acrs: ['c1'] }), /preset entra_c2/);
  t.match(
    hintFor('acr_mismatch', 'custom', { acr: 'goauthentik.io/providers/oauth2/default' }),
    /constant of Authentik/,
  );
  const hostile = hintFor('amr_not_mfa', 'generic', { amr: ['<script>', { a: 1 }], acr: '<b>' });
  t.notMatch(hostile, /[<>]/, 'and never echoed');
});
