import t from 'tap';
import { UserAgent } from '../support/user-agent.ts';
import { signedInAs, startStage } from './stage.ts';

for (const cookieFirst of [false, true]) {
  const order = cookieFirst ? 'its own cookie first (before PR 27821)' : 'the proxy’s header first';
  t.test(`a browser, and a forge that believes ${order}`, async (t) => {
    const stage = await startStage({ cookieFirst });
    t.teardown(() => stage.close());
    const { origin, forge } = stage;
    const open = (browser: UserAgent, path: string) =>
      browser.request('GET', `${origin}${path}`, { navigate: true });
    const forgeCookie = (browser: UserAgent) => browser.cookie(origin, 'i_like_gitea');
    /** Its sign-out link: a GET in Gitea 1.26, a POST elsewhere. */
    const leaveForge = async (browser: UserAgent) => {
      const options = { navigate: true, from: `${origin}/`, headers: { origin } };
      const answer = await browser.request('POST', `${origin}/user/logout`, options);
      return answer.status === 405 ? browser.request('GET', `${origin}/user/logout`, options) : answer;
    };
    /** What the forge itself says about an account. */
    const known = async (name: string) => {
      const answer = await forge.direct({
        path: `/api/v1/users/${name}`,
        headers: { 'x-webauth-user': 'forge-keeper' },
      });
      return answer.status === 200 ? (JSON.parse(answer.body) as Record<string, unknown>) : undefined;
    };

    t.test(
      'a verified sign-in lands in the forge as that user, registered with name and email',
      async (t) => {
        t.equal(await known('alice'), undefined, 'the forge has not heard of Alice');
        const browser = await stage.signIn('alice');
        t.equal(signedInAs((await open(browser, '/')).body), 'alice');
        t.match(await known('alice'), {
          login: 'alice',
          full_name: 'Alice Example',
          email: 'alice@example.com',
          is_admin: false,
        });
        t.match((await open(browser, '/user/settings')).body, /Alice Example/);
      },
    );

    t.test('an unverified email does not reach the forge', async (t) => {
      const login = {
        sub: 'subject-of-mallory',
        claims: { preferred_username: 'mallory', email: 'alice@example.com', email_verified: false },
      };
      const browser = await stage.signIn('mallory', { login });
      t.equal(signedInAs((await open(browser, '/')).body), 'mallory');
      t.notMatch(JSON.stringify(await known('mallory')), /alice@example\.com/);
    });

    t.test('the user works: a repository by the web form', async (t) => {
      const browser = await stage.signIn('alice');
      const answer = await browser.request('POST', `${origin}/repo/create`, {
        navigate: true,
        from: `${origin}/repo/create`,
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin },
        body: new URLSearchParams({
          uid: String((await known('alice'))?.['id']),
          repo_name: 'by-form',
          private: 'on',
          default_branch: 'main',
        }).toString(),
      });
      t.match(answer.location, /\/alice\/by-form$/, `made (${answer.status})`);
    });

    t.test('the attack: take another name at the forge, and wait for its owner to sign in', async (t) => {
      const browser = await stage.signIn('alice');
      const answer = await browser.request('POST', `${origin}/user/settings`, {
        navigate: true,
        from: `${origin}/user/settings`,
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin },
        body: new URLSearchParams({ name: 'victim', full_name: 'Alice Example', visibility: '0' }).toString(),
      });
      t.ok(answer.status < 500, `${answer.status}`);
      t.equal(await known('victim'), undefined, 'nobody has that name');
      t.match(await known('alice'), { login: 'alice' });
    });

    t.test('signing out at the forge ends the session at Sallyport', async (t) => {
      const browser = await stage.signIn('alice');
      const answer = await leaveForge(browser);
      t.ok([200, 302, 303].includes(answer.status), `${answer.status}`);
      t.equal((await browser.request('GET', `${origin}/_sallyport/whoami`)).status, 401);
      t.equal(forgeCookie(browser), undefined, 'the forge’s cookie is gone from the browser');
      t.match((await open(browser, '/user/settings')).location, /_sallyport\/signin/);
    });

    t.test('signing out at Sallyport ends the session at the forge', async (t) => {
      const browser = await stage.signIn('alice');
      const cookie = forgeCookie(browser);
      t.type(cookie, 'string', 'the forge has given its cookie');
      const page = await open(browser, '/_sallyport/signout');
      const body = new URLSearchParams();
      for (const [field] of page.body.matchAll(/<input\b[^>]*>/g)) {
        const name = /name="([^"]+)"/.exec(field)?.[1];
        if (name !== undefined) body.set(name, /value="([^"]*)"/.exec(field)?.[1] ?? '');
      }
      await browser.request('POST', `${origin}/_sallyport/signout`, {
        navigate: true,
        from: page.url,
        headers: { origin, 'content-type': 'application/x-www-form-urlencoded' },
        body: body.toString(),
      });
      t.equal((await browser.request('GET', `${origin}/_sallyport/whoami`)).status, 401);
      t.equal(forgeCookie(browser), undefined);
      // The attack: the cookie was copied before.
      browser.setCookie(`${origin}/`, `i_like_gitea=${cookie ?? ''}; Path=/`);
      t.match((await open(browser, '/user/settings')).location, /_sallyport\/signin/);
    });

    t.test('Alice signs out, Bob signs in in the same browser: never a page as Alice', async (t) => {
      const browser = await stage.signIn('alice');
      const saved = browser.cookies(origin).filter(({ name }) => name !== 'sallyport');
      t.ok(
        saved.some(({ name }) => name === 'i_like_gitea'),
        'Alice’s forge session exists',
      );
      for (const way of ['after a sign-out', 'over her session']) {
        if (way === 'after a sign-out') await leaveForge(browser);
        else await stage.signIn('alice', { browser });
        await stage.signIn('bob', { browser });
        for (const leftover of [false, true]) {
          // The attack: whatever made the browser keep it, Alice's cookie is still sent.
          if (leftover) {
            for (const { name, value } of saved) browser.setCookie(`${origin}/`, `${name}=${value}; Path=/`);
          }
          for (const path of ['/', '/user/settings', '/alice/by-form', '/notifications']) {
            const { body, status } = await open(browser, path);
            t.not(signedInAs(body), 'alice', `${way}, ${path}: ${status}`);
            if (status === 200) t.equal(signedInAs(body), 'bob', `${way}, ${path}`);
          }
          t.match((await browser.request('GET', `${origin}/api/v1/user`)).json(), { login: 'bob' });
        }
      }
    });
  });
}
