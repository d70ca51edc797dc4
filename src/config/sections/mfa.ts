import { z } from 'zod';
import { duration, text, texts } from '../values.ts';

const claimsRequest = z.record(text(), z.record(text(), z.union([z.null(), z.record(text(), z.unknown())])));

/** What counts as MFA of a source, and what follows where it is missing. */
export const mfa = z
  .strictObject({
    mode: z
      .enum(['enforce', 'report_only', 'carry_over', 'trust_idp'])
      .default('enforce')
      .meta({
        description:
          'What happens to a sign-in without MFA evidence: `enforce` refuses it; `report_only` lets it in and reports; `carry_over` only records; `trust_idp` takes the IdP at its word (to be retired).',
        examples: ['enforce', 'report_only'],
      }),
    report_only_until: text()
      .optional()
      .meta({
        description:
          'A date (`2027-01-31`, meaning its first moment in UTC, or an RFC 3339 time) from which report_only becomes enforce. Only beside `mode: report_only`.',
        examples: ['2027-01-31', '2027-01-31T08:00:00Z'],
      }),
    enforce_for: z
      .strictObject({
        groups: texts()
          .default([])
          .meta({ description: "Values of the source's `groups_claim`.", examples: [['forge-admins']] }),
        emails: texts()
          .default([])
          .meta({ description: 'Verified email addresses.', examples: [['admin@example.com']] }),
      })
      .optional()
      .meta({
        description:
          'Staged roll-out: enforce for these, report_only for the others. Who cannot be told apart (unverified email, groups absent) is enforced. Only beside `mode: report_only`.',
        examples: [{ groups: ['forge-admins'] }],
      }),
    preset: text()
      .default('generic')
      .meta({
        description:
          'What is asked for and accepted at a known vendor: entra_c2, entra_c3, okta_phr, okta_phrh, okta_2fa, google_mfa, auth0, keycloak, authentik, authelia, zitadel, ping, login_gov, refeds_mfa, generic, custom.',
        examples: ['entra_c2', 'generic'],
      }),
    acr_values: z
      .union([text(), z.array(text())])
      .optional()
      .meta({
        description:
          "Sent as `acr_values`; replaces the preset's. `[]` sends none. Not beside an essential `acr` in `requested_claims`: providers drop the essential one.",
        examples: [['urn:example:mfa'], 'urn:example:mfa'],
      }),
    requested_claims: claimsRequest.optional().meta({
      description:
        "The `claims` request parameter (OIDC Core 5.5); replaces the preset's. `{}` sends none. Outside enforce `essential` is sent as false.",
      examples: [{ id_token: { acrs: { essential: true, value: 'c1' } } }],
    }),
    aal2_acr_values: texts()
      .optional()
      .meta({
        description:
          "Values of `acr` that are evidence; compared exactly; replaces the preset's. `[]` accepts none.",
        examples: [['gold']],
      }),
    aal2_amr_values: z
      .union([z.enum(['standard', 'strict']), z.array(z.union([text(), texts().min(1)]))])
      .optional()
      .meta({
        description:
          'Values of `amr` that are evidence: `standard` (18 values, wide), `strict` (`mfa`, or two factor kinds), or a list whose elements are a value, or a list of values that must all be there. `[]` accepts none.',
        examples: ['strict', ['mfa', ['pwd', 'otp']]],
      }),
    aal2_claims: z
      .record(text(), texts())
      .optional()
      .meta({
        description: 'Other claims of the ID token that carry evidence, with the values that count.',
        examples: [{ acrs: ['c2'] }],
      }),
    accept: z
      .enum(['any', 'amr', 'acr', 'both'])
      .optional()
      .meta({
        description: 'Where the evidence may be: `any`; `amr`; `acr` (or `aal2_claims`); `both` amr and acr.',
        examples: ['any'],
      }),
    max_auth_age: duration()
      .optional()
      .meta({
        description:
          'How old the authentication at the IdP may be at sign-in. Sends `max_age`; requires and checks `auth_time`.',
        examples: ['12h'],
      }),
    allow_unsupported_issuer: z
      .boolean()
      .default(false)
      .meta({
        description: 'Start although this issuer is known never to emit MFA evidence.',
        examples: [false],
      }),
  })
  .prefault({})
  .meta({ description: 'What counts as MFA, and what happens without it.' });
