import t from 'tap';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { launchChromium } from '../support/chromium.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { signOutAt } from '../support/sign-out.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

/*
 * The OP does its own part of every logout: node-oidc-provider makes the `sid`, ends its session, signs and sends the logout tokens, and
 * judges what RP-initiated logout brings it. Two replicas over one Redis; the tokens go to the second, sign-ins through the first.
 */

const prefix = '/_sallyport';
const redis = await startRedis();
t.teardown(() => redis.stop());
const origins = [await loopbackOrigin(), await loopbackOrigin()] as const;
const secret = 'a-client-secret-of-the-tests';
const clientOf = (id: string, sidRequired: boolean) => ({
  client_id: id,
  client_secret: secret,
  redirect_uris: [`${origins[0]}${prefix}/callback/${id}`],
  post_logout_redirect_uris: [`${origins[0]}${prefix}/signed-out`],
  backchannel_logout_uri: `${origins[1]}${prefix}/backchannel-logout/${id}`,
  backchannel_logout_session_required: sidRequired,
});
const sent: { readonly url: string; readonly body: string }[] = [];
const op = await startOp({
  sso: true,
  backChannelLogout: true,
  onLogoutToken: (url, body) => sent.push({ url, body }),
  clients: [clientOf('with-sid', true), clientOf('without-sid', false)],
});
t.teardown(() => op.stop());
const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());
const replicas = await Promise.all(
  origins.map((origin) =>
    startSallyport({
      origin,
      upstream: upstream.url,
      sources: ['with-sid', 'without-sid'].map((id) => ({
        id,
        issuer: op.issuer,
        client_id: id,
        client_secret: secret,
        mfa: { mode: 'carry_over' },
      })),
      // Far longer than any test waits: what ends sooner has been announced.
      config: { session: { redis: { url: redis.url }, cache: '10m' } },
    }),
  ),
);
t.teardown(() => Promise.all(replicas.map((replica) => replica.close())));
t.beforeEach(() => {
  sent.length = 0;
});

interface Browser {
  readonly agent: UserAgent;
  readonly cookie: string;
}

async function signIn(sub: string, source: string): Promise<Browser> {
  op.nextLogin = { sub, amr: ['pwd', 'otp', 'mfa'], claims: { preferred_username: sub } };
  const agent = new UserAgent();
  const { last } = await agent.follow(`${origins[0]}${prefix}/signin?source=${source}&return_to=/`);
  if (last.status !== 200) throw new Error(`sign-in: ${last.status} ${last.body}`);
  const cookie = `sallyport=${agent.cookie(origins[0], 'sallyport')!}`;
  for (const origin of origins) if (!(await isIn(cookie, origin))) throw new Error('not signed in');
  return { agent, cookie };
}

async function isIn(cookie: string, origin: string): Promise<boolean> {
  const whoami = await new UserAgent().request('GET', `${origin}${prefix}/whoami`, { headers: { cookie } });
  return whoami.status === 200;
}
const isOutEverywhere = async (cookie: string): Promise<boolean> =>
  !(await isIn(cookie, origins[0])) && !(await isIn(cookie, origins[1]));
const endsWithinASecond = (cookie: string) =>
  until(() => isOutEverywhere(cookie), 'the end on both replicas', 1000);

/** Fills in the OP's own sign-out form, to which `url` leads; where it sends the browser then. */
async function confirmAtOp(agent: UserAgent, url: string): Promise<string> {
  const page = await agent.request('GET', url, { navigate: true });
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.body)?.[1];
  if (xsrf === undefined) throw new Error(`no form: ${page.status} ${page.body}`);
  const answer = await agent.request('POST', `${op.issuer}/session/end/confirm`, {
    navigate: true,
    from: url,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ xsrf, logout: 'yes' }).toString(),
  });
  return answer.location ?? '';
}
const signOutAtOp = (agent: UserAgent): Promise<string> => confirmAtOp(agent, `${op.issuer}/session/end`);

function claimsOf(body: string): Record<string, unknown> {
  const token = new URLSearchParams(body).get('logout_token') ?? '';
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >;
}

t.test(
  "the OP's own logout token with sid ends that browser's session within a second, and no other",
  async (t) => {
    const here = await signIn('alice', 'with-sid');
    const elsewhere = await signIn('alice', 'with-sid');
    await signOutAtOp(here.agent);
    await endsWithinASecond(here.cookie);
    t.ok(await isIn(elsewhere.cookie, origins[0]), 'her other browser has another session at the OP');
    t.equal(sent.length, 1);
    t.match(claimsOf(sent[0]!.body), { iss: op.issuer, aud: 'with-sid', sub: 'alice', sid: /./ });
    t.match(replicas[1]!.audit.lines().at(-1), {
      action: 'session.ended',
      why: 'backchannel',
      user: { id: 'alice' },
    });
  },
);

t.test(
  "the OP's own logout token without sid ends every session of its subject at that source",
  async (t) => {
    const browsers = [await signIn('bob', 'without-sid'), await signIn('bob', 'without-sid')] as const;
    const other = await signIn('bob', 'with-sid');
    const bystander = await signIn('carol', 'without-sid');
    await signOutAtOp(browsers[0].agent);
    for (const { cookie } of browsers) await endsWithinASecond(cookie);
    t.match(claimsOf(sent[0]!.body), { sub: 'bob', sid: undefined });
    t.ok(await isIn(other.cookie, origins[1]), 'the OP named one of its clients');
    t.ok(await isIn(bystander.cookie, origins[1]));
  },
);

t.test('one sign-out at the OP ends the sessions at all of its clients here', async (t) => {
  const { agent, cookie } = await signIn('dora', 'with-sid');
  const { last } = await agent.follow(`${origins[0]}${prefix}/signin?source=without-sid&return_to=/`);
  t.equal(last.status, 200);
  const second = `sallyport=${agent.cookie(origins[0], 'sallyport')!}`;
  t.ok(await isOutEverywhere(cookie), 'replaced in this browser');
  await signOutAtOp(agent);
  await endsWithinASecond(second);
  t.same(sent.map(({ url }) => url.split('/').at(-1)).sort(), ['with-sid', 'without-sid']);
});

t.test('while Redis is down the OP is answered 503, and when it tries again the session ends', async (t) => {
  const { agent, cookie } = await signIn('erin', 'with-sid');
  await redis.stop();
  const location = await signOutAtOp(agent);
  t.match(location, '/session/end/success', 'the OP goes on');
  const { url, body } = sent[0]!;
  const send = () =>
    new UserAgent().request('POST', url, {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body,
    });
  t.equal((await send()).status, 503);
  await redis.restart();
  // The same bytes that the OP has sent.
  const first = await until(async () => {
    const answer = await send();
    return answer.status === 503 ? undefined : answer;
  });
  t.equal(first.status, 200);
  await endsWithinASecond(cookie);
  t.equal((await send()).status, 400, 'taken once');
});

t.test(
  'RP-initiated: the OP takes hint, state and return, and its own logout token finds nothing left',
  async (t) => {
    const { agent, cookie } = await signIn('frank', 'with-sid');
    const answer = await signOutAt(agent, origins[0]);
    t.equal(answer.status, 303);
    await endsWithinASecond(cookie);
    const back = await confirmAtOp(agent, answer.location!);
    const { searchParams } = new URL(answer.location!);
    t.equal(
      back,
      `${origins[0]}${prefix}/signed-out?state=${encodeURIComponent(searchParams.get('state')!)}`,
    );
    t.match(
      (await agent.request('GET', back, { navigate: true })).body,
      'with-sid has signed you out as well',
    );
    await until(() => sent.length === 1);
    t.match(
      claimsOf(sent[0]!.body),
      { aud: 'with-sid', sid: /./ },
      'the hint named the client and the session',
    );
    const again = await agent.follow(`${origins[0]}${prefix}/signin?source=with-sid&return_to=/`, {
      until: (next) => next.includes('/interaction/'),
    });
    t.match(again.last.location, '/interaction/', 'the OP asks who it is again');

    const astray = new URL(answer.location!);
    astray.searchParams.set('post_logout_redirect_uri', 'https://evil.example/');
    t.equal(
      (await agent.request('GET', astray.href, { navigate: true })).status,
      400,
      'the OP returns to us alone',
    );
  },
);

t.test(
  'front-channel: a page of the issuer that frames the URL ends the session, in a real browser',
  async (t) => {
    const browser = await launchChromium();
    t.teardown(() => browser.close());
    let sid = '';
    op.tamperIdToken = ({ claims, idToken }) => {
      sid = String(claims['sid']);
      return idToken;
    };
    const { cookie } = await signIn('gina', 'with-sid');
    op.tamperIdToken = undefined;
    const whoami = await new UserAgent().request('GET', `${origins[0]}${prefix}/whoami`, {
      headers: { cookie },
    });
    const { id } = whoami.json() as { id: string };
    const ended = () =>
      replicas
        .flatMap(({ audit }) => audit.lines())
        .filter((line) => line['session_id'] === id && line['action'] === 'session.ended');
    const page = await browser.newPage();
    const violations: string[] = [];
    page.on('console', (message) => violations.push(message.text()));
    const frame = `${origins[1]}${prefix}/frontchannel-logout/with-sid?${new URLSearchParams({ iss: op.issuer, sid }).toString()}`;
    const body = `<!doctype html><title>OP</title><iframe src="${frame.replaceAll('&', '&amp;')}"></iframe>`;
    op.fault = (_endpoint, { url }) =>
      url === '/signed-out-everywhere'
        ? { kind: 'status', status: 200, contentType: 'text/html', body }
        : undefined;
    t.teardown(() => (op.fault = undefined));
    await page.goto(`${op.issuer}/signed-out-everywhere`);
    await endsWithinASecond(cookie);
    t.match(ended(), [{ why: 'frontchannel', user: { id: 'gina' } }]);
    const framed = page.frames().find((each) => each.url() === frame);
    t.equal(await framed?.title(), 'Signed out');
    t.notMatch(violations.join('\n'), /frame-ancestors|Refused|Framing/);
  },
);

t.test('metrics of all replicas together count each end once, as the audit trail does', async (t) => {
  const pages = await Promise.all(
    replicas.map(async ({ operations }) => (await fetch(`http://${operations}/metrics`)).text()),
  );
  const sum = (series: string): number =>
    pages
      .map((page) => page.split('\n').find((line) => line.startsWith(`${series} `)) ?? `${series} 0`)
      .reduce((total, line) => total + Number(line.slice(series.length + 1)), 0);
  const ended = replicas
    .flatMap(({ audit }) => audit.lines())
    .filter(({ action }) => action === 'session.ended');
  for (const why of ['signout', 'backchannel', 'frontchannel', 'replaced']) {
    const count = ended.filter((line) => line['why'] === why).length;
    t.ok(count > 0, why);
    t.equal(sum(`sallyport_sessions_ended_total{why="${why}"}`), count, why);
  }
  // By what was asked, whether or not a session was left: the OP also calls after a sign-out that began here.
  t.ok(sum('sallyport_logouts_total{kind="backchannel"}') >= 4);
  t.equal(sum('sallyport_logouts_total{kind="frontchannel"}'), 1);
  t.equal(sum('sallyport_logouts_total{kind="rp_initiated"}'), 1);
});
