import { Writable } from 'node:stream';
import t from 'tap';
import { checkCommand } from '../../src/commands/check.ts';
import { freePort } from '../support/ports.ts';
import { adminName, startForge, type Forge } from './forge.ts';

class TextSink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

async function check(url: string, ...args: string[]) {
  const [stdout, stderr] = [new TextSink(), new TextSink()];
  const status = await checkCommand.run(['--direct', url, ...args], { stdout, stderr, env: {} });
  return { status, out: stdout.text };
}

t.test(
  'the attack: a forge that listens where others reach it, and a header that says who you are',
  async (t) => {
    const port = await freePort();
    const tcp = { host: '127.0.0.1', port };
    const forge = await startForge({
      rootUrl: 'http://127.0.0.1',
      tcp,
      // What its documentation offers against this; it guards X-Forwarded-For alone.
      ini: { security: { REVERSE_PROXY_TRUSTED_PROXIES: '192.0.2.1/32', REVERSE_PROXY_LIMIT: '1' } },
    });
    t.teardown(() => forge.stop());
    const url = `http://127.0.0.1:${port}`;

    t.test('check --direct finds it, REVERSE_PROXY_TRUSTED_PROXIES notwithstanding', async (t) => {
      const { status, out } = await check(url);
      t.equal(status, 1);
      t.match(out, /fail .*\/user\/settings: a spoofed identity header was believed/);
      const name = /sallyport-check-[0-9a-f]{8}/.exec(out)?.[0] ?? '';
      const account = await forge.direct({
        path: `/api/v1/users/${name}`,
        headers: { 'x-webauth-user': adminName },
      });
      t.equal(account.status, 200, 'and says which account the forge has made of it');
    });

    t.test('also where the forge registers nobody by itself, once an account is named', async (t) => {
      const strict = await startForge({
        rootUrl: 'http://127.0.0.1',
        tcp: { host: '127.0.0.1', port: await freePort() },
        ini: { service: { ENABLE_REVERSE_PROXY_AUTO_REGISTRATION: 'false' } },
      });
      t.teardown(() => strict.stop());
      t.equal((await check(strict.url, '--as', adminName)).status, 1);
    });

    t.test('a Unix socket answers nobody on the network', async (t) => {
      const hidden = await startForge({ rootUrl: 'http://127.0.0.1' });
      t.teardown(() => hidden.stop());
      const { status, out } = await check(`http://127.0.0.1:${await freePort()}`);
      t.equal(status, 0);
      t.match(out, /can't be reached/);
    });
  },
);

t.test('what docs/forgejo.md says of the forge is so', async (t) => {
  const forge = await startForge({ rootUrl: 'http://127.0.0.1' });
  t.teardown(() => forge.stop());
  const as = (headers: Record<string, string>, path = '/api/v1/user') => forge.direct({ path, headers });
  /** It sets its cookie twice, the second time with a new id: browsers keep that one. */
  const sessionCookie = ({ setCookies }: { readonly setCookies: readonly string[] }) =>
    setCookies
      .filter((line) => line.startsWith('i_like_gitea='))
      .at(-1)
      ?.split(';', 1)[0] ?? '';
  const loginIn = (body: string) => (JSON.parse(body) as { login?: string }).login;

  t.test('user names are trimmed and folded', async (t) => {
    t.equal((await as({ 'x-webauth-user': 'alice', 'x-webauth-email': 'alice@example.com' })).status, 200);
    t.equal(loginIn((await as({ 'x-webauth-user': 'ALICE' })).body), 'alice');
    t.equal(loginIn((await as({ 'x-webauth-user': '  Alice ' })).body), 'alice');
  });

  t.test('an unknown or unusable user name falls back to the email: the email signs in', async (t) => {
    const answer = await as({ 'x-webauth-user': 'not@usable', 'x-webauth-email': 'alice@example.com' });
    t.equal(loginIn(answer.body), 'alice');
  });

  t.test('a name with @ is not registered', async (t) => {
    const answer = await as({ 'x-webauth-user': 'bob@example.com', 'x-webauth-email': 'bob@example.com' });
    t.not(answer.status, 200);
  });

  t.test('the first user that a header brings to an empty forge', async (t) => {
    const empty = await startForge({ rootUrl: 'http://127.0.0.1', empty: true });
    t.teardown(() => empty.stop());
    const answer = await empty.direct({ path: '/api/v1/user', headers: { 'x-webauth-user': 'first' } });
    t.equal(answer.status, 200);
    t.comment(`is an administrator: ${String((JSON.parse(answer.body) as { is_admin: boolean }).is_admin)}`);
  });

  t.test('header sign-in mints a cookie that works without the header', async (t) => {
    const given = await as({ 'x-webauth-user': 'alice' }, '/user/settings');
    const cookie = sessionCookie(given);
    t.match(cookie, /^i_like_gitea=./);
    t.equal((await as({ cookie }, '/user/settings')).status, 200);
    const junk = await as({ cookie, authorization: 'Basic !!!' }, '/user/settings');
    t.equal(junk.status, 200, 'also beside an Authorization that makes no sense');
  });

  t.test(
    'a user renames the account by hand, though the form greys it out, unless change_username is disabled',
    async (t) => {
      const rename = async (forge: Forge, from: string, to: string) => {
        await forge.direct({ path: '/', headers: { 'x-webauth-user': from } });
        await forge.direct({
          method: 'POST',
          path: '/user/settings',
          headers: { 'x-webauth-user': from, 'content-type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({ name: to, visibility: '0' }).toString(),
        });
        const found = await forge.direct({
          path: `/api/v1/users/${to}`,
          headers: { 'x-webauth-user': adminName },
        });
        return found.status === 200;
      };
      t.notOk(await rename(forge, 'mallory', 'victim'));
      const lax = await startForge({
        rootUrl: 'http://127.0.0.1',
        ini: { admin: { USER_DISABLED_FEATURES: '' } },
      });
      t.teardown(() => lax.stop());
      t.ok(
        await rename(lax, 'mallory', 'victim'),
        'Victim would now sign in to an account that Mallory has tokens of',
      );
    },
  );

  t.test('the header comes before the cookie', async (t) => {
    const given = await as({ 'x-webauth-user': 'alice' }, '/user/settings');
    const cookie = sessionCookie(given);
    const page = await as({ cookie, 'x-webauth-user': 'carol' }, '/');
    t.match(page.body, /Signed in as <strong>carol/i);
  });

  t.test('repeated and trailing slashes are the same page to it', async (t) => {
    for (const path of ['//user///settings', '/user/settings/', '/user/settings//']) {
      t.equal((await as({ 'x-webauth-user': 'alice' }, path)).status, 200, path);
    }
  });

  t.test('ENABLE_BASIC_AUTHENTICATION = false refuses passwords and takes tokens', async (t) => {
    await forge.createUser('dave', { password: 'A-local-password-1' });
    const basic = (secret: string) => `Basic ${Buffer.from(`dave:${secret}`).toString('base64')}`;
    t.not((await as({ authorization: basic('A-local-password-1') })).status, 200);
    t.equal((await as({ authorization: basic(await forge.createToken('dave')) })).status, 200);
  });
});
