import t from 'tap';
import idpClaims from '../fixtures/idp-claims.json' with { type: 'json' };
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;

/** One row of SPEC section 2's table, with an IdP that answers as that vendor does. */
interface Row {
  readonly id: string;
  readonly mfa: Json;
  /** Exactly what the authorization request must carry; absent = must not be sent. */
  readonly acrValues?: string;
  readonly claims?: Json;
  readonly withMfa: Json;
  readonly evidence: Json;
  readonly withoutMfa: Json;
  readonly reason: string;
  readonly weak?: boolean;
}

/** The sample of a vendor in the reference data. */
function sample(id: string, which: 'id_token_with_mfa' | 'id_token_without_mfa'): Json {
  const vendor = idpClaims.find((entry) => entry.id === id);
  if (vendor === undefined) throw new Error(`no vendor ${id}`);
  return vendor[which];
}

const pape = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor';
const aal2Uri = 'http://idmanagement.gov/ns/assurance/aal/2';
const ial1Uri = 'http://idmanagement.gov/ns/assurance/ial/1';
const gold = { id_token: { acr: { essential: true, values: ['gold'] } } };

const rows: readonly Row[] = [
  ...(['c2', 'c3'] as const).map((context) => ({
    id: `entra_${context}`,
    mfa: { preset: `entra_${context}` },
    acrValues: context,
    claims: { id_token: { acrs: { essential: true, value: context } } },
    // The reference sample has context c1; the tenant chooses the number.
    withMfa: { acrs: [context] },
    evidence: { claim: 'acrs', value: context },
    withoutMfa: sample('entra-v2', 'id_token_without_mfa'),
    reason: 'mfa_claims_absent',
  })),
  ...(['phr', 'phrh'] as const).map((acr) => ({
    id: `okta_${acr}`,
    mfa: { preset: `okta_${acr}` },
    acrValues: acr,
    withMfa: { acr, amr: ['pwd', 'pop', 'mfa'] },
    evidence: { claim: 'acr', value: acr },
    withoutMfa: sample('okta', 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  })),
  {
    id: 'okta_2fa',
    mfa: { preset: 'okta_2fa' },
    acrValues: 'urn:okta:loa:2fa:any',
    withMfa: sample('okta', 'id_token_with_mfa'),
    evidence: { claim: 'acr', value: 'urn:okta:loa:2fa:any' },
    withoutMfa: sample('okta', 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  },
  {
    id: 'google_mfa',
    mfa: { preset: 'google_mfa' },
    acrValues: 'urn:google:multi_factor',
    claims: { id_token: { amr: { essential: true }, auth_time: { essential: true } } },
    withMfa: sample('google', 'id_token_with_mfa'),
    evidence: { claim: 'amr', value: 'mfa' },
    withoutMfa: sample('google', 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  },
  {
    id: 'auth0',
    mfa: { preset: 'auth0' },
    acrValues: pape,
    withMfa: sample('auth0', 'id_token_with_mfa'),
    evidence: { claim: 'acr', value: pape },
    withoutMfa: sample('auth0', 'id_token_without_mfa'),
    reason: 'mfa_claims_absent',
  },
  {
    id: 'keycloak',
    mfa: { preset: 'keycloak', aal2_acr_values: ['gold'] },
    claims: gold,
    withMfa: sample('keycloak', 'id_token_with_mfa'),
    evidence: { claim: 'acr', value: 'gold' },
    withoutMfa: sample('keycloak', 'id_token_without_mfa'),
    reason: 'acr_mismatch',
  },
  ...(['authentik', 'authelia', 'zitadel'] as const).map((vendor) => ({
    id: vendor,
    mfa: { preset: vendor },
    withMfa: sample(vendor, 'id_token_with_mfa'),
    evidence: { claim: 'amr', value: 'mfa' },
    withoutMfa: sample(vendor, 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  })),
  {
    id: 'ping',
    mfa: { preset: 'ping', acr_values: 'Multi_Factor' },
    acrValues: 'Multi_Factor',
    withMfa: sample('pingone', 'id_token_with_mfa'),
    evidence: { claim: 'acr', value: 'Multi_Factor' },
    withoutMfa: sample('pingone', 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  },
  {
    id: 'login_gov',
    mfa: { preset: 'login_gov' },
    acrValues: `${ial1Uri} ${aal2Uri}`,
    withMfa: sample('login-gov', 'id_token_with_mfa'),
    evidence: { claim: 'aal', value: aal2Uri },
    withoutMfa: sample('login-gov', 'id_token_without_mfa'),
    reason: 'claim_mismatch',
  },
  {
    id: 'refeds_mfa',
    mfa: { preset: 'refeds_mfa' },
    acrValues: 'https://refeds.org/profile/mfa',
    withMfa: { acr: 'https://refeds.org/profile/mfa' },
    evidence: { claim: 'acr', value: 'https://refeds.org/profile/mfa' },
    withoutMfa: { acr: 'https://refeds.org/profile/MFA' },
    reason: 'acr_mismatch',
  },
  {
    id: 'generic',
    mfa: { preset: 'generic' },
    withMfa: { amr: ['kba'] },
    evidence: { claim: 'amr', value: 'kba' },
    withoutMfa: { amr: ['pwd'] },
    reason: 'amr_not_mfa',
    weak: true,
  },
  {
    id: 'custom',
    mfa: { preset: 'custom', acr_values: 'urn:example:mfa', aal2_claims: { level: ['high'] } },
    acrValues: 'urn:example:mfa',
    withMfa: { level: ['low', 'high'] },
    evidence: { claim: 'level', value: 'high' },
    withoutMfa: { level: ['low'] },
    reason: 'claim_mismatch',
  },
  {
    id: 'ory-kratos',
    mfa: {
      preset: 'custom',
      accept: 'amr',
      aal2_amr_values: [
        ['password', 'totp'],
        ['password', 'webauthn'],
      ],
    },
    withMfa: sample('ory-kratos', 'id_token_with_mfa'),
    evidence: { claim: 'amr', value: ['password', 'totp'] },
    withoutMfa: sample('ory-kratos', 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  },
  {
    id: 'entra-v1',
    mfa: { preset: 'generic', aal2_amr_values: 'strict' },
    withMfa: sample('entra-v1', 'id_token_with_mfa'),
    evidence: { claim: 'amr', value: 'mfa' },
    withoutMfa: sample('entra-v1', 'id_token_without_mfa'),
    reason: 'amr_not_mfa',
  },
  {
    id: 'node-oidc-provider',
    mfa: { preset: 'keycloak', aal2_acr_values: ['urn:example:mfa'] },
    claims: { id_token: { acr: { essential: true, values: ['urn:example:mfa'] } } },
    withMfa: sample('node-oidc-provider', 'id_token_with_mfa'),
    evidence: { claim: 'acr', value: 'urn:example:mfa' },
    withoutMfa: sample('node-oidc-provider', 'id_token_without_mfa'),
    reason: 'acr_mismatch',
  },
];

/** The vendor's claims as a login of the test OP, which lets acr and amr be exactly what they are told to be. */
function loginOf(claims: Json) {
  const { acr, amr, ...others } = claims;
  // The samples' auth_time is of another year; the OP sends its own.
  delete others['auth_time'];
  return { acr, amr, others };
}

t.test('every preset, with an IdP that answers as its vendor does', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const op = await startOp({ clients: [clientOf(origin, ...rows.map(({ id }) => id.replaceAll('_', '-')))] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: rows.map(({ id, mfa }) => ({ id: id.replaceAll('_', '-'), issuer: op.issuer, mfa })),
  });
  t.teardown(async () => {
    await sallyport.close();
    await op.stop();
    await upstream.close();
  });

  async function signIn(row: Row, claims: Json) {
    const { acr, amr, others } = loginOf(claims);
    op.nextLogin = {
      sub: 'alice',
      acr,
      amr,
      claims: {
        email: 'alice@example.com',
        email_verified: true,
        name: 'Alice',
        preferred_username: 'alice',
      },
    };
    op.tamperIdToken = ({ claims: standard }) => ({ claims: { ...standard, ...others } });
    op.requests.length = 0;
    upstream.seen.length = 0;
    const browser = new UserAgent();
    const source = row.id.replaceAll('_', '-');
    const { last } = await browser.follow(`${origin}/_sallyport/signin?source=${source}&return_to=/hello`);
    return { browser, last, source };
  }

  for (const row of rows) {
    t.test(`${row.id}: asks for exactly what the table says`, async (t) => {
      await signIn(row, row.withMfa);
      const request = op.requests.find(({ endpoint }) => endpoint === 'par');
      t.ok(request, 'pushed, since the OP offers PAR');
      const params = request?.params ?? {};
      t.equal(params['acr_values'], row.acrValues);
      t.strictSame(params['claims'] === undefined ? undefined : JSON.parse(params['claims']), row.claims);
      t.match(params, {
        response_type: 'code',
        scope: 'openid profile email',
        code_challenge_method: 'S256',
        code_challenge: /^[\w-]{43}$/,
        state: /^[\w-]{43}$/,
        nonce: /^[\w-]{43}$/,
        redirect_uri: `${origin}/_sallyport/callback/${row.id.replaceAll('_', '-')}`,
      });
      t.equal(params['max_age'], undefined);
      t.equal(params['prompt'], undefined);
    });

    t.test(`${row.id}: lets a sign-in with MFA in, with the evidence on record`, async (t) => {
      const { browser, last, source } = await signIn(row, row.withMfa);
      t.equal(last.status, 200);
      t.equal(upstream.seen.at(-1)?.url, '/hello');
      t.equal(upstream.seen.at(-1)?.headers['x-forwarded-preferred-username'], 'alice');
      const whoami = (await browser.request('GET', `${origin}/_sallyport/whoami`)).json() as Json;
      t.equal(whoami['authenticator_assurance_level'], 'aal2');
      t.strictSame(whoami['mfa'], { status: 'verified', evidence: row.evidence, weak: row.weak ?? false });
      t.match(sallyport.audit.lines().at(-1), { action: 'signin.succeeded', auth_source: source });
    });

    t.test(`${row.id}: refuses a sign-in without MFA, and says why`, async (t) => {
      const { browser, last, source } = await signIn(row, row.withoutMfa);
      t.equal(last.status, 403);
      t.match(last.body, /MFA was not asserted/);
      t.strictSame(upstream.seen, [], 'nothing reached the upstream');
      t.equal(browser.cookie(origin, 'sallyport'), undefined, 'no session cookie');
      t.equal((await browser.request('GET', `${origin}/_sallyport/whoami`)).status, 401);
      const line = sallyport.audit.lines().at(-1);
      t.match(line, {
        action: 'tenant.auth_policy.oidc_mfa.rejected',
        auth_source: source,
        reason: row.reason,
        log_row: 'oauth_signin_mfa_rejected',
        user: { email: 'alice@example.com' },
      });
      const observed = (line?.['observed'] ?? {}) as Json;
      t.strictSame(observed['amr'], row.withoutMfa['amr'], 'amr exactly as received');
      t.strictSame(observed['acr'], row.withoutMfa['acr'], 'acr exactly as received');
    });
  }
});
