import t from 'tap';
import { makeSignOutState, readSignOutState } from '../../src/endpoints/sign-out-state.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStillClock } from '../session/clock.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn, whoami } from './house.ts';

const house = await openHouse();
t.teardown(() => house.close());
const signOut = `${house.origin}${prefix}/signout`;
const form = { 'content-type': 'application/x-www-form-urlencoded' };
t.beforeEach(() => {
  house.audit.length = 0;
});

const tokenIn = (page: string): string => /name="csrf" value="([^"]+)"/.exec(page)?.[1] ?? '';

t.test('GET asks, and changes nothing', async (t) => {
  const agent = new UserAgent();
  await signIn(house, agent);
  const page = await agent.request('GET', signOut, { navigate: true });
  t.equal(page.status, 200);
  t.match(page.body, 'You are signed in as Alice Example.');
  t.match(
    page.headers['content-security-policy'],
    `form-action 'self' ${house.op.issuer};`,
    'the form may lead to the IdP, which Chromium holds against form-action',
  );
  t.equal((await whoami(house, agent)).status, 200);
});

t.test('POST ends the session here and at the IdP, and comes back to the signed-out page', async (t) => {
  const agent = new UserAgent();
  await signIn(house, agent);
  const cookie = agent.cookie(house.origin, 'sallyport')!;
  const { id } = (await whoami(house, agent)).json();
  const page = await agent.request('GET', signOut, { navigate: true });
  const answer = await agent.request('POST', signOut, {
    navigate: true,
    from: signOut,
    headers: form,
    body: new URLSearchParams({ csrf: tokenIn(page.body) }).toString(),
  });
  t.equal(answer.status, 303);
  const target = new URL(answer.location!);
  t.equal(target.origin, house.op.issuer);
  t.equal(target.searchParams.get('post_logout_redirect_uri'), `${house.origin}${prefix}/signed-out`);
  t.match(target.searchParams.get('id_token_hint'), /^[\w-]+\.[\w-]+\.[\w-]+$/);
  t.ok(target.searchParams.get('state'));
  t.same(agent.cookies(house.origin), []);
  const thief = new UserAgent();
  thief.setCookie(house.origin, `sallyport=${cookie}; Path=/`);
  t.equal((await whoami(house, thief)).status, 401, 'the cookie opens nothing any more');
  t.match(house.audit.at(-1), {
    action: 'session.ended',
    fields: { why: 'signout', session_id: id },
    user: { id: 'alice' },
  });
  t.ok(house.counted.includes('sessionEnded signout'));
  t.ok(house.counted.includes('logout rp_initiated'));

  const done = await agent.request('GET', `${house.origin}${prefix}/signed-out?state=x`, { navigate: true });
  t.equal(done.status, 200);
  t.match(done.body, 'You are signed out');
});

t.test(
  'a POST without the token, with that of another session, or from another site does nothing',
  async (t) => {
    const agent = new UserAgent();
    await signIn(house, agent);
    const other = new UserAgent();
    await signIn(house, other);
    const foreign = tokenIn((await other.request('GET', signOut, { navigate: true })).body);
    const own = tokenIn((await agent.request('GET', signOut, { navigate: true })).body);
    const cookie = `sallyport=${agent.cookie(house.origin, 'sallyport')!}`;
    for (const [headers, body, code] of [
      [{ ...form, 'sec-fetch-site': 'same-origin' }, '', 'csrf_invalid'],
      [{ ...form, 'sec-fetch-site': 'same-origin' }, `csrf=${foreign}`, 'csrf_invalid'],
      [{ ...form }, `csrf=${own}&csrf=${own}`, 'csrf_invalid'],
      [{ ...form, 'sec-fetch-site': 'cross-site' }, `csrf=${own}`, 'cross_site_request'],
      [{ ...form, 'sec-fetch-site': 'same-site' }, `csrf=${own}`, 'cross_site_request'],
      [{ ...form, origin: 'https://evil.example' }, `csrf=${own}`, 'cross_site_request'],
      [{ ...form, origin: 'null' }, `csrf=${own}`, 'cross_site_request'],
    ] as const) {
      const answer = await agent.request('POST', signOut, { headers: { ...headers, cookie }, body });
      t.equal(answer.status, 403, code);
      t.equal(answer.json().error, code);
      t.same(answer.setCookies, []);
    }
    t.equal((await whoami(house, agent)).status, 200);
    t.same(
      house.actions().filter((action) => action === 'session.ended'),
      [],
    );
  },
);

t.test('without a session there is nothing to ask: straight to the signed-out page', async (t) => {
  const agent = new UserAgent();
  for (const method of ['GET', 'POST']) {
    const answer = await agent.request(method, signOut, {
      navigate: true,
      headers: method === 'POST' ? form : {},
    });
    t.equal(answer.status, 303);
    t.equal(answer.location, `${house.origin}${prefix}/signed-out`);
  }
});

t.test('an IdP without end_session_endpoint: signed out here alone', async (t) => {
  const quiet = await openHouse({
    op: {
      configuration: {
        features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: false } },
      },
    },
  });
  t.teardown(() => quiet.close());
  const agent = new UserAgent();
  await signIn(quiet, agent);
  const url = `${quiet.origin}${prefix}/signout`;
  const page = await agent.request('GET', url, { navigate: true });
  t.match(page.headers['content-security-policy'], /form-action 'self';/);
  const body = new URLSearchParams({ csrf: tokenIn(page.body) }).toString();
  const answer = await agent.request('POST', url, { navigate: true, from: url, headers: form, body });
  t.equal(answer.location, `${quiet.origin}${prefix}/signed-out`);
  t.ok(quiet.counted.includes('logout local'));
});

t.test('no ID token is shown to an identity provider, or for a client, that it is not of', async (t) => {
  const changing = await openHouse();
  t.teardown(() => changing.close());
  const at = `${changing.origin}${prefix}/signout`;
  const agent = new UserAgent();
  await signIn(changing, agent);
  const page = await agent.request('GET', at, { navigate: true });
  await changing.reload({ main: { client_id: 'another' } });
  const answer = await agent.request('POST', at, {
    navigate: true,
    from: at,
    headers: form,
    body: new URLSearchParams({ csrf: tokenIn(page.body) }).toString(),
  });
  t.equal(answer.status, 303);
  t.equal(answer.location, `${changing.origin}${prefix}/signed-out`);
});

t.test('the state of a sign-out is good for a quarter of an hour, and ours alone', async (t) => {
  const clock = createStillClock();
  const sealing = createSealing([Buffer.alloc(32, 1)], systemRandomness);
  const state = makeSignOutState('main', { sealing, clock });
  t.equal(readSignOutState(state, { sealing, clock }), 'main');
  clock.advance(900_000);
  t.equal(readSignOutState(state, { sealing, clock }), 'main');
  clock.advance(1000);
  t.equal(readSignOutState(state, { sealing, clock }), undefined);
  const other = createSealing([Buffer.alloc(32, 2)], systemRandomness);
  const fresh = makeSignOutState('main', { sealing: other, clock });
  t.equal(readSignOutState(fresh, { sealing, clock }), undefined);
  t.equal(readSignOutState(null, { sealing, clock }), undefined);
});
