import t from 'tap';
import { UserAgent } from '../support/user-agent.ts';
import { askAsTool, basic, loginOf, signedInAs, startStage } from './stage.ts';

const secret = 'what-only-alice-may-read';
const password = 'A-local-password-1';

/*
 * The forge is as badly set up as can be: passwords count everywhere, its login form and registration are open. What holds, holds by
 * Sallyport alone. Each attack is first shown to succeed against the forge itself.
 */
t.test('no second way into a real forge', async (t) => {
  const stage = await startStage({
    forge: {
      ini: {
        service: {
          ENABLE_BASIC_AUTHENTICATION: 'true',
          ENABLE_PASSWORD_SIGNIN_FORM: 'true',
          DISABLE_REGISTRATION: 'false',
        },
        metrics: { ENABLED: 'true' },
      },
    },
  });
  t.teardown(() => stage.close());
  const { origin, forge } = stage;
  const alice = await stage.signIn('alice');
  await forge.cli(
    'admin',
    'user',
    'change-password',
    '--username',
    'alice',
    '--password',
    password,
    '--must-change-password=false',
  );
  const token = await forge.createToken('alice');
  const json = { 'content-type': 'application/json' };
  const api = (path: string, body: unknown) =>
    askAsTool(
      origin,
      'POST',
      `/api/v1${path}`,
      { ...json, authorization: `token ${token}` },
      JSON.stringify(body),
    );
  t.equal(
    (await api('/user/repos', { name: 'vault', private: true, auto_init: true, default_branch: 'main' }))
      .status,
    201,
  );
  const content = Buffer.from(secret).toString('base64');
  t.equal((await api('/repos/alice/vault/contents/secret.txt', { content, message: 'secret' })).status, 201);

  /** Pages and resources of Alice's by access kind, and how the forge shows that it took the visitor for her. */
  const hers: readonly (readonly [kind: string, path: string, sign: RegExp])[] = [
    ['session', '/user/settings', /alice@example\.com|Alice Example/],
    ['session', '/alice/vault', /secret\.txt/],
    ['credentials', '/alice/vault/raw/branch/main/secret.txt', new RegExp(secret)],
    ['credentials', '/alice/vault/media/branch/main/secret.txt', new RegExp(secret)],
    ['credentials', '/alice/vault/info/refs?service=git-upload-pack', /refs\/heads\/main/],
    ['credentials', '/alice/vault.git/HEAD', /refs\/heads/],
    ['credentials', '/api/v1/user', /"login":"alice"/],
    ['credentials', '/api/v1/repos/alice/vault/contents/secret.txt', /"sha"/],
    ['credentials', '/v2/_catalog', /repositories/],
    ['upstream', '/login/oauth/userinfo', /alice/],
    ['session', '/avatars/nothing', /alice@example/],
    ['public', '/assets/nothing', /alice@example|Signed in as/],
    ['deny', '/user/sign_up', /name="password"|Register/],
  ];

  t.test(
    'the attack: a leftover forge cookie, alone and with junk in Authorization, on every access kind',
    async (t) => {
      const given = await forge.direct({ path: '/user/settings', headers: { 'x-webauth-user': 'alice' } });
      const cookie =
        given.setCookies
          .filter((line) => line.startsWith('i_like_gitea='))
          .at(-1)
          ?.split(';', 1)[0] ?? '';
      const straight = await forge.direct({ path: '/user/settings', headers: { cookie } });
      t.match(straight.body, /Alice Example/, 'past Sallyport this cookie is Alice');
      const junk = await forge.direct({
        path: '/user/settings',
        headers: { cookie, authorization: 'Basic !!!' },
      });
      t.match(junk.body, /Alice Example/, 'also beside an Authorization that makes no sense');

      const bob = await stage.signIn('bob');
      const bobs = `sallyport=${bob.cookie(origin, 'sallyport') ?? ''}`;
      const tagged = `i_like_gitea=${alice.cookie(origin, 'i_like_gitea') ?? ''}`;
      const authorizations = [
        undefined,
        'Basic',
        'Basic !!!',
        `Basic ${Buffer.from('no-colon').toString('base64')}`,
        'Bearer',
        'Bearer x',
        `Bearer ${'f'.repeat(40)}`,
        basic('nobody', 'f'.repeat(40)),
        `token ${'0'.repeat(40)}`,
        'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.',
        'Negotiate x',
        'Signature keyId="x"',
      ];
      for (const cookies of [
        cookie,
        tagged,
        `${bobs}; ${cookie}`,
        `${bobs}; ${tagged}`,
        `${cookie}; ${bobs}; ${tagged}`,
      ]) {
        for (const authorization of authorizations) {
          for (const [kind, path, sign] of hers) {
            const answer = await askAsTool(origin, 'GET', path, {
              cookie: cookies,
              ...(authorization === undefined ? {} : { authorization }),
            });
            const story = `${kind} ${path} with ${cookies.replace(/=[^;]*/g, '')} and ${String(authorization)}: ${answer.status}`;
            const opened = answer.status < 400 && sign.test(answer.body);
            // Bob may list what the registry has for him, which is nothing.
            t.notOk(opened && !(path === '/v2/_catalog' && answer.body.includes('[]')), story);
            t.not(signedInAs(answer.body), 'alice', story);
          }
        }
      }
    },
  );

  t.test('the attack: a phished password, on every path that takes one', async (t) => {
    const authorization = basic('alice', password);
    for (const [method, path, body] of [
      ['GET', '/api/v1/user', undefined],
      ['POST', '/api/v1/users/alice/tokens', '{"name":"mine","scopes":["all"]}'],
      ['GET', '/alice/vault/info/refs?service=git-upload-pack', undefined],
      ['GET', '/alice/vault.git/info/refs?service=git-receive-pack', undefined],
      ['POST', '/alice/vault.git/git-upload-pack', '0000'],
      ['POST', '/alice/vault.git/info/lfs/objects/batch', '{"operation":"download","objects":[]}'],
      ['GET', '/alice/vault/raw/branch/main/secret.txt', undefined],
      ['GET', '/alice/vault/archive/main.tar.gz', undefined],
      ['GET', '/v2/', undefined],
      ['GET', '/v2/token?service=container_registry&scope=*', undefined],
      ['PUT', '/api/packages/alice/generic/a/1/b', 'x'],
    ] as const) {
      const headers = { ...json, authorization };
      const straight = await forge.direct({ method, path, headers, ...(body === undefined ? {} : { body }) });
      t.ok(
        straight.status < 500 && straight.status !== 401,
        `the forge would take it: ${path}: ${straight.status}`,
      );
      const answer = await askAsTool(origin, method, path, headers, body);
      t.ok([401, 403].includes(answer.status), `${method} ${path}: ${answer.status}`);
      t.equal(answer.location, undefined, 'never redirected');
      t.notMatch(answer.body, new RegExp(secret));
      t.notMatch(answer.body, /"sha1"/);
    }
    const refused = await askAsTool(origin, 'GET', '/api/v1/user', { authorization });
    t.match(refused.body, /password/i, 'the message says why');
    t.match(refused.body, /token/i);

    const form = {
      'content-type': 'application/x-www-form-urlencoded',
      origin,
      'sec-fetch-site': 'same-origin',
    };
    const login = new URLSearchParams({ user_name: 'alice', password }).toString();
    for (const path of [
      '/user/login',
      '/user/link_account_signin',
      '/user/login/openid',
      '/user//login/',
      '/user/log%69n',
    ]) {
      const answer = await askAsTool(origin, 'POST', path, form, login);
      t.ok([401, 403].includes(answer.status), `POST ${path}: ${answer.status}`);
      t.strictSame(answer.setCookies, [], path);
    }
  });

  t.test('the attack: minting a lasting token with less than a fresh AAL2 sign-in', async (t) => {
    const mint = (headers: Record<string, string>) =>
      askAsTool(
        origin,
        'POST',
        '/api/v1/users/alice/tokens',
        { ...json, ...headers },
        '{"name":"by-session","scopes":["all"]}',
      );
    for (const [who, headers] of [
      ['nobody', {}],
      ['a token, which would beget tokens', { authorization: `token ${token}` }],
      ['a token by Basic', { authorization: basic('alice', token) }],
    ] as const) {
      const answer = await mint(headers);
      t.ok([401, 403].includes(answer.status), `${who}: ${answer.status}`);
    }
    const staleLogin = { authTime: Math.floor(Date.now() / 1000) - 2 * 3600 };
    const stale = await stage.signIn('alice', { login: staleLogin });
    const cookieOf = (browser: UserAgent) => ({
      cookie: `sallyport=${browser.cookie(origin, 'sallyport') ?? ''}`,
    });
    const old = await mint(cookieOf(stale));
    t.ok([401, 403].includes(old.status), `a sign-in two hours old: ${old.status}`);
    const elsewhere = await mint({
      ...cookieOf(alice),
      origin: 'https://evil.example',
      'sec-fetch-site': 'cross-site',
    });
    t.equal(elsewhere.status, 403, 'another site’s page');
    t.equal((await mint(cookieOf(await stage.signIn('alice')))).status, 201, 'a fresh sign-in with MFA may');
  });

  t.test('the attack: register, reset, recover, install, read the inside', async (t) => {
    const visitor = new UserAgent();
    for (const path of [
      '/user/sign_up',
      '/user/forgot_password',
      '/user/recover_account?code=x',
      '/user/two_factor',
      '/user/webauthn',
      '/user/oauth2/any',
      '/user/link_account',
      '/install',
      '/metrics',
      '/api/internal/healthcheck',
      '/api/internal/hook/pre-receive/alice/vault',
    ]) {
      for (const who of [visitor, alice]) {
        for (const method of ['GET', 'POST']) {
          const answer = await who.request(method, `${origin}${path}`, { headers: { origin } });
          t.equal(answer.status, 403, `${method} ${path}`);
        }
      }
    }
    t.equal((await forge.direct({ path: '/metrics' })).status, 200, 'the forge would show its metrics');
    t.equal((await forge.direct({ path: '/user/sign_up' })).status, 200, 'and register anybody');
    const login = await visitor.request('GET', `${origin}/user/login`, { navigate: true });
    t.match(login.location, /_sallyport\/signin/, 'who lands at its login form is helped along');
    const again = await alice.request('GET', `${origin}/user/login`, { navigate: true });
    t.equal(again.location, `${origin}/`, 'or home');
  });

  t.test('the attack: say who you are by a header of your own', async (t) => {
    for (const name of [
      'X-WEBAUTH-USER',
      'x_webauth_user',
      'X-Webauth-User',
      'X-WEBAUTH-EMAIL',
      'X-WEBAUTH-FULLNAME',
    ]) {
      const value = name.includes('EMAIL') ? 'alice@example.com' : 'alice';
      const bob = await stage.signIn('bob');
      const cookie = `sallyport=${bob.cookie(origin, 'sallyport') ?? ''}`;
      const own = await askAsTool(origin, 'GET', '/api/v1/user', { [name]: value, cookie });
      t.match(own.json(), { login: 'bob' }, name);
      t.equal((await askAsTool(origin, 'GET', '/api/v1/user', { [name]: value })).status, 401);
      const withToken = await askAsTool(origin, 'GET', '/api/v1/user', {
        [name]: value,
        authorization: `token ${'f'.repeat(40)}`,
      });
      t.not(withToken.status, 200, `${name} beside a token that is none`);
    }
  });

  t.test('the attack: one factor, where the policy wants two', async (t) => {
    const browser = new UserAgent();
    stage.op.nextLogin = { ...loginOf('alice'), amr: ['pwd'] };
    const { last } = await browser.follow(`${origin}/user/settings`);
    t.equal(last.status, 403);
    t.match(last.body, /MFA was not asserted/);
    t.equal((await browser.request('GET', `${origin}/api/v1/user`)).status, 401);
  });
});
