import type { Branding } from '../../src/pages/layout.ts';
import { errorPage, signedOutPage, signOutPage } from '../../src/pages/plain-pages.ts';
import { chooserPage, continuePage, mfaPage } from '../../src/pages/sign-in-pages.ts';
import { stylesheetName } from '../../src/pages/stylesheet.ts';
import { textOfCode } from '../../src/pages/texts.ts';

export const branding: Branding = {
  productName: 'Example Forge',
  stylesheetUrl: `/_sallyport/assets/${stylesheetName}`,
  iconUrl: '/_sallyport/assets/mark-1.svg',
  logoUrl: undefined,
  supportUrl: 'https://help.example.com/',
};

/** Every refusal that a person may come to see, by status and code. */
export const refusals: readonly (readonly [number, string])[] = [
  [400, 'attempt_expired'],
  [400, 'attempt_cookie_missing'],
  [400, 'target_malformed'],
  [401, 'session_required'],
  [403, 'route_denied'],
  [403, 'username_invalid'],
  [404, 'not_found'],
  [405, 'method_not_allowed'],
  [421, 'host_unknown'],
  [429, 'rate_limited'],
  [431, 'headers_too_large'],
  [500, 'internal'],
  [502, 'upstream_unreachable'],
  [503, 'store_unavailable'],
  [504, 'upstream_timeout'],
];

const details = [
  { label: 'Time', value: '2026-11-21T10:00:00.000Z' },
  { label: 'Request ID', value: 'q0Q5mJk1SxI8oWfR-3k' },
  { label: 'Source', value: 'entra' },
];

const mfa = {
  sourceName: 'Example Entra',
  signedIn: false,
  reasonText: 'Your sign-in service says that you signed in without a second factor.',
  idpSaid: undefined,
  setupUrl: 'https://mysignins.microsoft.com/security-info',
  tryAgainUrl: '/_sallyport/signin?source=entra&fresh=1&return_to=%2F',
  otherAccountUrl: '/_sallyport/signin?source=entra&account=select&return_to=%2F',
  details: [
    ...details,
    { label: 'amr', value: '["pwd"]' },
    { label: 'acr', value: 'not sent' },
    { label: 'Reason', value: 'amr_not_mfa' },
  ],
};

/** Every page there is, by name. */
export const gallery: Readonly<Record<string, string>> = {
  chooser: chooserPage(branding, {
    choices: [
      { name: 'Example Entra', href: '/_sallyport/signin?source=entra', available: true },
      { name: 'Partners (Okta)', href: '/_sallyport/signin?source=okta', available: true },
      { name: 'Keycloak of the lab', href: '/_sallyport/signin?source=lab', available: false },
    ],
    email: { action: '/_sallyport/signin', hidden: { return_to: '/' }, unknown: undefined },
  }),
  chooserUnknownEmail: chooserPage(branding, {
    choices: [{ name: 'Example Entra', href: '/_sallyport/signin?source=entra', available: true }],
    email: { action: '/_sallyport/signin', hidden: { return_to: '/' }, unknown: 'someone@elsewhere.example' },
  }),
  continue: continuePage(branding, { name: 'Example Entra', href: '#' }),
  mfa: mfaPage(branding, mfa),
  mfaWithoutSetup: mfaPage(branding, {
    ...mfa,
    signedIn: true,
    setupUrl: undefined,
    idpSaid: 'unmet_authentication_requirements: a second factor is required',
  }),
  signOut: signOutPage(branding, {
    userName: 'Alice Example',
    action: '/_sallyport/signout',
    csrf: 'x',
    stayHref: '/',
  }),
  signedOut: signedOutPage(branding, { signInHref: '/_sallyport/signin?return_to=%2F' }),
  idpRefused: errorPage(branding, {
    ...textOfCode('idp_refused', 403),
    idpSaid: 'access_denied: <b>No</b> assignment for this application',
    actions: [
      { label: 'Try signing in again', href: '/_sallyport/signin', primary: true },
      { label: 'Sign in with another account', href: '/_sallyport/signin?account=select' },
    ],
    details,
  }),
  ...Object.fromEntries(
    refusals.map(([status, code]) => [
      `${status} ${code}`,
      errorPage(branding, {
        ...textOfCode(code, status),
        actions:
          status === 401
            ? [{ label: 'Sign in', href: '/_sallyport/signin', primary: true, newTab: true }]
            : [{ label: 'Go to the start page', href: '/' }],
        details: [...details, { label: 'Reason', value: code }],
      }),
    ]),
  ),
};
