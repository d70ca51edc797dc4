import t from 'tap';
import { startForge, type ForgeOrder, type TestForge } from '../support/forge.ts';
import { startOp, type TestOp } from '../support/op.ts';
import { exchange } from '../support/raw-http.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, loopbackOrigin, startSallyport, type TestSallyport } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

const basic = (name: string, password: string) =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
const phished = 'correct horse battery staple';

/** Every path that takes a credential of its own. */
const toolPaths = [
  '/alice/site.git/info/refs?service=git-receive-pack',
  '/alice/site/git-receive-pack',
  '/alice/site.git/git-upload-pack',
  '/alice/site.git/info/lfs/objects/batch',
  '/alice/site.git/HEAD',
  '/api/v1/user',
  '/api/v1/repos/alice/site/hooks',
  '/api/packages/alice/npm/site',
  '/v2/',
  '/v2/token',
  '/alice/site/archive/main.zip',
  '/alice/site/raw/branch/main/secret',
  '/alice/site/media/branch/main/secret',
  '/alice/site/releases/download/v1/secret',
];
/** One of each kind of access. */
const everyAccess = [
  '/',
  '/alice/site',
  '/user/settings/keys',
  '/user/logout',
  '/assets/x.css',
  '/api/v1/user',
]
  .concat([
    '/alice/site.git/info/refs',
    '/api/actions/ping',
    '/login/oauth/userinfo',
    '/user/login',
    '/metrics',
  ])
  .concat(['/avatars/1', '/api/v1/users/alice/tokens']);
const junk = [
  'Basic',
  'Basic !!!',
  'Bearer',
  'Negotiate abc',
  'x',
  'Bearer a b',
  basic('alice', ''),
  'token 123',
];

interface House {
  readonly origin: string;
  readonly forge: TestForge;
  readonly op: TestOp;
  readonly sallyport: TestSallyport;
  readonly signIn: (name: string, more?: { source?: string; amr?: readonly string[] }) => Promise<UserAgent>;
}

async function furnish(
  t: { teardown: (fn: () => Promise<void>) => void },
  order: ForgeOrder,
  session: object = {},
): Promise<House> {
  const origin = await loopbackOrigin();
  const forge = await startForge(order);
  const op = await startOp({ clients: [clientOf(origin, 'idp', 'lax')] });
  const sallyport = await startSallyport({
    origin,
    upstream: forge.url,
    sources: [
      { id: 'idp', issuer: op.issuer },
      { id: 'lax', issuer: op.issuer, mfa: { mode: 'report_only' } },
    ],
    config: { upstream: { preset: 'gitea', username: { bind: false } }, session },
  });
  t.teardown(async () => {
    await sallyport.close();
    await op.stop();
    await forge.close();
  });
  forge.users.set('alice', phished);
  return {
    origin,
    forge,
    op,
    sallyport,
    async signIn(name, { source = 'idp', amr = ['pwd', 'mfa'] } = {}) {
      const browser = new UserAgent();
      await signInWith(browser, { origin, op }, name, source, amr);
      return browser;
    },
  };
}

async function signInWith(
  browser: UserAgent,
  { op, origin }: Pick<House, 'op' | 'origin'>,
  name: string,
  source = 'idp',
  amr: readonly string[] = ['pwd', 'mfa'],
): Promise<string> {
  op.nextLogin = {
    sub: `sub-${name}`,
    amr: [...amr],
    claims: { preferred_username: name, email: `${name}@example.com`, email_verified: true, name },
  };
  const { last } = await browser.follow(`${origin}/_sallyport/signin?source=${source}&return_to=/`);
  return last.body;
}

for (const order of ['cookie_first', 'header_first'] as const) {
  t.test(
    `a forge that believes ${order === 'cookie_first' ? 'its cookie first' : 'the header first'}`,
    async (t) => {
      const house = await furnish(t, order);
      const { origin, forge, op } = house;

      t.test(
        'a verified sign-in lands in the forge as that user, by header, and then by a cookie that is tied',
        async (t) => {
          const browser = await house.signIn('carol');
          t.match(forge.seen.at(-1), { path: '/', user: 'carol', means: 'header' });
          t.match(browser.cookie(origin, 'i_like_gitea'), /^[\w-]{43}\.[0-9a-f]{16}$/);
          t.match((await browser.request('GET', `${origin}/carol`)).json(), { user: 'carol' });
          t.match(
            forge.seen.at(-1)?.headers.cookie,
            /^lang=en-US; i_like_gitea=[0-9a-f]{16}$/,
            'without its tag, and nothing of ours',
          );
        },
      );

      t.test('alice signs out, bob signs in, in one browser: never a page as alice', async (t) => {
        const browser = await house.signIn('alice');
        await browser.request('GET', `${origin}/alice`);
        const left = browser.cookies(origin).filter(({ name }) => name.startsWith('i_like'));
        t.equal(left.length, 1);
        const ask = await browser.request('GET', `${origin}/_sallyport/signout`, { navigate: true });
        const csrf = /name="csrf" value="([^"]+)"/.exec(ask.body)?.[1] ?? '';
        const out = await browser.request('POST', `${origin}/_sallyport/signout`, {
          navigate: true,
          from: origin,
          body: new URLSearchParams({ csrf }).toString(),
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        });
        t.equal(out.status, 303);
        t.equal(
          browser.cookie(origin, 'i_like_gitea'),
          undefined,
          "signing out here expires the forge's cookie",
        );

        // A browser that kept it all the same, or had it written back.
        for (const { name, value } of left) browser.setCookie(origin, `${name}=${value}; Path=/`);
        const from = forge.seen.length;
        t.match(await signInWith(browser, house, 'bob'), /"user":"bob"/);
        for (const { name, value } of left) browser.setCookie(origin, `${name}=${value}; Path=/deep`);
        for (const path of ['/', '/bob', '/deep/page', '/avatars/1', '/api/v1/user']) {
          const answer = await browser.request('GET', `${origin}${path}`);
          t.match(answer.json(), { user: 'bob' }, path);
        }
        t.notOk(forge.seen.slice(from).some(({ user }) => user === 'alice'));
      });

      t.test('alice is followed by bob without signing out: never a page as alice', async (t) => {
        const browser = await house.signIn('alice');
        const old = browser.cookie(origin, 'i_like_gitea') ?? '';
        const from = forge.seen.length;
        await signInWith(browser, house, 'bob');
        t.not(browser.cookie(origin, 'i_like_gitea'), old);
        browser.setCookie(origin, `i_like_gitea=${old}; Path=/`);
        t.match((await browser.request('GET', `${origin}/bob`)).json(), { user: 'bob' });
        t.notOk(forge.seen.slice(from).some(({ user }) => user === 'alice'));
      });

      t.test("a step-up of the same user keeps the forge's cookie", async (t) => {
        const browser = await house.signIn('dave');
        const before = browser.cookie(origin, 'i_like_gitea');
        await browser.follow(`${origin}/_sallyport/signin?step_up=1&source=idp&return_to=/dave`);
        t.equal(browser.cookie(origin, 'i_like_gitea'), before);
        t.match((await browser.request('GET', `${origin}/dave`)).json(), { user: 'dave' });
        t.match(forge.seen.at(-1)?.headers.cookie, /i_like_gitea=/);
      });

      t.test('an attacker plants their own forge cookie, tag and all, in the browser of bob', async (t) => {
        const attacker = await house.signIn('mallory');
        const planted = attacker.cookie(origin, 'i_like_gitea') ?? '';
        const browser = await house.signIn('bob');
        browser.setCookie(origin, `i_like_gitea=${planted}; Path=/bob`);
        t.match((await browser.request('GET', `${origin}/bob/page`)).json(), { user: 'bob' });
      });

      t.test(
        'a leftover or stolen forge cookie, without a session, with and without junk Authorization',
        async (t) => {
          const id = forge.addSession('alice');
          const from = forge.seen.length;
          for (const path of everyAccess) {
            for (const authorization of [undefined, ...junk]) {
              for (const method of ['GET', 'POST']) {
                const answer = await new UserAgent().request(method, `${origin}${path}`, {
                  headers: {
                    cookie: `i_like_gitea=${id}; gitea_incredible=${id}; I_LIKE_GITEA=${id}`,
                    ...(authorization === undefined ? {} : { authorization }),
                  },
                });
                t.notMatch(answer.body, /"user":"alice"/, `${method} ${path} ${authorization}`);
                t.strictSame(answer.setCookies, []);
              }
            }
          }
          for (const { headers, user, path } of forge.seen.slice(from)) {
            t.equal(headers.cookie, undefined, path);
            t.equal(user, undefined, path);
          }
        },
      );

      t.test(
        'bob, signed in, brings the forge cookie of alice, with and without junk Authorization',
        async (t) => {
          const id = forge.addSession('alice');
          const from = forge.seen.length;
          // A sign-out among the paths would end bob's session.
          for (const path of everyAccess.filter((each) => each !== '/user/logout')) {
            const browser = await house.signIn('bob');
            for (const authorization of [undefined, ...junk]) {
              for (const order of [0, 1]) {
                const own = browser.cookies(origin).map(({ name, value }) => `${name}=${value}`);
                const foreign = `i_like_gitea=${id}; gitea_incredible=${id}`;
                await browser.request('GET', `${origin}${path}`, {
                  headers: {
                    cookie: (order === 0 ? [foreign, ...own] : [...own, foreign]).join('; '),
                    ...(authorization === undefined ? {} : { authorization }),
                  },
                });
              }
            }
          }
          const served = forge.seen.slice(from);
          t.ok(served.length > 20, 'bob was served');
          for (const { user, path, headers } of served) {
            t.ok(user === undefined || user === 'bob', `${path}: ${user}`);
            t.equal(
              headers.authorization === undefined || headers['x-webauth-user'] === undefined,
              true,
              path,
            );
          }
        },
      );

      t.test('a phished password, on every path that takes one, in every place for it', async (t) => {
        const signedIn = await house.signIn('bob');
        const from = forge.seen.length;
        for (const path of [...toolPaths, '/api/v1/users/alice/tokens', '/', '/alice/site']) {
          for (const authorization of [
            basic('alice', phished),
            basic('alice', phished)
              .toLowerCase()
              .replace(/ .*/, ` ${basic('alice', phished).slice(6)}`),
            `Bearer ${phished.replaceAll(' ', '')}`,
            `token ${phished}`,
          ]) {
            for (const method of ['GET', 'POST']) {
              for (const browser of [new UserAgent(), signedIn]) {
                const answer = await browser.request(method, `${origin}${path}`, {
                  headers: { authorization },
                });
                t.notMatch(answer.body, /"user":"alice"/, `${method} ${path}`);
              }
            }
          }
        }
        t.notOk(
          forge.seen.slice(from).some(({ headers }) => headers.authorization !== undefined),
          'it never gets there',
        );
        t.notOk([...forge.tokens.values()].includes('alice'), 'and no token was minted with it');
      });

      t.test(
        'git with a password is told why; without anything it is asked for a credential, never redirected',
        async (t) => {
          const git = { 'user-agent': 'git/2.47.0', accept: '*/*' };
          const refs = `${origin}${toolPaths[0] ?? ''}`;
          const asked = await new UserAgent().request('GET', refs, { headers: git });
          t.equal(asked.status, 401);
          t.match(asked.headers['www-authenticate'], /^Basic realm="[^"]+"/);
          const told = await new UserAgent().request('GET', refs, {
            headers: { ...git, authorization: basic('alice', phished) },
          });
          t.equal(told.status, 401);
          t.match(told.headers['content-type'], /^text\/plain/, 'which git shows to its user');
          t.match(told.body, /personal access token/);
          for (const path of toolPaths) {
            const answer = await new UserAgent().request('POST', `${origin}${path}`);
            t.equal(answer.status, 401, path);
            t.match(answer.headers['www-authenticate'], /^Basic /, path);
          }
          const person = await new UserAgent().request('GET', `${origin}/alice/site/raw/branch/main/x`, {
            navigate: true,
          });
          t.equal(person.status, 302, 'a person goes to sign-in');
          const script = await new UserAgent().request('GET', `${origin}/api/v1/user`, {
            headers: { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' },
          });
          t.equal(script.status, 401);
          t.equal(
            script.headers['www-authenticate'],
            undefined,
            'a browser must not ask its user for a password',
          );
        },
      );

      t.test('with a token every tool gets in, as the owner of the token, and as nobody else', async (t) => {
        const token = forge.addToken('carol');
        const signedIn = await house.signIn('bob');
        for (const path of toolPaths) {
          for (const authorization of [
            `token ${token}`,
            `Bearer ${token}`,
            basic('carol', token),
            basic(token, ''),
            basic(token, 'x-oauth-basic'),
          ]) {
            for (const browser of [new UserAgent(), signedIn]) {
              const answer = await browser.request('GET', `${origin}${path}`, { headers: { authorization } });
              t.match(
                answer.json(),
                { user: 'carol', means: 'token' },
                `${path} ${authorization.slice(0, 8)}`,
              );
              t.strictSame(answer.setCookies, []);
            }
            t.equal(forge.seen.at(-1)?.headers.cookie, undefined);
            t.equal(forge.seen.at(-1)?.headers['x-webauth-user'], undefined);
          }
        }
        const key = await new UserAgent().request('PUT', `${origin}/api/packages/carol/nuget/`, {
          headers: { 'x-nuget-apikey': token },
        });
        t.match(key.json(), { user: 'carol', means: 'token' }, "NuGet's own header");
        await signedIn.request('GET', `${origin}/bob`, { headers: { 'x-nuget-apikey': token } });
        t.equal(
          forge.seen.at(-1)?.headers['x-nuget-apikey'],
          undefined,
          'which goes nowhere beside a session',
        );
      });

      t.test('identity headers spoofed beside a token, a runner secret, or nothing', async (t) => {
        const token = forge.addToken('carol');
        const from = forge.seen.length;
        const spoofed = {
          'x-webauth-user': 'alice',
          X_WEBAUTH_USER: 'alice',
          'x-webauth-email': 'alice@example.com',
          'x-sallyport-assertion': 'a.b.c',
          'x-forwarded-user': 'alice',
          'remote-user': 'alice',
          connection: 'close, authorization, x-webauth-fullname',
        };
        for (const path of [...toolPaths, ...everyAccess]) {
          for (const authorization of [undefined, `token ${token}`]) {
            await new UserAgent().request('GET', `${origin}${path}`, {
              headers: { ...spoofed, ...(authorization === undefined ? {} : { authorization }) },
            });
          }
        }
        const served = forge.seen.slice(from);
        t.ok(served.length >= toolPaths.length);
        for (const { headers, user, path } of served) {
          t.not(user, 'alice', path);
          t.notOk(
            Object.values(headers).some((value) => String(value).includes('alice') || value === 'a.b.c'),
            path,
          );
        }
      });

      t.test('two Authorization headers, one good and one junk, in either order', async (t) => {
        const token = forge.addToken('carol');
        const from = forge.seen.length;
        const { host, port } = new URL(origin);
        for (const pair of [
          [`token ${token}`, 'Basic !!!'],
          ['Basic !!!', `token ${token}`],
          [`token ${token}`, basic('alice', phished)],
          [`token ${token}`, `token ${token}`],
        ]) {
          const lines = pair.map((value) => `Authorization: ${value}\r\n`).join('');
          const answer = await exchange(
            Number(port),
            `GET /api/v1/user HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${lines}\r\n`,
          );
          t.equal(answer.status, 401);
        }
        t.equal(forge.seen.length, from);
      });

      t.test(
        'token minting: with a password, a token, a stolen cookie, or a session that lacks AAL2',
        async (t) => {
          const token = forge.addToken('carol');
          const minted = forge.tokens.size;
          const weak = await house.signIn('erin', { source: 'lax', amr: ['pwd'] });
          t.match(
            (await weak.request('GET', `${origin}/erin`)).json(),
            { user: 'erin' },
            'signed in, at AAL1',
          );
          for (const spelling of [
            '/api/v1/users/erin/tokens',
            '//api/v1//users/erin/tokens/',
            '/api/v1/users/erin%2Ftokens',
            '/api/v1;x/users/erin/tokens',
            '/%61pi/v1/users/erin/token%73',
          ]) {
            const tries: readonly [UserAgent, Record<string, string>][] = [
              [new UserAgent(), { authorization: basic('alice', phished) }],
              [new UserAgent(), { authorization: `token ${token}` }],
              [new UserAgent(), { authorization: basic('carol', token) }],
              [new UserAgent(), { cookie: `i_like_gitea=${forge.addSession('alice')}` }],
              [new UserAgent(), {}],
              [weak, {}],
              [weak, { authorization: `token ${token}` }],
            ];
            for (const [browser, headers] of tries) {
              const answer = await browser.request('POST', `${origin}${spelling}`, { headers, from: origin });
              t.ok([401, 403].includes(answer.status), `${spelling}: ${answer.status}`);
            }
          }
          for (const path of ['/api/v1/user/keys', '/api/v1/user/applications/oauth2']) {
            t.equal((await weak.request('POST', `${origin}${path}`, { from: origin })).status, 401, path);
          }
          t.equal(forge.tokens.size, minted);
          const strong = await house.signIn('carol');
          const page = await strong.request('POST', `${origin}/api/v1/users/carol/tokens`, {
            headers: { 'sec-fetch-site': 'same-origin' },
          });
          t.equal(page.status, 201, 'a fresh AAL2 session may');
        },
      );

      t.test("the forge's own ways in: login form, registration, password reset, its inside", async (t) => {
        const signedIn = await house.signIn('bob');
        const from = forge.seen.length;
        const form = new URLSearchParams({ user_name: 'alice', password: phished }).toString();
        for (const path of [
          '/user/login',
          '/user/login/openid',
          '/user/sign_up',
          '/user/forgot_password',
          '/user/recover_account',
          '/user/two_factor',
          '/user/webauthn/assertion',
          '/user/oauth2/idp',
          '/user/link_account',
          '/user/link_account_signin',
          '/install',
          '/api/internal/hook',
          '/metrics',
          '//user//login/',
          '/user/%6cogin',
          '/user/login;x',
          '/user%2Flogin',
        ]) {
          for (const browser of [new UserAgent(), signedIn]) {
            const options = {
              body: form,
              headers: { 'content-type': 'application/x-www-form-urlencoded' },
              from: origin,
            };
            t.equal((await browser.request('POST', `${origin}${path}`, options)).status, 403, path);
            t.equal((await browser.request('GET', `${origin}${path}`)).status, 403, path);
          }
        }
        t.equal(forge.seen.length, from, 'none of it gets there');
        const login = await new UserAgent().request('GET', `${origin}/user/login?redirect_to=/x`, {
          navigate: true,
        });
        t.match(login.location, /\/_sallyport\/signin\?/, 'a person who lands there is helped along');
        t.equal(
          (await signedIn.request('GET', `${origin}/user/login`, { navigate: true })).location,
          `${origin}/`,
        );
      });

      t.test(
        'machines with their own authentication get through to it, without anything of a session',
        async (t) => {
          const browser = await house.signIn('bob');
          const runner = await browser.request(
            'POST',
            `${origin}/api/actions/runner.v1.RunnerService/FetchTask`,
            {
              headers: { 'x-runner-token': 'runner-secret' },
            },
          );
          t.match(runner.json(), { means: 'runner' });
          t.equal(forge.seen.at(-1)?.headers.cookie, undefined);
          t.equal(forge.seen.at(-1)?.headers['x-webauth-user'], undefined);
          const client = basic('client-id', 'client-secret');
          const oauth = await new UserAgent().request('POST', `${origin}/login/oauth/access_token`, {
            headers: { authorization: client },
          });
          t.strictSame(oauth.json(), { authorization: client });
          t.strictSame([...runner.setCookies, ...oauth.setCookies], []);
          t.match((await new UserAgent().request('GET', `${origin}/assets/x.css`)).json(), {
            asset: '/assets/x.css',
          });
        },
      );

      t.test(
        "signing out in the forge ends Sallyport's session, and the IdP's where a person asks",
        async (t) => {
          const browser = await house.signIn('bob');
          const cookie = browser.cookie(origin, 'sallyport') ?? '';
          const out = await browser.request('GET', `${origin}/user/logout`, { navigate: true, from: origin });
          t.equal(out.status, 303);
          t.match(
            out.location,
            new RegExp(`^${op.issuer}`),
            'to the IdP, and not where the forge would sign in again',
          );
          t.match(out.location, /id_token_hint=/);
          t.equal(browser.cookie(origin, 'sallyport'), undefined);
          t.equal(browser.cookie(origin, 'i_like_gitea'), undefined);
          browser.setCookie(origin, `sallyport=${cookie}; Path=/`);
          t.equal((await browser.request('GET', `${origin}/_sallyport/whoami`)).status, 401, 'for good');
          t.match(house.sallyport.audit.lines().at(-1), { action: 'session.ended', why: 'signout' });
          const again = await browser.request('GET', `${origin}/user/logout`, { navigate: true });
          t.equal(again.location, `${origin}/_sallyport/signed-out`, 'and twice is no sign-in');

          const script = await house.signIn('bob');
          const answer = await script.request('POST', `${origin}/user/logout`, {
            headers: { 'x-requested-with': 'fetch', 'sec-fetch-site': 'same-origin' },
          });
          t.strictSame(
            [answer.status, answer.json()],
            [200, { redirect: '/' }],
            "a script gets the forge's answer",
          );
          t.equal(script.cookie(origin, 'sallyport'), undefined);
          t.equal((await script.request('GET', `${origin}/_sallyport/whoami`)).status, 401);
          const form = await house.signIn('bob');
          const posted = await form.request('POST', `${origin}/user/logout`, {
            navigate: true,
            from: origin,
            body: '',
          });
          t.equal(posted.status, 303);
          t.match(posted.location, new RegExp(`^${op.issuer}`));
        },
      );

      t.test(
        'another site signs its visitors out, by link, image or form; a sign-out that fails',
        async (t) => {
          const browser = await house.signIn('bob');
          const from = forge.seen.length;
          for (const site of ['cross-site', 'same-site']) {
            for (const method of ['GET', 'POST', 'HEAD']) {
              const answer = await browser.request(method, `${origin}/user/logout`, {
                headers: { 'sec-fetch-site': site },
              });
              t.equal(answer.status, 403, `${method} ${site}`);
            }
          }
          for (const dest of ['image', 'iframe']) {
            const answer = await browser.request('GET', `${origin}/user/logout`, {
              headers: { 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': dest },
            });
            t.equal(answer.status, 403, `${dest} in an issue`);
          }
          t.equal(forge.seen.length, from);
          const failed = await browser.request('POST', `${origin}/user/logout`, {
            body: 'fail=1',
            headers: { 'sec-fetch-site': 'same-origin' },
          });
          t.equal(failed.status, 500);
          t.match((await browser.request('GET', `${origin}/bob`)).json(), { user: 'bob' }, 'signed in still');
        },
      );
    },
  );
}

t.test('Redis down: tokens and machines go on, sessions do not', async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  const { origin, forge, signIn } = await furnish(t, 'header_first', {
    redis: { url: redis.url },
  });
  const browser = await signIn('bob');
  const token = forge.addToken('carol');
  await redis.stop();
  await until(async () => (await browser.request('GET', `${origin}/bob`)).status === 503, 'the outage shows');
  const withCookie = (path: string, headers: Record<string, string>) =>
    browser.request('GET', `${origin}${path}`, { headers });
  for (const path of toolPaths)
    t.match((await withCookie(path, { authorization: `token ${token}` })).json(), { user: 'carol' }, path);
  t.match((await withCookie('/api/actions/x', { 'x-runner-token': 'runner-secret' })).json(), {
    means: 'runner',
  });
  t.equal((await withCookie('/api/v1/user', {})).status, 503);
  t.equal((await withCookie('/api/v1/user', { authorization: basic('alice', phished) })).status, 401);
  const logout = await browser.request('GET', `${origin}/user/logout`, { navigate: true });
  t.equal(logout.status, 503);
  t.strictSame(logout.setCookies, [], 'nobody is signed out, and no cookie is cleared');
});
