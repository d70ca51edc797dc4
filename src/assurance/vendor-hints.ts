import type { AssuranceReason } from './types.ts';

/** What an operator should look at, vendor by vendor: for every reason, and for some of them in particular. */
export interface VendorHint {
  readonly always: string;
  readonly byReason?: Partial<Record<AssuranceReason, string>>;
}

const entra: VendorHint = {
  always:
    'Entra: check in the portal under Conditional Access > Policies that the policy on this authentication context has the app of this source in scope (a policy that is not bound to it asks for nothing), and that its grant requires MFA. Contexts need P1 and are defined by your tenant: c2 and c3 mean what your policies make of them. On a Mac or without a registered factor, the user installs Microsoft Authenticator first.',
  byReason: {
    mfa_claims_absent:
      'v2.0 ID tokens carry neither amr nor acr: the answer is the acrs claim, which comes when requested_claims asks for it. Was requested_claims overridden, or does the issuer belong to another tenant?',
    claim_mismatch:
      'acrs names other contexts than the one asked for: the preset and the context of your policy have to be the same.',
    amr_not_mfa:
      'amr is only in v1.0 tokens. There wia and wiaormfa can be a Windows sign-in without MFA, otp can be a code by email, and fed hides what a federated IdP did.',
    idp_refused: 'Conditional Access blocked the sign-in: the sign-in log in the portal names the policy.',
    auth_time_missing: 'Add the optional claim auth_time to the ID token in the app registration.',
  },
};

const okta: VendorHint = {
  always:
    'Okta: check the authentication policy of this OIDC application; "Any factor type allowed" lets a password alone through: require two factor types, and for phr or phrh a phishing-resistant one. Okta ignores acr_values that it does not know, and a strong acr comes only when it was asked for.',
  byReason: {
    acr_mismatch:
      'urn:okta:loa:1fa:any is one factor; urn:okta:loa:2fa:any:ifpossible is one factor too where the user has only one. phr is given for FIDO2/WebAuthn, phrh for Okta Verify.',
    idp_refused:
      'The user has no authenticator enrolled that satisfies the requested acr, or the policy forbids it.',
  },
};

const google: VendorHint = {
  always:
    'Google Workspace: check in the Admin console that 2-Step Verification is enforced for the organisational unit (enforcement "On"), not merely set up by some users.',
  byReason: {
    mfa_claims_absent:
      'Google sends amr and auth_time only to verified apps in production that enabled "Authentication strength claims" and "Session age claims" under Google Auth Platform > Settings, and only when requested_claims asks for them. It never sends acr.',
    amr_not_mfa:
      'amr describes the session of the user with Google, which may have begun long ago without the second step: sign in there afresh.',
  },
};

const auth0: VendorHint = {
  always:
    "Auth0: acr_values does nothing by itself; a post-login Action has to read event.transaction.acr_values and call api.multifactor.enable('any', { allowRememberBrowser: false }), unless the tenant always requires MFA.",
  byReason: {
    mfa_claims_absent:
      'Without MFA both claims are absent, and so they are after a silent sign-in, even when MFA was done before: try again with a fresh sign-in.',
  },
};

const keycloak: VendorHint = {
  always:
    'Keycloak: acr needs a browser flow with Level of Authentication conditions and an ACR-to-LoA mapping (realm or client) that names the value; the acr client scope has to be assigned.',
  byReason: {
    acr_mismatch:
      'acr 1 is a fresh sign-in and 0 one from an existing session where no step-up flow is set up, or a level that has expired: neither says MFA.',
    amr_not_mfa:
      'amr needs the mapper oidc-amr-mapper and a reference on every authenticator; the max age of a reference defaults to 0, which leaves the list empty.',
    idp_refused:
      'An essential acr that is unknown or cannot be reached ends on an error page of Keycloak: check the mapping.',
    auth_time_missing: 'From Keycloak 25 on auth_time comes with the client scope basic: assign it.',
  },
};

const authentik: VendorHint = {
  always:
    'Authentik: require MFA in the authentication flow (Authenticator Validation stage, not-configured action Deny or Configure). acr_values and claims are not read, acr is a constant.',
  byReason: {
    amr_not_mfa:
      'A device that is remembered by "last validation threshold" skips the stage, and a passkey at the identification stage gives only user: in both cases mfa is missing from amr.',
    mfa_claims_absent:
      'A scope mapping may have overwritten amr, or no login event was found for the session.',
  },
};

const authelia: VendorHint = {
  always:
    'Authelia: set authorization_policy: two_factor for this client; acr_values is ignored and acr never sent.',
  byReason: {
    amr_not_mfa:
      'A password alone carries pwd and kba; a passkey carries pop, hwk or swk, user and pin, and never mfa.',
  },
};

const zitadel: VendorHint = {
  always: 'Zitadel: force MFA in the login policy of the organisation; acr_values has no effect.',
  byReason: {
    amr_not_mfa: 'A sign-in through an external IdP adds no amr value: its second factor is not seen.',
  },
};

const ping: VendorHint = {
  always:
    'Ping: PingOne answers with the name of the sign-on policy (or the id of the flow policy), so acr_values has to name one that is assigned to this application and demands MFA. PingAM and PingFederate add acr and amr only when told to ("Force ACR in ID Token", authentication journeys, OpenID Connect policy contract).',
  byReason: {
    acr_mismatch:
      'Another policy was completed, or the default journey was taken and its default acr returned.',
  },
};

const loginGov: VendorHint = {
  always:
    'login.gov: acr tells identity proofing; the authentication level is aal, which echoes what was asked for: acr_values has to name an IAL and http://idmanagement.gov/ns/assurance/aal/2.',
  byReason: { auth_time_missing: 'auth_time is behind a flag of login.gov that defaults to off.' },
};

const refeds: VendorHint = {
  always:
    'REFEDS: the home organisation has to support the MFA profile and assert https://refeds.org/profile/mfa exactly; some products write /MFA, which is another value.',
};

const generic: VendorHint = {
  always:
    'Sign in once as a test user and look at what the IdP sends before changing the policy: not every IdP emits amr or acr, and some only when told to. Dex, GitLab and OneLogin show no MFA in their ID tokens, and Duo and JumpCloud document none; Ory Kratos sends password and totp or webauthn in amr, never mfa.',
};

/** By preset name. */
export const vendorHints: ReadonlyMap<string, VendorHint> = new Map([
  ['entra_c2', entra],
  ['entra_c3', entra],
  ['okta_phr', okta],
  ['okta_phrh', okta],
  ['okta_2fa', okta],
  ['google_mfa', google],
  ['auth0', auth0],
  ['keycloak', keycloak],
  ['authentik', authentik],
  ['authelia', authelia],
  ['zitadel', zitadel],
  ['ping', ping],
  ['login_gov', loginGov],
  ['refeds_mfa', refeds],
  ['generic', generic],
  ['custom', generic],
]);
