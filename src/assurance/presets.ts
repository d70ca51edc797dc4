import type { Accept, AmrRule, RequestedClaims } from './types.ts';

/** What a preset fills in where the operator wrote nothing (SPEC section 2, table); an empty cell is an empty list or object. */
export interface Preset {
  readonly acrValues: readonly string[];
  readonly requestedClaims: RequestedClaims;
  readonly aal2AcrValues: readonly string[];
  readonly aal2AmrValues: AmrRule;
  readonly aal2Claims: Readonly<Record<string, readonly string[]>>;
  readonly accept: Accept;
  /** The key that the operator has to write: only they know its value. */
  readonly required?: 'acr_values' | 'aal2_acr_values';
  /** `aal2_acr_values` follows from the operator's `acr_values` unless written. */
  readonly acceptsRequestedAcr?: true;
  /** The request asks for `aal2_acr_values` as an essential `acr`, unless `requested_claims` is written. */
  readonly asksEssentialAcr?: true;
}

const none = {
  acrValues: [],
  requestedClaims: {},
  aal2AcrValues: [],
  aal2AmrValues: [],
  aal2Claims: {},
} satisfies Partial<Preset>;

/** An Entra authentication context: v2 tokens answer in `acrs`, and only when asked through `claims`. */
function entraContext(id: string): Preset {
  return {
    acrValues: [id],
    requestedClaims: { id_token: { acrs: { essential: true, value: id } } },
    aal2AcrValues: [id],
    aal2AmrValues: 'standard',
    aal2Claims: { acrs: [id] },
    accept: 'any',
  };
}

/** An IdP that is asked for one `acr`, and answers with it. */
function acrOf(value: string, aal2AmrValues: AmrRule, accept: Accept): Preset {
  return { ...none, acrValues: [value], aal2AcrValues: [value], aal2AmrValues, accept };
}

const strictAmr: Preset = { ...none, aal2AmrValues: 'strict', accept: 'amr' };

/** Every preset by its name in the configuration. */
export const presets: ReadonlyMap<string, Preset> = new Map<string, Preset>([
  ['entra_c2', entraContext('c2')],
  ['entra_c3', entraContext('c3')],
  ['okta_phr', acrOf('phr', 'standard', 'any')],
  ['okta_phrh', acrOf('phrh', 'standard', 'any')],
  ['okta_2fa', acrOf('urn:okta:loa:2fa:any', 'strict', 'any')],
  [
    'google_mfa',
    {
      ...acrOf('urn:google:multi_factor', 'standard', 'any'),
      requestedClaims: { id_token: { amr: { essential: true }, auth_time: { essential: true } } },
    },
  ],
  ['auth0', acrOf('http://schemas.openid.net/pape/policies/2007/06/multi-factor', 'strict', 'any')],
  ['keycloak', { ...none, accept: 'acr', required: 'aal2_acr_values', asksEssentialAcr: true }],
  ['authentik', strictAmr],
  ['authelia', strictAmr],
  ['zitadel', strictAmr],
  [
    'ping',
    { ...none, aal2AmrValues: 'strict', accept: 'any', required: 'acr_values', acceptsRequestedAcr: true },
  ],
  [
    'login_gov',
    {
      ...none,
      acrValues: ['http://idmanagement.gov/ns/assurance/ial/1', 'http://idmanagement.gov/ns/assurance/aal/2'],
      aal2Claims: { aal: ['http://idmanagement.gov/ns/assurance/aal/2'] },
      accept: 'acr',
    },
  ],
  ['refeds_mfa', acrOf('https://refeds.org/profile/mfa', [], 'acr')],
  ['generic', { ...none, aal2AmrValues: 'standard', accept: 'amr' }],
  ['custom', { ...none, aal2AmrValues: 'standard', accept: 'any', acceptsRequestedAcr: true }],
]);
