import { fileURLToPath } from 'node:url';
import t from 'tap';
import { findProgram } from '../setup/programs.ts';
import { hostileTargets } from '../support/hostile-targets.ts';
import { resources, walkHostileTargets } from '../support/hostile-walk.ts';
import { startGoTree } from '../support/path-upstreams.ts';
import { exchange } from '../support/raw-http.ts';
import { adminName, type Forge } from './forge.ts';
import { startStage } from './stage.ts';

const go = findProgram('go', `${process.env['PATH'] ?? ''}:/usr/local/go/bin`);

if (go !== undefined) {
  const source = fileURLToPath(new URL('./path-tree.go', import.meta.url));
  t.test('Go’s net/http and its ServeMux', async (t) =>
    walkHostileTargets(t, await startGoTree(go, source, resources)),
  );
}

/** What is closed at a forge, an open path that an attacker would start from, and how the forge shows that it served it. */
const closed: readonly (readonly [path: string, open: string, sign: RegExp])[] = [
  ['/metrics', '/assets', /^gitea_users/m],
  ['/user/sign_up', '/assets', /<title>Register|name="retype"/],
  ['/user/login', '/assets', /<form[^>]*action="\/user\/login"|name="user_name"/],
  ['/user/forgot_password', '/assets', /<title>Forgot Password|forgot_password/i],
  ['/-/admin', '/v2', /<title>[^<]*(Dashboard|Admin)[^<]*- Forge|site_administration|Site Administration</],
  ['/user/settings/applications', '/assets', /<title>Applications/],
  ['/user/settings/keys', '/api', /<title>SSH/],
  ['/api/v1/admin/users', '/v2', /"login_name"/],
  ['/api/v1/admin/users', '/assets', /"login_name"/],
  ['/api/internal/healthcheck', '/api', /pass/],
];

t.test('a real forge', async (t) => {
  const stage = await startStage({
    forge: {
      ini: {
        service: { DISABLE_REGISTRATION: 'false', ENABLE_PASSWORD_SIGNIN_FORM: 'true' },
        metrics: { ENABLED: 'true' },
      },
    },
    // A session at AAL1, of one of the forge's administrators: only the routes keep the keys from it.
    mode: 'carry_over',
  });
  t.teardown(() => stage.close());
  const port = Number(new URL(stage.origin).port);
  const weak = await stage.signIn('mallory', { login: { amr: ['pwd'] } });
  await stage.forge.cli(
    'admin',
    'user',
    'change-password',
    '--username',
    'mallory',
    '--password',
    'A-local-password-1',
    '--must-change-password=false',
  );
  await makeAdministrator(stage.forge, 'mallory');
  const token = await stage.forge.createToken('mallory', 'read:user');
  const attackers: readonly (readonly [name: string, headers: string])[] = [
    ['nobody', ''],
    ['a token of narrow scope', `authorization: token ${token}\r\n`],
    ['an administrator at AAL1', `cookie: sallyport=${weak.cookie(stage.origin, 'sallyport') ?? ''}\r\n`],
  ];
  const direct = { path: stage.forge.url.replace(/^unix:/, '') };
  const send = (to: number | { path: string }, target: string, headers: string) =>
    exchange(to, `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: close\r\n${headers}\r\n`);

  for (const [path, open, sign] of closed) {
    t.test(`${path}, from ${open}`, async (t) => {
      const targets = hostileTargets(open, path);
      t.ok(targets.length >= 150, `${targets.length} targets`);
      let dangerous = 0;
      const wrong: string[] = [];
      for (const { target, trick } of targets) {
        // As the forge would serve it to the administrator, or to nobody, had Sallyport let it through.
        for (const headers of ['', 'x-webauth-user: mallory\r\n']) {
          if (sign.test((await send(direct, target, headers)).body.toString())) {
            dangerous += 1;
            break;
          }
        }
        for (const [name, headers] of attackers) {
          const { body, status } = await send(port, target, headers);
          if (status < 300 && sign.test(body.toString()))
            wrong.push(`${name}: ${JSON.stringify(target)} (${trick}): ${status}`);
        }
      }
      t.strictSame(wrong, []);
      t.comment(`${targets.length} targets; the forge would serve ${dangerous} of them`);
      if (path !== '/api/internal/healthcheck')
        t.ok(dangerous > 0, 'some of them would be served by the forge');
    });
  }
});

/** By the forge's own API, as its administrator. */
async function makeAdministrator(forge: Forge, name: string): Promise<void> {
  const answer = await forge.direct({
    method: 'PATCH',
    path: `/api/v1/admin/users/${name}`,
    headers: { 'x-webauth-user': adminName, 'content-type': 'application/json' },
    body: JSON.stringify({ admin: true, login_name: name, source_id: 0 }),
  });
  if (answer.status !== 200) throw new Error(`${answer.status}: ${answer.body}`);
}
