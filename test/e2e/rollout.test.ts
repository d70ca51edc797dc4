import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import t from 'tap';
import { parse } from 'yaml';
import { auditJsonSchema } from '../../src/audit/schema.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { openDesk, startReplica, type Replica } from '../reload/stage.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, loopbackOrigin, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;
const dayMs = 86_400_000;
const update = 'sso.auth-source.oidc-mfa-config.update';

/** Who is there, through which source they come, and what their IdP says of how. */
const people: Record<string, { source: string; amr?: readonly string[]; acr?: string; groups: string[] }> = {
  ada: { source: 'staff', amr: ['pwd', 'mfa'], groups: ['admins'] },
  sam: { source: 'staff', amr: ['pwd', 'otp', 'mfa'], groups: ['dev'] },
  uma: { source: 'staff', amr: ['pwd'], groups: ['dev'] },
  olaf: { source: 'staff', amr: ['pwd'], groups: ['admins'] },
  nils: { source: 'staff', groups: ['dev'] },
  pia: { source: 'partners', amr: ['pwd', 'otp', 'mfa'], acr: '1', groups: ['dev'] },
};

t.test('from "we trust the IdP" to "we verify it"', async (t) => {
  const origin = await loopbackOrigin();
  const upstream = await startEchoUpstream();
  const redis = await startRedis();
  const op = await startOp({ clients: [clientOf(origin, 'staff', 'partners')] });
  const desk = openDesk();
  let offsetMs = 0;
  const clock: Clock = { nowMs: () => Date.now() + offsetMs };

  /** The file of one step of the way. */
  const write = (ref: string, staff: Json, partners: Json): void =>
    desk.write({
      server: { listen: new URL(origin).host, public_url: origin, rate_limit: { sign_in: '10000/1m' } },
      operations: { listen: '127.0.0.1:0' },
      upstream: { url: upstream.url },
      session: { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'], redis: { url: redis.url } },
      sources: [
        { id: 'staff', issuer: op.issuer, ...testClient, mfa: staff },
        { id: 'partners', issuer: op.issuer, ...testClient, mfa: partners },
      ],
      operators: [{ source: 'staff', emails: ['ada@example.com'] }],
      change: { actor: `ci for ${ref}`, ref },
    });
  const rehearse = { preset: 'generic', mode: 'report_only' };
  const guess = { preset: 'keycloak', aal2_acr_values: ['gold'], mode: 'report_only' };
  write('day-0', rehearse, guess);
  let replica: Replica = await startReplica(desk.path, { clock });
  t.teardown(async () => {
    await replica.close();
    await op.stop();
    await redis.stop();
    await upstream.close();
    desk.clear();
  });

  function appear(name: string): void {
    const { amr, acr, groups } = people[name]!;
    const seconds = offsetMs / 1000;
    op.nextLogin = {
      sub: `sub-${name}`,
      amr,
      acr,
      claims: { preferred_username: name, email: `${name}@example.com`, email_verified: true, groups },
    };
    op.tamperIdToken = ({ claims }) => ({
      claims: {
        ...claims,
        iat: Number(claims['iat']) + seconds,
        exp: Number(claims['exp']) + seconds,
        ...op.nextLogin.claims,
      },
    });
  }
  async function signIn(name: string): Promise<{ browser: UserAgent; status: number; body: string }> {
    appear(name);
    const browser = new UserAgent();
    const { last } = await browser.follow(
      `${origin}/_sallyport/signin?source=${people[name]!.source}&return_to=/hello`,
    );
    return { browser, status: last.status, body: last.body };
  }
  const hello = async (browser: UserAgent) => (await browser.request('GET', `${origin}/hello`)).status;
  async function status(): Promise<Record<string, { verdicts: readonly Json[]; refusals: readonly Json[] }>> {
    const { browser } = await signIn('ada');
    const answer = await browser.request('GET', `${origin}/_sallyport/status?format=json`);
    t.equal(answer.status, 200, 'ada is an operator');
    const { sources } = answer.json() as { sources: readonly (Json & { id: string })[] };
    return Object.fromEntries(sources.map((source) => [source.id, source])) as never;
  }
  const sum = (rows: readonly Json[], outcome: string, reason: string): number =>
    rows
      .filter((row) => row['outcome'] === outcome && row['reason'] === reason)
      .reduce((all, row) => all + Number(row['count']), 0);
  /** Waits for the new file to be in force, which the audit trail tells. */
  const applied = (ref: string) =>
    until(() => replica.audited(update).some((line) => line['ref'] === ref), `${ref} is in force`);

  await applied('day-0');
  t.match(
    replica.audited(update).find((line) => line['auth_source'] === 'staff'),
    {
      previous: null,
      next: { mode: 'report_only', require_oidc_amr_mfa: false },
      actor: 'ci for day-0',
      ref: 'day-0',
    },
    'where it began',
  );

  await t.test('a week of report_only: everybody comes in', async (t) => {
    for (let day = 0; day < 7; day += 1) {
      offsetMs = day * dayMs;
      for (const name of Object.keys(people))
        t.equal((await signIn(name)).status, 200, `${name}, day ${day}`);
    }
  });

  await t.test('status and metrics say who would have been refused, by source and reason', async (t) => {
    const { staff, partners } = await until(async () => {
      const found = await status();
      return sum(found['partners']!.verdicts, 'would_reject', 'evidence_not_in_required_claim') === 7
        ? found
        : undefined;
    }, 'the last sign-in is counted');
    t.equal(sum(staff!.verdicts, 'would_reject', 'amr_not_mfa'), 14);
    t.equal(sum(staff!.verdicts, 'would_reject', 'mfa_claims_absent'), 7);
    t.equal(new Set(staff!.verdicts.map(({ hour }) => String(hour).slice(0, 10))).size, 7, 'on seven days');
    const named = (rows: readonly Json[]) =>
      [
        ...new Set(rows.map(({ user, reason }) => `${String((user as Json)['email'])} ${String(reason)}`)),
      ].sort();
    t.same(named(staff!.refusals), [
      'nils@example.com mfa_claims_absent',
      'olaf@example.com amr_not_mfa',
      'uma@example.com amr_not_mfa',
    ]);
    t.same(named(partners!.refusals), ['pia@example.com evidence_not_in_required_claim']);
    t.match(partners!.refusals[0], {
      observed: { acr: '1', amr: ['pwd', 'otp', 'mfa'] },
      required: { accept: 'acr' },
    });
    const series = (source: string, reason: string) =>
      `sallyport_mfa_verdicts_total{auth_source="${source}",aal="aal1",outcome="would_reject",reason="${reason}",strength="none"}`;
    t.equal(await replica.metric(series('staff', 'amr_not_mfa')), 14);
    t.equal(await replica.metric(series('staff', 'mfa_claims_absent')), 7);
    t.equal(await replica.metric(series('partners', 'evidence_not_in_required_claim')), 7);
  });

  await t.test('the numbers outlive a restart, which is no change', async (t) => {
    await replica.close();
    replica = await startReplica(desk.path, { clock });
    const { partners } = await status();
    t.equal(sum(partners!.verdicts, 'would_reject', 'evidence_not_in_required_claim'), 7);
    t.same(replica.audited(update), []);
  });

  let mended: Json = {};
  await t.test('the canary shows what the IdP sends, and what to write', async (t) => {
    const { browser } = await signIn('ada');
    appear('pia');
    const { last } = await browser.follow(`${origin}/_sallyport/canary/partners`);
    t.equal(last.status, 200);
    t.match(last.body, /AAL1: multi-factor authentication was not proven/);
    t.match(last.body, /\[&quot;pwd&quot;,&quot;otp&quot;,&quot;mfa&quot;\]/);
    t.match(
      last.body,
      /in a claim that accept does not look at.*ACR-to-LoA mapping/s,
      "the reason's hint and the vendor's",
    );
    const snippet = /<pre[^>]*><code>([^<]*)<\/code>/.exec(last.body)?.[1]?.replaceAll('&quot;', '"') ?? '';
    mended = (parse(snippet) as { mfa: Json }).mfa;
    t.match(mended, { preset: 'keycloak', mode: 'report_only', accept: 'amr', aal2_amr_values: 'strict' });
    appear('nils');
    const nothing = await browser.follow(`${origin}/_sallyport/canary/staff`);
    t.match(nothing.last.body, /Nothing in this ID token proves MFA/, 'where there is nothing to accept');
    t.equal(await hello(browser), 200, "ada's session goes on");
  });

  await t.test('what the canary says is what helps', async (t) => {
    write('week-2', rehearse, mended);
    await applied('week-2');
    const { browser } = await signIn('pia');
    const whoami = (await browser.request('GET', `${origin}/_sallyport/whoami`)).json();
    t.match(whoami, { authenticator_assurance_level: 'aal2', mfa: { status: 'verified' } });
  });

  await t.test('enforce_for one group: its members are refused, the others go on', async (t) => {
    const { browser: admin } = await signIn('olaf');
    const { browser: other } = await signIn('uma');
    t.equal(await hello(admin), 200);
    write('week-3', { ...rehearse, enforce_for: { groups: ['admins'] } }, mended);
    await applied('week-3');
    t.equal(await hello(admin), 401, 'a running session is judged anew');
    t.equal(await hello(other), 200);
    const refused = await signIn('olaf');
    t.equal(refused.status, 403);
    t.match(refused.body, /MFA was not asserted/);
    t.equal((await signIn('uma')).status, 200);
    t.equal((await signIn('ada')).status, 200);
    t.match(replica.audited('tenant.auth_policy.oidc_mfa.rejected').at(-1), {
      auth_source: 'staff',
      user: { email: 'olaf@example.com' },
      observed: { amr: ['pwd'] },
      reason: 'amr_not_mfa',
    });
    const { staff } = await status();
    t.match(
      staff!.refusals.find(({ outcome }) => outcome === 'rejected'),
      { user: { email: 'olaf@example.com' } },
    );
  });

  await t.test('then everyone', async (t) => {
    const { browser: sam } = await signIn('sam');
    const rest = { ...mended, mode: 'enforce' };
    write('week-4', { preset: 'generic' }, rest);
    await applied('week-4');
    t.equal(await hello(sam), 200, 'who has proved MFA notices nothing');
    for (const name of ['uma', 'olaf', 'nils']) t.equal((await signIn(name)).status, 403, name);
    for (const name of ['ada', 'sam', 'pia']) t.equal((await signIn(name)).status, 200, name);
    t.equal(sum((await status())['staff']!.verdicts, 'rejected', 'mfa_claims_absent'), 1);
  });

  await t.test('the audit trail tells each step: previous, next, actor, ref', async (t) => {
    const steps = replica
      .audited(update)
      .map(({ auth_source: source, previous, next, actor, ref }) => ({ source, previous, next, actor, ref }));
    const [partners, ...staff] = steps;
    t.match(partners, {
      source: 'partners',
      previous: { mode: 'report_only', preset: 'keycloak', accept: 'acr' },
      next: { mode: 'report_only', require_oidc_amr_mfa: false, accept: 'amr', aal2_amr_values: 'strict' },
      actor: 'ci for week-2',
      ref: 'week-2',
    });
    const last = staff.filter(({ source }) => source === 'staff');
    t.match(last, [
      {
        previous: { mode: 'report_only', require_oidc_amr_mfa: false },
        next: { mode: 'report_only', enforce_for: { groups: ['admins'] }, require_oidc_amr_mfa: false },
        actor: 'ci for week-3',
        ref: 'week-3',
      },
      {
        previous: { mode: 'report_only', enforce_for: { groups: ['admins'] } },
        next: { mode: 'enforce', require_oidc_amr_mfa: true },
        actor: 'ci for week-4',
        ref: 'week-4',
      },
    ]);
    t.equal(steps.length, 4, 'one for each change of each source, and no more');
    t.equal(replica.audited('canary.completed').length, 2);
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    formats.default(ajv);
    const validate = ajv.compile(auditJsonSchema());
    for (const line of replica.audit.lines())
      t.ok(validate(line), `${String(line['action'])} ${JSON.stringify(validate.errors)}`);
  });
});
