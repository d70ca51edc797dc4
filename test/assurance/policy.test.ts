import t from 'tap';
import { unsupportedIssuer } from '../../src/assurance/issuers.ts';
import { claimsToRequest } from '../../src/assurance/policy.ts';
import type { MfaSettings } from '../../src/assurance/policy.ts';
import { presets } from '../../src/assurance/presets.ts';
import type { Mode } from '../../src/assurance/types.ts';
import { anyIssuer, policyOf, resolve } from './policies.ts';

const pape = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor';
const refeds = 'https://refeds.org/profile/mfa';
const ial = 'http://idmanagement.gov/ns/assurance/ial/1';
const aal = 'http://idmanagement.gov/ns/assurance/aal/2';
const essential = { essential: true };
const amrAndTime = { id_token: { amr: essential, auth_time: essential } };
const acrs = (value: string) => ({ id_token: { acrs: { ...essential, value } } });
const gold = { id_token: { acr: { ...essential, values: ['gold'] } } };

/** SPEC section 2, row by row: acr_values, requested_claims, aal2_acr_values, aal2_claims, aal2_amr_values, accept. */
type Row = readonly [readonly string[], object, readonly string[], object, unknown, string];
const table: Readonly<Record<string, Row>> = {
  entra_c2: [['c2'], acrs('c2'), ['c2'], { acrs: ['c2'] }, 'standard', 'any'],
  entra_c3: [['c3'], acrs('c3'), ['c3'], { acrs: ['c3'] }, 'standard', 'any'],
  okta_phr: [['phr'], {}, ['phr'], {}, 'standard', 'any'],
  okta_phrh: [['phrh'], {}, ['phrh'], {}, 'standard', 'any'],
  okta_2fa: [['urn:okta:loa:2fa:any'], {}, ['urn:okta:loa:2fa:any'], {}, 'strict', 'any'],
  google_mfa: [['urn:google:multi_factor'], amrAndTime, ['urn:google:multi_factor'], {}, 'standard', 'any'],
  auth0: [[pape], {}, [pape], {}, 'strict', 'any'],
  keycloak: [[], gold, ['gold'], {}, [], 'acr'],
  authentik: [[], {}, [], {}, 'strict', 'amr'],
  authelia: [[], {}, [], {}, 'strict', 'amr'],
  zitadel: [[], {}, [], {}, 'strict', 'amr'],
  ping: [['Multi_Factor'], {}, ['Multi_Factor'], {}, 'strict', 'any'],
  login_gov: [[ial, aal], {}, [], { aal: [aal] }, [], 'acr'],
  refeds_mfa: [[refeds], {}, [refeds], {}, [], 'acr'],
  generic: [[], {}, [], {}, 'standard', 'amr'],
  custom: [['mine', 'yours'], {}, ['mine', 'yours'], {}, 'standard', 'any'],
};
/** What the operator has to write, or may. */
const own: Readonly<Record<string, Partial<MfaSettings>>> = {
  keycloak: { aal2_acr_values: ['gold'] },
  ping: { acr_values: 'Multi_Factor' },
  custom: { acr_values: 'mine  yours' },
};

t.test('the presets are those of the specification', async (t) => {
  t.strictSame([...presets.keys()].sort(), Object.keys(table).sort());
});

for (const [preset, row] of Object.entries(table)) {
  t.test(`preset ${preset} fills every key that was not written`, async (t) => {
    const policy = policyOf({ preset, ...own[preset] });
    t.strictSame(
      [
        policy.acrValues,
        policy.requestedClaims,
        policy.aal2AcrValues,
        policy.aal2Claims,
        policy.aal2AmrValues,
        policy.accept,
      ],
      row,
    );
    t.match(policy, { mode: 'enforce', preset, maxAuthAgeSeconds: undefined, enforceFor: undefined });
  });

  t.test(`preset ${preset} outside enforce makes nothing essential, and accepts the same`, async (t) => {
    const enforced = policyOf({ preset, ...own[preset] });
    for (const mode of ['report_only', 'carry_over', 'trust_idp'] as const) {
      const policy = policyOf({ preset, mode, ...own[preset] });
      t.notMatch(JSON.stringify(policy.requestedClaims), '"essential":true');
      t.strictSame({ ...policy, mode: 'enforce', requestedClaims: {} }, { ...enforced, requestedClaims: {} });
      const relaxed = JSON.stringify(enforced.requestedClaims).replaceAll('true', 'false');
      t.equal(JSON.stringify(policy.requestedClaims), relaxed);
    }
  });

  t.test(
    `preset ${preset}: each key that is written replaces the preset's, and nothing else follows`,
    async (t) => {
      const written: readonly [Partial<MfaSettings>, object][] = [
        [{ aal2_acr_values: ['x'] }, { aal2AcrValues: ['x'] }],
        [{ aal2_amr_values: ['x'] }, { aal2AmrValues: ['x'] }],
        [{ aal2_amr_values: 'strict' }, { aal2AmrValues: 'strict' }],
        [{ aal2_claims: { x: ['y'] } }, { aal2Claims: { x: ['y'] } }],
        [{ accept: 'both' }, { accept: 'both' }],
        [{ max_auth_age: 900_000 }, { maxAuthAgeSeconds: 900 }],
        [{ requested_claims: { userinfo: { x: null } } }, { requestedClaims: { userinfo: { x: null } } }],
        [{ acr_values: [] }, { acrValues: [] }],
        [{ aal2_claims: {} }, { aal2Claims: {} }],
        [{ aal2_amr_values: [] }, { aal2AmrValues: [] }],
        [{ requested_claims: {} }, { requestedClaims: {} }],
      ];
      const mode: Mode = 'carry_over'; // so that an unset list is no fault
      const base = resolve({ preset, mode, ...own[preset] }).policy;
      for (const [key, effect] of written) {
        const follows =
          preset === 'keycloak' && key.aal2_acr_values !== undefined
            ? { requestedClaims: { id_token: { acr: { essential: false, values: ['x'] } } } }
            : preset === 'custom' && key.acr_values !== undefined
              ? { aal2AcrValues: [] }
              : preset === 'ping' && key.acr_values !== undefined
                ? { aal2AcrValues: [] }
                : {};
        const { policy } = resolve({ preset, mode, ...own[preset], ...key });
        t.strictSame(policy, { ...base, ...effect, ...follows }, JSON.stringify(key));
      }
    },
  );
}

t.test('acr_values may be a string or a list', async (t) => {
  t.strictSame(policyOf({ acr_values: ' a  b ' }).acrValues, ['a', 'b']);
  t.strictSame(policyOf({ acr_values: ['a', 'b'] }).acrValues, ['a', 'b']);
  t.strictSame(policyOf({ preset: 'okta_phr', acr_values: '' }).acrValues, []);
});

t.test(
  'okta_phr with other acr_values still accepts phr: nothing else follows from an override',
  async (t) => {
    t.strictSame(policyOf({ preset: 'okta_phr', acr_values: 'other' }).aal2AcrValues, ['phr']);
  },
);

const faulty: readonly [title: string, mfa: Partial<MfaSettings>, path: string, message: RegExp][] = [
  ['a preset that does not exist', { preset: 'entra' }, 'preset', /no preset is called "entra"/],
  ['a preset named like a member of every object', { preset: 'constructor' }, 'preset', /no preset/],
  ['keycloak without aal2_acr_values', { preset: 'keycloak' }, 'aal2_acr_values', /needs aal2_acr_values/],
  [
    'keycloak without them, reporting',
    { preset: 'keycloak', mode: 'report_only' },
    'aal2_acr_values',
    /needs/,
  ],
  ['ping without acr_values', { preset: 'ping' }, 'acr_values', /needs acr_values/],
  [
    'acr_values beside the essential acr of keycloak',
    { preset: 'keycloak', aal2_acr_values: ['gold'], acr_values: 'gold' },
    'acr_values',
    /drop the essential one/,
  ],
  [
    'an essential acr beside the acr_values of a preset',
    { preset: 'refeds_mfa', requested_claims: { id_token: { acr: { essential: true, value: refeds } } } },
    'requested_claims',
    /drop the essential one/,
  ],
  [
    'the same while reporting: it would bite on the day of enforcement',
    { mode: 'report_only', acr_values: 'x', requested_claims: { id_token: { acr: { essential: true } } } },
    'acr_values',
    /drop the essential one/,
  ],
  ['two acr values in one element', { acr_values: ['a b'] }, 'acr_values', /is not one acr value/],
  ['nothing to accept: amr', { aal2_amr_values: [] }, 'accept', /nothing to accept/],
  ['nothing to accept: acr', { accept: 'acr' }, 'accept', /nothing to accept/],
  ['nothing to accept: both, with one half', { accept: 'both' }, 'accept', /nothing to accept/],
  [
    'nothing to accept: any',
    { preset: 'custom', aal2_amr_values: [], aal2_claims: {} },
    'accept',
    /nothing to accept/,
  ],
  ['only acr "0" to accept', { accept: 'acr', aal2_acr_values: ['0'] }, 'accept', /nothing to accept/],
  [
    'keycloak with its values unset',
    { preset: 'keycloak', aal2_acr_values: [] },
    'accept',
    /nothing to accept/,
  ],
  [
    'report_only_until under enforce',
    { report_only_until: '2027-01-31' },
    'report_only_until',
    /only beside/,
  ],
  [
    'enforce_for under carry_over',
    { mode: 'carry_over', enforce_for: { groups: ['a'], emails: [] } },
    'enforce_for',
    /only beside/,
  ],
];
for (const [title, mfa, path, message] of faulty) {
  t.test(`refused: ${title}`, async (t) => {
    const { faults } = resolve(mfa);
    t.equal(faults.length, 1, JSON.stringify(faults));
    t.strictSame(faults[0]?.path, [path]);
    t.match(faults[0]?.message, message);
    t.match(faults[0]?.cure, /\S/);
  });
}

t.test('several faults are told together', async (t) => {
  const { faults } = resolve({
    preset: 'ping',
    accept: 'acr',
    report_only_until: 'soon',
    requested_claims: { id_token: { acr: { essential: true } } },
  });
  t.strictSame(faults.map(({ path }) => path[0]).sort(), [
    'acr_values',
    'report_only_until',
    'report_only_until',
  ]);
});

t.test('report_only_until is a day or a moment with its zone', async (t) => {
  const good: readonly [string, number][] = [
    ['2027-01-31', Date.UTC(2027, 0, 31)],
    ['2028-02-29', Date.UTC(2028, 1, 29)],
    ['2027-01-31T08:00Z', Date.UTC(2027, 0, 31, 8)],
    ['2027-01-31T08:00:30.5Z', Date.UTC(2027, 0, 31, 8, 0, 30, 500)],
    ['2027-01-31T08:00:00+01:00', Date.UTC(2027, 0, 31, 7)],
  ];
  for (const [text, moment] of good) {
    t.equal(policyOf({ mode: 'report_only', report_only_until: text }).reportOnlyUntilMs, moment, text);
  }
  const bad = [
    'soon',
    '',
    '2027-02-29',
    '2027-02-30',
    '2027-13-01',
    '2027-00-01',
    '2027-1-31',
    '31.01.2027',
    '2027-01-31T08:00:00',
    '2027-01-31 08:00Z',
    '2027-01-31T25:00:00Z',
    '1800000000',
    ' 2027-01-31',
  ];
  for (const text of bad) {
    const { faults, policy } = resolve({ mode: 'report_only', report_only_until: text });
    t.match(faults, [{ path: ['report_only_until'], message: /is not a date/ }], text);
    t.equal(policy.reportOnlyUntilMs, 0, 'and until it is mended, the rule holds');
  }
});

const nonEmitters: Readonly<Record<string, readonly string[]>> = {
  Apple: ['https://appleid.apple.com', 'https://account.apple.com'],
  GitHub: [
    'https://github.com',
    'https://github.com/login/oauth',
    'https://token.actions.githubusercontent.com',
  ],
  'GitLab.com': ['https://gitlab.com', 'https://GitLab.com/', 'https://gitlab.com.'],
  'Amazon Cognito': [
    'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC',
    'https://a.auth.eu-west-1.amazoncognito.com',
  ],
  Facebook: ['https://www.facebook.com', 'https://facebook.com'],
  Discord: ['https://discord.com'],
  Slack: ['https://slack.com'],
  Spotify: ['https://accounts.spotify.com'],
  Amazon: ['https://www.amazon.com'],
  LinkedIn: ['https://www.linkedin.com/oauth', 'https://www.linkedin.com'],
  Yandex: ['https://login.yandex.ru', 'https://oauth.yandex.com'],
  VK: ['https://id.vk.com', 'https://id.vk.ru'],
  NetID: ['https://broker.netid.de/'],
  DingTalk: ['https://login.dingtalk.com'],
  Patreon: ['https://www.patreon.com'],
};
t.test('vendors that never emit evidence are refused under enforce, with vendor and cure', async (t) => {
  for (const [vendor, issuers] of Object.entries(nonEmitters)) {
    for (const issuer of issuers) {
      const { faults } = resolve({}, issuer);
      t.match(faults, [{ path: ['mode'], cure: /allow_unsupported_issuer/ }], issuer);
      t.match(faults[0]?.message, vendor, issuer);
      t.strictSame(resolve({ allow_unsupported_issuer: true }, issuer).faults, [], `${issuer}, allowed`);
      for (const mode of ['report_only', 'carry_over', 'trust_idp'] as const) {
        const { faults: none, warnings } = resolve({ mode }, issuer);
        t.strictSame(none, [], `${issuer} under ${mode}`);
        t.ok(
          warnings.some(({ code }) => code === 'vendor_never_emits'),
          'but warned about',
        );
      }
    }
  }
});

t.test('an issuer that only resembles a non-emitter is no non-emitter', async (t) => {
  for (const issuer of [
    'https://notgithub.com',
    'https://github.com.example.org',
    'https://gitlab.example.com',
    'https://appleid.apple.com.evil.example',
    'https://sso.example.com/gitlab.com',
    'https://cognito-idp.example.com',
    'https://s3.amazonaws.com',
    'https://auth.yandex.cloud',
    anyIssuer,
    'not a url',
    '',
  ]) {
    t.equal(unsupportedIssuer(issuer, policyOf()), undefined, issuer);
  }
});

t.test('Google is refused only where nothing but amr counts and amr is not asked for', async (t) => {
  for (const issuer of ['https://accounts.google.com', 'accounts.google.com']) {
    t.match(resolve({ preset: 'generic' }, issuer).faults, [{ path: ['mode'], cure: /google_mfa/ }]);
    t.match(resolve({ preset: 'custom' }, issuer).faults, [{ path: ['mode'] }]);
    t.strictSame(resolve({ preset: 'google_mfa' }, issuer).faults, []);
    const asked = { requested_claims: { id_token: { amr: null } } };
    t.strictSame(resolve({ preset: 'generic', ...asked }, issuer).faults, []);
    t.strictSame(resolve({ preset: 'generic', allow_unsupported_issuer: true }, issuer).faults, []);
  }
});

const warned: readonly [title: string, code: string, mfa: Partial<MfaSettings>, issuer?: string][] = [
  ['trust_idp is to be retired', 'trust_idp_retiring', { mode: 'trust_idp' }],
  ['standard can be met without two factors', 'amr_standard_weak', { preset: 'generic' }],
  ['a list can be met with one factor', 'amr_list_weak', { aal2_amr_values: ['otp'] }],
  ['a combination of one kind', 'amr_list_weak', { aal2_amr_values: [['pwd', 'kba']] }],
  ['an Entra context that no policy targets', 'acrs_unprotected', { preset: 'entra_c2' }],
  ['phishing-resistant is not two factors', 'acr_without_mfa', { preset: 'okta_phr' }],
  ['the ordinary acr of Keycloak', 'acr_without_mfa', { preset: 'keycloak', aal2_acr_values: ['1'] }],
  [
    'one factor if that is all there is',
    'acr_without_mfa',
    { preset: 'okta_2fa', aal2_acr_values: ['urn:okta:loa:2fa:any:ifpossible'] },
  ],
  ['an acr asked for and not accepted', 'asked_not_accepted', { preset: 'okta_2fa', acr_values: 'phr' }],
  [
    'an acr asked for where only amr counts',
    'asked_not_accepted',
    { acr_values: 'x', aal2_acr_values: ['x'] },
  ],
  [
    'a claim asked for with another value',
    'asked_not_accepted',
    { preset: 'entra_c2', aal2_claims: { acrs: ['c3'] } },
  ],
  [
    'amr on Entra v2',
    'vendor_never_emits',
    { preset: 'generic' },
    'https://login.microsoftonline.com/t/v2.0',
  ],
  [
    'acr on Entra v2',
    'vendor_never_emits',
    { preset: 'entra_c2', aal2_claims: {} },
    'https://login.microsoftonline.com/t/v2.0',
  ],
  ['acr of Google', 'vendor_never_emits', { preset: 'google_mfa' }, 'https://accounts.google.com'],
  ['acr of Authelia', 'vendor_never_emits', { preset: 'authelia', accept: 'both', aal2_acr_values: ['x'] }],
  [
    'amr of Keycloak',
    'vendor_seldom_emits',
    { preset: 'keycloak', aal2_acr_values: ['x'], aal2_amr_values: 'strict', accept: 'any' },
  ],
  ['nothing to accept while reporting', 'nothing_to_accept', { mode: 'report_only', aal2_amr_values: [] }],
];
for (const [title, code, mfa, issuer] of warned) {
  t.test(`warned about: ${title}`, async (t) => {
    const { faults, warnings } = resolve(mfa, issuer);
    t.strictSame(faults, []);
    const found = warnings.find((warning) => warning.code === code);
    t.match(found, { message: /\S/, cure: /\S/ }, JSON.stringify(warnings));
  });
}

t.test('a policy that is as strict as can be has nothing to be warned about', async (t) => {
  for (const mfa of [
    { preset: 'authelia' },
    { preset: 'zitadel' },
    { preset: 'okta_2fa' },
    { preset: 'auth0' },
    { preset: 'refeds_mfa' },
    { preset: 'login_gov' },
    { preset: 'keycloak', aal2_acr_values: ['gold'] },
    { preset: 'ping', acr_values: 'Multi_Factor' },
    { preset: 'generic', aal2_amr_values: 'strict' as const },
  ]) {
    t.strictSame(resolve(mfa).warnings, [], JSON.stringify(mfa));
  }
});

t.test('from the day on which a rehearsal ends, essential is asked for as written', async (t) => {
  const rehearsal = { preset: 'entra_c2', mode: 'report_only' } as const;
  const { policy } = resolve({ ...rehearsal, report_only_until: '2027-01-31' });
  const day = Date.parse('2027-01-31');
  const relaxed = { id_token: { acrs: { essential: false, value: 'c2' } } };
  t.strictSame(claimsToRequest(policy, day - 1), relaxed);
  t.strictSame(claimsToRequest(policy, day), acrs('c2'));
  t.strictSame(claimsToRequest(resolve(rehearsal).policy, day), relaxed, 'no date, no end');
  t.strictSame(claimsToRequest(resolve({ preset: 'entra_c2' }).policy, 0), acrs('c2'), 'enforce');
});
