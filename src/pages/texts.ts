/** Every sentence that a page says, in one place. */
export const texts = {
  support: 'Get help',
  /** Where the source is not known (any more). */
  anySource: 'your sign-in service',
  sourceDown: (name: string): string =>
    `${name} cannot be reached right now, so signing in is not possible. Those who are signed in already are not affected. Try again shortly.`,
  newTab: '(opens in a new tab)',
  detailsSummary: 'Details for support',
  chooser: {
    title: 'Sign in',
    intro: 'Choose where to sign in.',
    listLabel: 'Ways to sign in',
    unavailable: 'unavailable right now',
    emailLabel: 'Or enter your work email address',
    emailButton: 'Continue',
    emailUnknown: 'No sign-in is set up for that address. Check the spelling, or choose from the list.',
  },
  continue: { title: 'Signing in', link: (name: string): string => `Continue to ${name}` },
  mfa: {
    title: 'MFA was not asserted',
    lead: (name: string): string =>
      `You signed in at ${name}, but its answer did not confirm multi-factor authentication. This service needs that confirmation, so you were not let in.`,
    /** The IdP answered with an error: nobody signed in. */
    leadRefused: (name: string): string =>
      `${name} did not confirm multi-factor authentication. This service needs that confirmation, so you were not let in.`,
    leadSignedIn: (name: string): string =>
      `You are signed in through ${name}, but its answer did not confirm the multi-factor authentication that this page needs, or not recently enough.`,
    doTitle: 'What you can do',
    setup: 'Set up a second factor',
    setupHint: 'Add one to your account first, then try again.',
    setupHintNoLink:
      'Make sure that your account has a second factor, such as an authenticator app or a security key. Your administrator can tell you where to add one.',
    again: 'Try again',
    againHint: 'Signs you in afresh and asks for the second factor.',
    other: 'Sign in with another account',
    otherHint: 'If another account of yours has a second factor.',
    idpSaid: 'Your sign-in service said:',
  },
  signOut: {
    title: 'Sign out',
    question: (name: string): string => `You are signed in as ${name}.`,
    button: 'Sign out',
    stay: 'Stay signed in',
  },
  signedOut: {
    title: 'You are signed out',
    body: 'Your session here has ended. On a shared computer, also close the browser.',
    atIdp: (name: string): string => `${name} has signed you out as well.`,
    again: 'Sign in again',
  },
  canary: {
    title: (name: string): string => `Canary: ${name}`,
    lead: 'This sign-in was a test: it started no session and changed none.',
    delivered: 'Whoever made this link sees this result at their terminal as well.',
    linkOpen: 'This says nothing about MFA. The link is still good: open it again in a few moments.',
    linkUsed: 'This link had been used before, so nobody else sees this result.',
    proven: 'AAL2: the identity provider proved multi-factor authentication',
    provenWeak: 'AAL2, on weak evidence',
    unproven: 'AAL1: multi-factor authentication was not proven',
    undecided: {
      idp_refused: 'The identity provider refused the sign-in',
      idp_unavailable: 'The identity provider cannot be reached',
      token_invalid: 'The ID token could not be verified',
    } as Readonly<Record<string, string>>,
    verdictTitle: 'Verdict',
    outcome: 'What follows',
    reason: 'Reason',
    evidence: 'Evidence',
    policy: 'Policy',
    identity: 'Beside MFA, the account itself would be refused',
    sentTitle: 'What the identity provider sent',
    sentIntro: 'The claims that the policy looks at, exactly as received in the signed ID token.',
    others: 'Other claims that came (names only)',
    noOthers: 'none',
    stepsTitle: 'The decision, step by step',
    found: 'found',
    wanted: 'wanted',
    nothing: 'nothing',
    hintTitle: 'What to look at',
    suggestionTitle: 'A policy that would accept it',
    required: 'What the policy asks for',
    again: 'Run it again',
    status: 'Status of all sources',
  },
  status: {
    title: 'Status',
    generated: (time: string): string => `As of ${time}, all times in UTC.`,
    storeDown:
      'The session store cannot be read right now, so the sign-ins and refusals kept there are missing below. What is shown of the sources comes from this process.',
    memory:
      'Sessions and these numbers are kept in the memory of this process: others are not counted, and a restart begins anew.',
    rangeLabel: 'Time shown',
    ranges: { days: '14 days', hours: '48 hours' } as const,
    sourcesLabel: 'Sources',
    policy: 'Policy',
    accepts: 'Accepts',
    issuer: 'Issuer',
    idp: 'Identity provider',
    idpUp: (since: string): string => `up since ${since}`,
    idpDown: (since: string): string => `down since ${since}`,
    canary: 'Run the canary',
    verdictsTitle: 'Sign-ins by verdict',
    noSignIns: 'No sign-ins in this time.',
    chartLabel: (name: string, span: string, sums: string): string =>
      `Sign-ins through ${name} by verdict, ${span}: ${sums}. The table below has every number.`,
    most: (count: number, unit: string): string => `Highest: ${count} ${unit}`,
    perDay: 'in a day',
    perHour: 'in an hour',
    now: 'now',
    asTable: 'As a table',
    from: 'From',
    total: 'Total',
    reasonsTitle: 'Refused, or would have been, by reason',
    reason: 'Reason',
    outcome: 'Outcome',
    count: 'Count',
    refusalsTitle: (count: number): string => `Latest refusals (${count})`,
    noRefusals: 'None in 14 days.',
    nobody: 'unknown user',
    observed: 'Observed',
    required: 'Required',
    hint: 'Hint',
    user: 'User',
    requestId: 'Request ID',
    series: {
      strict: 'MFA verified',
      weak: 'Verified on weak evidence',
      would_reject: 'Let in, would be refused',
      unverified: 'Let in without verified MFA',
      rejected: 'Refused: MFA not asserted',
      failed: 'Failed otherwise',
    } as const,
    outcomes: { rejected: 'refused', would_reject: 'would be refused' } as const,
  },
  idpSaid: 'Your sign-in service said:',
  actions: {
    again: 'Try signing in again',
    signIn: 'Sign in',
    otherAccount: 'Sign in with another account',
    home: 'Go to the start page',
    reload: 'Try again',
  },
  labels: {
    time: 'Time',
    requestId: 'Request ID',
    source: 'Source',
    reason: 'Reason',
    status: 'Status',
    detail: 'Detail',
  },
} as const;

/** What a page says about a code: its heading and one sentence for the person in front of the screen. */
export interface CodeText {
  readonly title: string;
  readonly message: string;
  /** What a program is told instead, which has no form to send again. */
  readonly toProgram?: string;
}

const codeTexts: Readonly<Record<string, CodeText>> = {
  // The sign-in's own state
  state_malformed: {
    title: 'This sign-in link is not valid',
    message: 'The answer that came back does not belong to a sign-in that was started here. Start again.',
  },
  attempt_cookie_missing: {
    title: 'This sign-in was not started in this browser',
    message:
      'It was finished already, was started in another browser, or cookies are blocked. Allow cookies for this site and start again.',
  },
  attempt_unreadable: {
    title: 'This sign-in cannot be continued',
    message: 'What this browser remembered of the sign-in is damaged or was changed. Start again.',
  },
  attempt_expired: {
    title: 'This sign-in took too long',
    message: 'More than ten minutes passed since it was started. Start again.',
  },
  attempt_replayed: {
    title: 'This sign-in has already been used',
    message: 'Each sign-in counts once. If you are not signed in, start again.',
  },
  signed_out_meanwhile: {
    title: 'You were signed out meanwhile',
    message:
      'While this sign-in was under way, your sign-in service or an administrator ended it. Sign in again.',
  },
  attempt_of_another_source: {
    title: 'The answer came from the wrong place',
    message: 'The sign-in was started with another service than the one that answered. Start again.',
  },
  state_invalid: { title: 'This sign-in cannot be continued', message: 'Start again.' },
  // What the identity provider did
  idp_refused: {
    title: 'The sign-in was not completed',
    message: 'Your sign-in service did not complete the sign-in.',
  },
  idp_unavailable: {
    title: 'Your sign-in service cannot be reached',
    message:
      'Signing in is not possible at the moment. Those who are signed in already are not affected. Try again shortly.',
  },
  token_invalid: {
    title: "Your sign-in service's answer could not be verified",
    message:
      'For your safety the sign-in was stopped. Try again; if it happens again, tell your administrator.',
  },
  // Who may come in
  email_domain_not_allowed: {
    title: 'This account may not sign in here',
    message: 'Its email address does not belong to a domain that may sign in here. Use another account.',
  },
  email_unverified: {
    title: 'Your email address is not verified',
    message:
      'Your sign-in service did not confirm that your email address is yours. Verify it there, then try again.',
  },
  group_not_allowed: {
    title: 'This account has no access',
    message: 'It is in none of the groups that are allowed here. Ask your administrator for access.',
  },
  groups_unavailable: {
    title: 'Your groups could not be read',
    message:
      'Your sign-in service did not send the groups of this account, so access could not be decided. Tell your administrator.',
  },
  username_invalid: {
    title: 'No user name can be made from this account',
    message: 'Your sign-in service sent no name that can be used here. Tell your administrator.',
  },
  username_reserved: {
    title: 'This user name is reserved',
    message: 'The name of this account is kept for the system. Tell your administrator.',
  },
  username_conflict: {
    title: 'This user name belongs to someone else',
    message: 'Another account already has this name here. Tell your administrator.',
  },
  email_conflict: {
    title: 'This email address belongs to someone else',
    message: 'Another account already has this email address here. Tell your administrator.',
  },
  // The gate
  session_required: {
    title: 'You are signed out',
    message:
      'Sign in in a new tab, come back here, and send the form again: reload this page, or go back to the form. Nothing was saved yet.',
    toProgram: 'There is no session: sign in in a browser.',
  },
  session_not_sufficient: {
    title: 'Your sign-in is no longer enough',
    message:
      'Sign in again in a new tab, come back here, and send the form again: reload this page, or go back to the form. Nothing was saved yet.',
    toProgram: 'The sign-in of this session is no longer enough: sign in again in a browser.',
  },
  insufficient_user_authentication: {
    title: 'A fresh sign-in is needed',
    message:
      'Sign in again in a new tab, come back here, and send the form again: reload this page, or go back to the form. Nothing was saved yet.',
    toProgram: 'A fresh sign-in is needed: sign in again in a browser, as the challenge asks.',
  },
  bearer_token_invalid: {
    title: 'This access token is not accepted',
    message: 'The hint says why. Get another access token from the identity provider.',
  },
  source_not_allowed: {
    title: 'This account has no access',
    message: 'This page is for those who sign in in another way. Sign in with another account.',
  },
  email_not_allowed: {
    title: 'This account has no access',
    message: 'It is not among the accounts that are allowed here. Ask your administrator for access.',
  },
  route_denied: { title: 'This page is closed', message: 'It cannot be opened from here by anyone.' },
  access_not_supported: { title: 'This page is closed', message: 'It cannot be opened from here by anyone.' },
  operators_only: {
    title: 'This page is for operators',
    message:
      'It is for those who run this service. If you are one of them, sign in with the account that is.',
  },
  canary_off: {
    title: 'The canary is switched off',
    message: 'Whoever runs this service has switched it off.',
  },
  canary_link_invalid: {
    title: 'This link is no longer valid',
    message: 'It was used already, has expired, or is for another sign-in. Ask for a new one.',
  },
  origin_not_allowed: {
    title: 'This request came from another site',
    message: 'For your safety it was not carried out. Go to the page itself and try again there.',
  },
  password_refused: {
    title: 'Passwords are not accepted here',
    message:
      'Passwords are not accepted here, since a stolen one would pass without a second factor. Sign in with the browser, make a personal access token, and use that as the password.',
  },
  credential_malformed: {
    title: 'This is no access token',
    message:
      'What was sent for authorization is not a personal access token. Sign in with the browser, make one, and send it alone.',
  },
  cross_site_request: {
    title: 'This request came from another site',
    message: 'For your safety it was not carried out. Go to the page itself and try again there.',
  },
  csrf_invalid: {
    title: 'This form is no longer valid',
    message: 'Open the sign-out page again and confirm there.',
  },
  // The request itself
  request_malformed: { title: 'The request is not valid', message: 'The server could not make sense of it.' },
  target_malformed: {
    title: 'The address is not valid',
    message: 'It contains something that is not allowed here.',
  },
  source_unknown: {
    title: 'There is no such sign-in',
    message: 'The sign-in service named in this address is not set up here.',
  },
  not_found: { title: 'There is nothing here', message: 'This address does not exist. Check the spelling.' },
  method_not_allowed: {
    title: 'That cannot be done here',
    message: 'This address does not take that kind of request.',
  },
  host_unknown: {
    title: 'Wrong address',
    message: 'This service does not answer to the name that was asked for. Use its own address.',
  },
  host_missing: { title: 'The request is not valid', message: 'It does not say which service it is for.' },
  host_duplicated: { title: 'The request is not valid', message: 'It names more than one service.' },
  rate_limited: { title: 'Too many attempts', message: 'Wait a minute, then try again.' },
  // What broke
  store_unavailable: {
    title: 'Sessions cannot be checked right now',
    message: 'You are not signed out. Try again in a few seconds.',
  },
  internal: {
    title: 'Something went wrong here',
    message: 'It is not your fault. Try again; if it happens again, send the details below to support.',
  },
};

const statusTexts: Readonly<Record<number, CodeText>> = {
  400: { title: 'The request is not valid', message: 'The server could not make sense of it.' },
  401: { title: 'You are signed out', message: 'Sign in, then come back here.' },
  403: { title: 'You may not open this page', message: 'Access to it was refused.' },
  404: { title: 'There is nothing here', message: 'This address does not exist. Check the spelling.' },
  405: { title: 'That cannot be done here', message: 'This address does not take that kind of request.' },
  408: { title: 'The request took too long', message: 'Try again.' },
  413: { title: 'Too much was sent', message: 'The request is larger than this address takes.' },
  421: {
    title: 'Wrong address',
    message: 'This service does not answer to the name that was asked for. Use its own address.',
  },
  429: { title: 'Too many attempts', message: 'Wait a minute, then try again.' },
  431: {
    title: 'The request is too large',
    message: 'Its headers are larger than allowed. Clearing the cookies of this site may help.',
  },
  502: {
    title: 'The application cannot be reached',
    message: 'It did not answer properly. Try again in a few moments.',
  },
  503: { title: 'Not available right now', message: 'Try again in a few moments.' },
  504: {
    title: 'The application took too long',
    message: 'It did not answer in time. Try again in a few moments.',
  },
};

/** What to say about a reason code; a code without words of its own is described by its HTTP status. */
export function textOfCode(code: string, status: number): CodeText {
  const own = Object.hasOwn(codeTexts, code) ? codeTexts[code] : undefined;
  return (
    own ??
    statusTexts[status] ?? {
      title: 'Something went wrong here',
      message: 'It is not your fault. Try again in a few moments.',
    }
  );
}
