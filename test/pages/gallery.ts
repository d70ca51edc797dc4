import { resolvePolicy } from '../../src/assurance/policy.ts';
import { describeReason, hintFor } from '../../src/assurance/reasons.ts';
import { parseConfig } from '../../src/config/load.ts';
import { describeReport } from '../../src/endpoints/canary.ts';
import { canaryPage, type CanaryView } from '../../src/pages/canary-page.ts';
import type { Branding } from '../../src/pages/layout.ts';
import { errorPage, signedOutPage, signOutPage } from '../../src/pages/plain-pages.ts';
import { chooserPage, continuePage, mfaPage } from '../../src/pages/sign-in-pages.ts';
import { statusPage, type StatusView } from '../../src/pages/status-page.ts';
import { stylesheetName } from '../../src/pages/stylesheet.ts';
import { textOfCode, texts } from '../../src/pages/texts.ts';
import { reportCanary, type CanaryAnswer } from '../../src/signin/canary.ts';

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
  reasonText: describeReason('amr_not_mfa'),
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

const source = readSource(`server: { public_url: 'https://forge.example.com' }
upstream: { url: 'http://127.0.0.1:3000', preset: forgejo }
session: { secrets: [0123456789abcdef0123456789abcdef] }
sources:
  - id: entra
    issuer: https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0
    client_id: forge
    client_secret: hush
    email_domains: [example.com]
    mfa: { preset: entra_c2, mode: report_only }
`);

function readSource(text: string) {
  const parsed = parseConfig(text, 'gallery.yaml', {});
  if (!parsed.ok) throw new Error(parsed.report);
  const { config } = parsed;
  const [first] = config.sources;
  return { config, source: { config: first!, policy: resolvePolicy(first!.mfa, first!).policy } };
}

const at = Date.UTC(2026, 10, 22, 9, 41);

/** A canary as the program itself judges it: what the pictures show is what follows from these claims. */
function canaryOf(answer: CanaryAnswer, notice?: string): CanaryView {
  const report = reportCanary(
    { clock: { nowMs: () => at } },
    { source: source.source, generation: { config: source.config } } as unknown as Parameters<
      typeof reportCanary
    >[1],
    answer,
  );
  return {
    sourceName: 'Example Entra',
    notice,
    ...describeReport(report),
    actions:
      notice === undefined
        ? [
            { label: texts.canary.again, href: '/_sallyport/canary/entra', primary: true },
            { label: texts.canary.status, href: '/_sallyport/status' },
          ]
        : [],
  };
}

function signInWith(claims: Readonly<Record<string, unknown>>): CanaryAnswer {
  const all = {
    ...claims,
    auth_time: at / 1000 - 60,
    aud: 'forge',
    exp: at / 1000 + 600,
    iat: at / 1000,
    iss: source.source.config.issuer,
    name: 'Alice Example',
    nonce: 'n',
    oid: 'o',
    preferred_username: 'alice@example.com',
    email: 'alice@example.com',
    sub: 's',
    tid: 't',
    ver: '2.0',
  };
  return {
    signIn: {
      claims: all,
      profile: all,
      idToken: '',
      accessToken: undefined,
      accessTokenExpiresAt: undefined,
      refreshToken: undefined,
    },
  };
}

const canary = canaryOf(signInWith({ acrs: ['c3'] }));
const passed = canaryOf(signInWith({ acrs: ['c2'], email_verified: true }), texts.canary.delivered);
const refused = canaryOf({
  refused: { error: 'access_denied', description: '<b>No</b> assignment for this application' },
});

const day = (index: number): string =>
  new Date(Date.UTC(2026, 10, 8 + index, 10)).toISOString().slice(0, 16).replace('T', ' ');

const status: StatusView = {
  generatedAt: '2026-11-22 09:41',
  notice: undefined,
  range: 'days',
  rangeHrefs: { days: '/_sallyport/status', hours: '/_sallyport/status?range=hours' },
  sources: [
    {
      id: 'entra',
      name: 'Example Entra',
      issuer: 'https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0',
      policy: 'preset entra_c2, mode report_only, enforced for groups forge-admins',
      required: canary.required,
      up: true,
      since: '2026-11-20 18:02',
      cause: undefined,
      canaryHref: '/_sallyport/canary/entra',
      ledger: {
        buckets: Array.from({ length: 14 }, (_, index) => {
          const weekend = index % 7 > 4;
          return {
            label: day(index),
            counts: {
              strict: weekend ? 3 : 34 + ((index * 7) % 11),
              weak: weekend ? 0 : (index * 5) % 7,
              unverified: index < 3 ? 4 : 0,
              would_reject: weekend ? 1 : Math.max(0, 14 - index),
              rejected: index > 9 ? 3 : 0,
              failed: index % 4 === 0 ? 1 : 0,
            },
          };
        }),
        reasons: [
          { reason: 'mfa_claims_absent', outcome: 'would_reject', count: 80 },
          { reason: 'claim_mismatch', outcome: 'would_reject', count: 9 },
          { reason: 'mfa_claims_absent', outcome: 'rejected', count: 12 },
        ],
        refusals: [
          {
            time: '2026-11-22 09:12',
            outcome: 'rejected',
            user: 'mallory@example.com',
            reason: 'mfa_claims_absent',
            observed: {},
            required: canary.required,
            hint: hintFor('mfa_claims_absent', 'entra_c2'),
            requestId: 'q0Q5mJk1SxI8oWfR-3k',
          },
          {
            time: '2026-11-22 08:55',
            outcome: 'would_reject',
            user: undefined,
            reason: 'claim_mismatch',
            observed: { acrs: ['c1', 'c3'], auth_time: 1_794_300_000 },
            required: canary.required,
            hint: hintFor('claim_mismatch', 'entra_c2'),
            requestId: 'q0Q5mJk1SxI8oWfR-2b',
          },
        ],
      },
    },
    {
      id: 'lab',
      name: 'Keycloak of the lab',
      issuer: 'https://keycloak.lab.example.com/realms/main',
      policy: 'preset keycloak, mode enforce',
      required: { accept: 'acr', aal2_acr_values: ['gold'] },
      up: false,
      since: '2026-11-22 09:30',
      cause: 'connection refused',
      canaryHref: '/_sallyport/canary/lab',
      ledger: {
        buckets: Array.from({ length: 14 }, (_, index) => ({
          label: day(index),
          counts: { strict: 0, weak: 0, unverified: 0, would_reject: 0, rejected: 0, failed: 0 },
        })),
        reasons: [],
        refusals: [],
      },
    },
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
  // A page that needs AAL2, asked for by a session that has it not, after the one step-up.
  mfaWithoutSetup: mfaPage(branding, {
    ...mfa,
    signedIn: true,
    setupUrl: undefined,
    reasonText: [describeReason('aal2_required'), describeReason('amr_not_mfa')].join(' '),
    details: [...mfa.details.slice(0, -1), { label: 'Reason', value: 'aal2_required: amr_not_mfa' }],
  }),
  // The IdP says itself that it could not: no token came.
  mfaRefusedByIdp: mfaPage(branding, {
    ...mfa,
    reasonText: describeReason('idp_refused'),
    idpSaid: 'unmet_authentication_requirements: a second factor is required',
    details: [
      ...details,
      { label: 'amr', value: 'not sent' },
      { label: 'acr', value: 'not sent' },
      { label: 'Reason', value: 'idp_refused' },
    ],
  }),
  signOut: signOutPage(branding, {
    userName: 'Alice Example',
    action: '/_sallyport/signout',
    csrf: 'x',
    stayHref: '/',
  }),
  signedOut: signedOutPage(branding, { signInHref: '/_sallyport/signin?return_to=%2F' }),
  canary: canaryPage(branding, canary),
  canaryPassed: canaryPage(branding, passed),
  canaryRefused: canaryPage(branding, refused),
  status: statusPage(branding, status),
  statusStoreDown: statusPage(branding, {
    ...status,
    notice:
      'The session store cannot be read right now, so the sign-ins and refusals kept there are missing below. What is shown of the sources comes from this process.',
    sources: status.sources.map((source) => ({ ...source, ledger: undefined })),
  }),
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
