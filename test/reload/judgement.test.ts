import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { openEvents, openLong, openSocket, startEndlessUpstream } from '../support/endless.ts';
import { startOp } from '../support/op.ts';
import { clientOf, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openDesk, soundConfig, startReplica } from './stage.ts';

type Json = Record<string, unknown>;

const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());

/** A Sallyport with a real OP behind it, at a clock of its own. */
async function openStage(
  t: { teardown(fn: () => unknown): unknown; equal(a: unknown, b: unknown): unknown },
  mfa: Json,
  offsetMs = 0,
  app = upstream.url,
) {
  const desk = openDesk();
  const { origin, config } = await soundConfig(app);
  const op = await startOp({ clients: [clientOf(origin, 'idp', 'other')] });
  const offset = { ms: offsetMs };
  const clock: Clock = { nowMs: () => Date.now() + offset.ms };
  const withSources = (source: Json, over: Json = {}): Json => ({
    ...config,
    ...over,
    sources: [{ issuer: op.issuer, ...testClient, ...source }],
  });
  desk.write(withSources({ id: 'idp', mfa }));
  const replica = await startReplica(desk.path, { clock });
  t.teardown(async () => {
    await replica.close();
    await op.stop();
    desk.clear();
  });
  const browser = new UserAgent();
  async function applyOver(over: Json, source: Json): Promise<void> {
    desk.write(withSources(source, over));
    const outcome = await replica.supervisor.reload({ trigger: 'command' });
    t.equal(outcome.result, 'applied');
  }
  return {
    origin,
    op,
    replica,
    browser,
    offset,
    /** The status of the page, and what whoami says of the session's MFA. */
    async look(): Promise<readonly [number, string | undefined]> {
      const page = await browser.request('GET', `${origin}/page`);
      const whoami = await browser.request('GET', `${origin}/_sallyport/whoami`);
      return [page.status, (whoami.json() as { mfa?: { status: string } }).mfa?.status];
    },
    desk,
    withSources,
    apply: (source: Json): Promise<void> => applyOver({}, source),
    applyOver,
  };
}

t.test('running sessions are judged by the policy in force: rehearsal, enforce, rehearsal', async (t) => {
  const stage = await openStage(t, { mode: 'report_only' });
  stage.op.nextLogin = { ...stage.op.nextLogin, amr: ['pwd'] };
  t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
  t.strictSame(await stage.look(), [200, 'would_reject']);
  await stage.apply({ id: 'idp', mfa: { mode: 'enforce' } });
  t.strictSame(await stage.look(), [401, undefined]);
  await stage.apply({ id: 'idp', mfa: { mode: 'report_only' } });
  t.strictSame(await stage.look(), [200, 'would_reject'], 'nobody was signed out by it');
  await stage.apply({ id: 'idp', mfa: { mode: 'enforce', aal2_amr_values: ['pwd'] } });
  t.strictSame(await stage.look(), [200, 'verified']);
  t.same(stage.replica.audited('session.ended'), []);
});

t.test(
  'what has no end is closed when its session opens nothing any more, and nothing else is',
  async (t) => {
    const endless = await startEndlessUpstream();
    t.teardown(() => endless.close());
    const { op, origin, browser, apply } = await openStage(t, { mode: 'report_only' }, 0, endless.url);
    op.nextLogin = { ...op.nextLogin, amr: ['pwd'] };
    await browser.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`);
    const cookie = browser
      .cookies(origin)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
    const [socket, events, long] = await Promise.all(
      [openSocket, openEvents, openLong].map((open) => open(origin, '/x', { cookie })),
    );
    await apply({ id: 'idp', mfa: { mode: 'report_only', max_auth_age: '7d' } });
    for (const each of [socket, events, long]) t.ok(each?.isOpen(), 'judged anew, and good');
    await apply({ id: 'idp', mfa: { mode: 'enforce' } });
    await Promise.all([socket?.gone, events?.gone]);
    t.ok(long?.isOpen(), 'a request that runs is not lost by a reload');
    long?.end();
  },
);

t.test('what a public route gives to everyone goes on, whatever session came along', async (t) => {
  const endless = await startEndlessUpstream();
  t.teardown(() => endless.close());
  const stage = await openStage(t, {}, 0, endless.url);
  const { op, origin } = stage;
  const routes = { routes: [{ name: 'open', path: '/open/**', access: 'public' }] };
  const signInWith = async (amr: readonly string[]): Promise<{ cookie: string }> => {
    op.nextLogin = { ...op.nextLogin, amr: [...amr] };
    const browser = new UserAgent();
    await browser.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`);
    const cookies = browser.cookies(origin).map(({ name, value }) => `${name}=${value}`);
    return { cookie: cookies.join('; ') };
  };
  await stage.applyOver(routes, { id: 'idp', mfa: { mode: 'report_only' } });
  const [weak, strong] = [await signInWith(['pwd']), await signInWith(['pwd', 'otp', 'mfa'])];
  await stage.applyOver(routes, { id: 'idp', mfa: { mode: 'enforce' } });
  const anonymous = [await openEvents(origin, '/open/x', weak), await openSocket(origin, '/open/x', weak)];
  for (const values of [['hwk'], ['swk']]) {
    const looked = await openEvents(origin, '/x', strong);
    await stage.applyOver(routes, { id: 'idp', mfa: { mode: 'enforce', aal2_amr_values: values } });
    await looked.gone;
    await stage.applyOver(routes, { id: 'idp', mfa: { mode: 'enforce' } });
  }
  for (const each of anonymous) {
    t.ok(each.isOpen(), 'it never ran under the session');
    each.end();
  }
});

t.test(
  'on the day of report_only_until the rule holds, for sessions and for what is asked of the IdP',
  async (t) => {
    const day = new Date(Date.now() + 3_600_000).toISOString();
    const mfa = { preset: 'google_mfa', acr_values: [], mode: 'report_only', report_only_until: day };
    const stage = await openStage(t, mfa);
    stage.op.nextLogin = { ...stage.op.nextLogin, amr: ['pwd'] };
    const asked = (): Json => {
      const request = stage.op.requests.filter(
        ({ endpoint }) => endpoint === 'authorization' || endpoint === 'par',
      );
      const claims = request.map(({ params }) => params['claims']).filter((each) => each !== undefined);
      return (JSON.parse(claims.at(-1) ?? '{}') as { id_token: { amr: Json } }).id_token.amr;
    };
    t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
    t.strictSame(asked(), { essential: false });
    t.strictSame(await stage.look(), [200, 'would_reject']);
    stage.offset.ms = 3_600_000;
    t.strictSame(await stage.look(), [401, undefined]);
    await stage.browser
      .request('GET', `${stage.origin}/_sallyport/signin`, { navigate: true })
      .then(({ location }) => new UserAgent().request('GET', location ?? ''));
    t.strictSame(asked(), { essential: true });
  },
);

t.test(
  'a source that is removed, or becomes another, ends its sessions: told and counted once',
  async (t) => {
    const stage = await openStage(t, {});
    const ended = 'sallyport_sessions_ended_total{why="source_removed"}';
    t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
    await stage.apply({ id: 'other' });
    t.strictSame(await stage.look(), [401, undefined]);
    await until(() => stage.replica.audited('session.ended').length > 0, 'the end is told');
    t.strictSame(await stage.look(), [401, undefined]);
    await stage.apply({ id: 'idp' });
    t.strictSame(await stage.look(), [401, undefined], 'it does not come back with its source');
    t.equal(stage.replica.audited('session.ended').length, 1);
    t.match(stage.replica.audited('session.ended')[0], { why: 'source_removed', auth_source: 'idp' });
    t.equal(await stage.replica.metric(ended), 1);

    t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
    await stage.apply({ id: 'idp', client_id: 'another' });
    t.strictSame(await stage.look(), [401, undefined]);
    await until(() => stage.replica.audited('session.ended').length === 2, 'another client ends them too');
  },
);

t.test('an identity provider that came with a reload is shown as what it is', async (t) => {
  const stage = await openStage(t, {});
  const up = (source: string) => stage.replica.metric(`sallyport_idp_up{auth_source="${source}"}`);
  await until(async () => (await up('idp')) === 1, 'it is up from the start');
  await stage.apply({ id: 'other' });
  await until(async () => (await up('other')) === 1, 'it is up from the reload');
  await stage.op.stop();
  await stage.apply({ id: 'third' });
  t.equal(await up('third'), 0);
});

t.test('whoever does not come by while their source is away is signed out all the same', async (t) => {
  const stage = await openStage(t, {});
  t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
  await stage.apply({ id: 'other' });
  await until(() => stage.replica.audited('session.ended').length > 0, 'the session has ended, unused');
  t.match(stage.replica.audited('session.ended'), [{ why: 'source_removed', auth_source: 'idp' }]);
  await stage.apply({ id: 'idp' });
  t.strictSame(await stage.look(), [401, undefined], 'it does not come back with its source');
  t.equal(stage.replica.audited('session.ended').length, 1, 'told once');
});

t.test('limits of sessions follow the file, for sessions that are open as well', async (t) => {
  const stage = await openStage(t, {});
  const hour = 3_600_000;
  const secrets = ['0123456789abcdef0123456789abcdef-of-the-tests'];
  t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
  stage.offset.ms += 2 * hour;
  t.equal((await stage.look())[0], 200, 'idle for two hours of eight');
  await stage.applyOver({ session: { secrets, idle_timeout: '1h' } }, { id: 'idp' });
  t.equal((await stage.look())[0], 200);
  stage.offset.ms += hour + 61_000;
  t.equal((await stage.look())[0], 401, 'idle for an hour of one');

  const other = await openStage(t, {});
  t.equal((await other.browser.follow(`${other.origin}/page`)).last.status, 200);
  await other.applyOver(
    { session: { secrets, absolute_timeout: '30m', idle_timeout: '30m' } },
    { id: 'idp' },
  );
  other.offset.ms += hour / 4;
  t.equal((await other.look())[0], 200);
  other.offset.ms += hour / 4 + 1000;
  t.equal((await other.look())[0], 401, 'past the new absolute limit, though in use');
});

t.test(
  'a secret is rotated without signing anyone out, and one that something still needs can not go',
  async (t) => {
    const stage = await openStage(t, {});
    const [first, second] = [
      '0123456789abcdef0123456789abcdef-of-the-tests',
      'another secret, long enough to be one',
    ];
    t.equal((await stage.browser.follow(`${stage.origin}/page`)).last.status, 200);
    stage.desk.write(stage.withSources({ id: 'idp' }, { session: { secrets: [second] } }));
    const refusal = await stage.replica.supervisor.reload({ trigger: 'command' });
    t.match(refusal, { result: 'refused', report: /opens? with none of the configured secrets/ });
    t.equal((await stage.look())[0], 200);
    await stage.applyOver({ session: { secrets: [second, first] } }, { id: 'idp' });
    t.equal((await stage.look())[0], 200);
    await stage.applyOver({ session: { secrets: [second] } }, { id: 'idp' });
    const fresh = new UserAgent();
    t.equal((await fresh.follow(`${stage.origin}/page`)).last.status, 200, 'what lasts has been sealed anew');
  },
);
