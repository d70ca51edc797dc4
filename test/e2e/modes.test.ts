import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;
const hourMs = 3_600_000;

/** The machine's clock, moved. The test OP's tokens move along. */
class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

const tomorrow = new Date(Date.now() + 24 * hourMs).toISOString();
const yesterday = new Date(Date.now() - 24 * hourMs).toISOString();
const named = { groups: ['security'], emails: ['chief@example.com'] };

const policies: Record<string, Json> = {
  enforce: { mode: 'enforce' },
  'report-only': { mode: 'report_only' },
  'report-until-tomorrow': { mode: 'report_only', report_only_until: tomorrow },
  'report-until-yesterday': { mode: 'report_only', report_only_until: yesterday },
  'enforce-for': { mode: 'report_only', enforce_for: named },
  'carry-over': { mode: 'carry_over' },
  'trust-idp': { mode: 'trust_idp' },
};

const dev: Json = { email: 'dev@example.com', email_verified: true, groups: ['dev'] };
const people: Record<string, Json> = {
  dev,
  member: { ...dev, groups: ['dev', 'security'] },
  chief: { ...dev, email: 'Chief@Example.com' },
  unverified: { ...dev, email_verified: false },
  groupless: { email: 'dev@example.com', email_verified: true },
};

const in2 = { aal: 'aal2', status: 'verified' };
const refused = undefined;
const wouldReject = { aal: 'aal1', status: 'would_reject' };

/** policy, user, what a sign-in with a password alone comes to. With MFA, every one comes to a session at AAL2. */
const table: readonly (readonly [string, string, { aal: string; status: string } | undefined])[] = [
  ['enforce', 'dev', refused],
  ['report-only', 'dev', wouldReject],
  ['report-until-tomorrow', 'dev', wouldReject],
  ['report-until-yesterday', 'dev', refused],
  ['enforce-for', 'dev', wouldReject],
  ['enforce-for', 'member', refused],
  ['enforce-for', 'chief', refused],
  ['enforce-for', 'unverified', refused],
  ['enforce-for', 'groupless', refused],
  ['carry-over', 'dev', { aal: 'aal1', status: 'none' }],
  ['trust-idp', 'dev', { aal: 'aal1', status: 'attested' }],
];

t.test('mode and verdict', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const clock = new MovableClock();
  const ids = Object.keys(policies);
  const op = await startOp({ clients: [clientOf(origin, ...ids)] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: ids.map((id) => ({
      id,
      issuer: op.issuer,
      scopes: ['openid', 'profile', 'email'],
      mfa: policies[id],
    })),
    config: { session: { idle_timeout: '48h', absolute_timeout: '72h' } },
    app: { clock },
  });
  t.teardown(async () => {
    await sallyport.close();
    await op.stop();
    await upstream.close();
  });

  async function signIn(source: string, user: string, amr: readonly string[]) {
    op.nextLogin = { sub: `sub-${user}`, amr, claims: { name: user, preferred_username: user } };
    op.tamperIdToken = ({ claims }) => ({
      claims: {
        ...claims,
        ...people[user],
        iat: Number(claims['iat']) + clock.offsetMs / 1000,
        exp: Number(claims['exp']) + clock.offsetMs / 1000,
      },
    });
    upstream.seen.length = 0;
    const browser = new UserAgent();
    const { last } = await browser.follow(`${origin}/_sallyport/signin?source=${source}&return_to=/hello`);
    const response = await browser.request('GET', `${origin}/_sallyport/whoami`);
    const whoami = response.status === 200 ? (response.json() as Json) : undefined;
    return { browser, last, whoami, audit: sallyport.audit.lines().at(-1) ?? {} };
  }

  async function verdicts(): Promise<string> {
    return (await fetch(`http://${sallyport.operations}/metrics`)).text();
  }

  for (const [policy, user, expected] of table) {
    t.test(`${policy}: MFA lets ${user} in at AAL2`, async (t) => {
      const { last, whoami, audit } = await signIn(policy, user, ['pwd', 'mfa']);
      t.equal(last.status, 200);
      t.match(whoami, {
        authenticator_assurance_level: in2.aal,
        mfa: { status: in2.status, evidence: { claim: 'amr', value: 'mfa' }, weak: false },
        authentication_methods: [{ aal: 'aal2', upstream_amr: ['pwd', 'mfa'] }],
      });
      t.match(audit, { action: 'signin.succeeded', auth_source: policy });
    });

    const title = expected === undefined ? 'refuses' : `lets in as ${expected.status}`;
    t.test(`${policy}: a password alone of ${user}: ${title}`, async (t) => {
      const { last, whoami, browser } = await signIn(policy, user, ['pwd']);
      const actions = sallyport.audit.lines().slice(-2);
      if (expected === undefined) {
        t.equal(last.status, 403);
        t.match(last.body, /MFA was not asserted/);
        t.equal(whoami, undefined, 'no session');
        t.equal(browser.cookie(origin, 'sallyport'), undefined);
        t.strictSame(upstream.seen, []);
        t.match(actions.at(-1), {
          action: 'tenant.auth_policy.oidc_mfa.rejected',
          reason: 'amr_not_mfa',
          observed: { amr: ['pwd'] },
        });
        t.match(
          await verdicts(),
          new RegExp(
            `mfa_verdicts_total\\{auth_source="${policy}",aal="aal1",outcome="rejected",reason="amr_not_mfa"[^}]*\\} [1-9]`,
          ),
        );
        return;
      }
      t.equal(last.status, 200);
      t.match(whoami, {
        authenticator_assurance_level: expected.aal,
        mfa: { status: expected.status, weak: false },
        authentication_methods: [{ aal: 'aal1', upstream_amr: ['pwd'] }],
      });
      const found = actions.map(({ action }) => action);
      t.ok(found.includes('signin.succeeded'));
      t.equal(
        found.includes('tenant.auth_policy.oidc_mfa.would_reject'),
        expected.status === 'would_reject',
        'audited as such exactly under report_only',
      );
      t.match(
        await verdicts(),
        new RegExp(
          `mfa_verdicts_total\\{auth_source="${policy}",aal="aal1",outcome="${expected.status}",reason="amr_not_mfa"[^}]*\\} [1-9]`,
        ),
      );
    });
  }

  t.test('trust_idp says at every start that it is to be retired', async (t) => {
    t.match(sallyport.log.text, /trust_idp/);
  });

  t.test(
    'report_only_until ends running sessions that lack MFA when the date comes, and only those',
    async (t) => {
      const weak = await signIn('report-until-tomorrow', 'dev', ['pwd']);
      const strong = await signIn('report-until-tomorrow', 'dev', ['pwd', 'mfa']);
      const forever = await signIn('report-only', 'dev', ['pwd']);
      clock.offsetMs = 25 * hourMs;
      t.teardown(() => (clock.offsetMs = 0));
      const api = await weak.browser.request('GET', `${origin}/hello`);
      t.equal(api.status, 401, 'anything that is no navigation is told');
      const page = await weak.browser.request('GET', `${origin}/hello`, { navigate: true });
      t.equal(page.status, 302, 'a navigation is sent to sign in again');
      t.match(page.location, /\/_sallyport\/signin\?/);
      t.equal((await strong.browser.request('GET', `${origin}/hello`)).status, 200);
      t.equal((await forever.browser.request('GET', `${origin}/hello`)).status, 200);
      t.equal(
        (await signIn('report-until-tomorrow', 'dev', ['pwd'])).last.status,
        403,
        'and is enforced for new ones',
      );
    },
  );
});
