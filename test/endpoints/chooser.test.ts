import t from 'tap';
import { UserAgent } from '../support/user-agent.ts';
import { freePort } from '../support/ports.ts';
import { openHouse, prefix, whoami } from './house.ts';

const house = await openHouse({
  sources: {
    staff: { display_name: 'Staff', email_domains: ['example.com'] },
    partners: { display_name: 'Partners & <friends>', email_domains: ['partner.example'] },
    lab: { issuer: `http://127.0.0.1:${await freePort()}` },
  },
});
t.teardown(() => house.close());
const url = `${house.origin}${prefix}/signin`;

t.test('with several sources the chooser lists them, and shows which are unavailable', async (t) => {
  const page = await new UserAgent().request('GET', `${url}?return_to=/a%26b&fresh=1`, { navigate: true });
  t.equal(page.status, 200);
  t.same(page.setCookies, [], 'looking starts nothing');
  t.match(page.body, `href="${prefix}/signin?source=staff&amp;fresh=1&amp;return_to=%2Fa%26b">Staff`);
  t.match(page.body, 'Partners &amp; &lt;friends&gt;');
  t.match(page.body, /class="off"\s*>lab <em>unavailable right now/);
  t.notMatch(page.body, 'source=lab');
  t.match(page.headers['content-security-policy'], /form-action 'self'; frame-ancestors 'none'/);
});

t.test('?source= goes straight to the IdP, as that client', async (t) => {
  const answer = await new UserAgent().request('GET', `${url}?source=partners`, { navigate: true });
  t.equal(answer.status, 302);
  t.equal(new URL(answer.location!).searchParams.get('client_id'), 'partners');
});

t.test('the domain of a typed address picks the source, whatever its case', async (t) => {
  const agent = new UserAgent();
  const page = await agent.request('GET', `${url}?email=Bob%40PARTNER.example&return_to=%2Fx`, {
    navigate: true,
  });
  t.equal(page.status, 200, 'no redirect: Chromium would hold it against form-action');
  const next = `${prefix}/signin?source=partners&amp;login_hint=Bob%40PARTNER.example&amp;return_to=%2Fx`;
  t.match(page.body, `<meta http-equiv="refresh" content="0;url=${next}"`);
  t.match(page.body, `href="${next}"`);
  const onward = await agent.request('GET', house.origin + next.replaceAll('&amp;', '&'), { navigate: true });
  t.equal(onward.status, 302);
  const pushed = house.op.requests.filter(({ endpoint }) => endpoint === 'par').at(-1);
  t.equal(pushed?.params['login_hint'], 'Bob@PARTNER.example');
});

t.test('an address that belongs to no source is answered by the chooser, and escaped', async (t) => {
  for (const email of ['a@elsewhere.example', 'partner.example', 'a@b@partner.example', '"><script>@x']) {
    const page = await new UserAgent().request('GET', `${url}?email=${encodeURIComponent(email)}`, {
      navigate: true,
    });
    t.equal(page.status, 200);
    t.match(page.body, 'No sign-in is set up for that address');
    t.notMatch(page.body, '<script>');
    t.notMatch(page.body, 'http-equiv');
    t.notMatch(page.body, 'login_hint');
  }
});

t.test('a source that is not there: a page, or JSON for a program', async (t) => {
  for (const path of [
    '/signin?source=nobody',
    '/signin?source=__proto__',
    '/callback/nobody?code=x&state=y',
  ]) {
    const page = await new UserAgent().request('GET', `${house.origin}${prefix}${path}`, { navigate: true });
    t.equal(page.status, 404);
    t.match(page.body, 'There is no such sign-in');
    const json = await new UserAgent().request('GET', `${house.origin}${prefix}${path}`);
    t.equal(json.json().error, 'source_unknown');
  }
});

t.test('a source that is down: 503, naming it; the others work', async (t) => {
  const page = await new UserAgent().request('GET', `${url}?source=lab`, { navigate: true });
  t.equal(page.status, 503);
  t.match(page.body, 'lab cannot be reached right now');
  const agent = new UserAgent();
  await agent.follow(`${url}?source=staff`);
  t.equal((await whoami(house, agent)).json().authentication_methods[0].provider, 'staff');
});

t.test('a step-up without a source goes to that of the session', async (t) => {
  const agent = new UserAgent();
  await agent.follow(`${url}?source=staff`);
  const answer = await agent.request('GET', `${url}?step_up=1`, { navigate: true });
  t.equal(new URL(answer.location!).searchParams.get('client_id'), 'staff');
});
