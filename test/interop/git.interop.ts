import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { askAsTool, basic, startStage } from './stage.ts';

const execute = promisify(execFile);
const mebibyte = 1024 * 1024;

t.test('git and git-lfs, through Sallyport to a real forge', async (t) => {
  const stage = await startStage();
  t.teardown(() => stage.close());
  const { origin, forge } = stage;
  const folder = t.testdir();
  const home = join(folder, 'home');
  mkdirSync(home);
  const asked = join(folder, 'asked');
  // Git asks this program; it writes down the question and knows no answer.
  const askpass = join(folder, 'askpass');
  writeFileSync(askpass, `#!/bin/sh\necho "$1" >> ${asked}\necho\n`);
  chmodSync(askpass, 0o755);
  const env = {
    PATH: process.env['PATH'],
    HOME: home,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: askpass,
    GIT_AUTHOR_NAME: 'Alice',
    GIT_AUTHOR_EMAIL: 'alice@example.com',
    GIT_COMMITTER_NAME: 'Alice',
    GIT_COMMITTER_EMAIL: 'alice@example.com',
    GIT_TRACE_CURL: join(folder, 'trace'),
    GIT_TRACE_CURL_NO_DATA: '1',
    GIT_TRACE_REDACT: '1',
  };
  const git = async (cwd: string, ...args: string[]) => {
    const { stdout, stderr } = await execute('git', args, { cwd, env, maxBuffer: 64 * mebibyte });
    return stdout + stderr;
  };
  const fails = async (cwd: string, ...args: string[]) =>
    git(cwd, ...args).then(
      () => 'it succeeded',
      (error: unknown) => String((error as { stderr?: string }).stderr ?? error),
    );

  await stage.signIn('alice');
  const token = await forge.createToken('alice');
  const created = await askAsTool(
    origin,
    'POST',
    '/api/v1/user/repos',
    { authorization: `token ${token}`, 'content-type': 'application/json' },
    JSON.stringify({ name: 'big', private: true }),
  );
  t.equal(created.status, 201, 'a repository by API');
  const plainUrl = `${origin}/alice/big.git`;
  const url = plainUrl.replace('http://', `http://alice:${token}@`);

  const work = join(folder, 'work');
  t.test('push, clone, fetch: 200 MiB with a personal access token', async (t) => {
    await git(folder, 'init', '-q', '-b', 'main', work);
    await git(work, 'config', 'gc.auto', '0');
    for (let part = 0; part < 8; part += 1)
      writeFileSync(join(work, `part-${part}`), randomBytes(25 * mebibyte));
    await git(work, 'add', '.');
    await git(work, 'commit', '-qm', 'random data');
    const startedAt = performance.now();
    await git(work, 'push', '-q', url, 'main');
    const pushedAt = performance.now();
    await git(folder, 'clone', '-q', url, 'copy');
    t.comment(
      `push ${Math.round(pushedAt - startedAt)} ms, clone ${Math.round(performance.now() - pushedAt)} ms`,
    );
    const hash = (at: string) =>
      createHash('sha256')
        .update(readFileSync(join(at, 'part-5')))
        .digest('hex');
    t.equal(hash(join(folder, 'copy')), hash(work), 'the same bytes come back');

    writeFileSync(join(work, 'more'), 'more\n');
    await git(work, 'add', '.');
    await git(work, 'commit', '-qm', 'more');
    await git(work, 'push', '-q', url, 'main');
    await git(join(folder, 'copy'), 'pull', '-q');
    t.equal(readFileSync(join(folder, 'copy', 'more'), 'utf8'), 'more\n');
    t.notOk(existsSync(asked), 'git never had to ask');
  });

  t.test('the token as the user name, and as a Bearer token, do as well', async (t) => {
    const asName = plainUrl.replace('http://', `http://${token}:x-oauth-basic@`);
    t.match(await git(folder, 'ls-remote', asName), /refs\/heads\/main/);
    const header = `http.extraHeader=Authorization: Bearer ${token}`;
    t.match(await git(folder, '-c', header, 'ls-remote', plainUrl), /refs\/heads\/main/);
  });

  t.test('without a credential git is asked for one, and never redirected', async (t) => {
    const said = await fails(folder, 'clone', plainUrl, 'never');
    t.match(readFileSync(asked, 'utf8'), /^Username for 'http:\/\/127\.0\.0\.1/);
    t.notMatch(said, /redirect|html/i, 'no page was taken for a repository');
    for (const path of [
      '/alice/big/info/refs?service=git-upload-pack',
      '/alice/big.git/info/refs?service=git-receive-pack',
      '/alice/nothing-there.git/info/refs?service=git-upload-pack',
      '/alice/big.git/HEAD',
      '/alice/big.git/objects/info/packs',
    ]) {
      const answer = await askAsTool(origin, 'GET', path);
      t.equal(answer.status, 401, path);
      t.match(answer.headers['www-authenticate'], /^Basic /, path);
    }
    t.notMatch(readFileSync(env.GIT_TRACE_CURL, 'utf8'), /HTTP\/1\.1 30\d/, 'in all of git’s traffic');
  });

  t.test("the account's password is refused, and git shows why", async (t) => {
    const password = 'A-local-password-1';
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
    const said = await fails(
      folder,
      'clone',
      plainUrl.replace('http://', `http://alice:${password}@`),
      'never',
    );
    t.match(said, /Authentication failed|could not read/i);
    const answer = await askAsTool(origin, 'GET', '/alice/big.git/info/refs?service=git-upload-pack', {
      authorization: basic('alice', password),
    });
    t.equal(answer.status, 401);
    t.match(answer.headers['www-authenticate'], /^Basic /);
    const told = answer.body;
    t.match(told, /password/i, 'the message says what is wrong');
    t.match(told, /token/i, 'and what to use instead');
    t.match(said, /remote: .*token/i, 'and git prints it');
  });

  t.test('a token that the forge does not know gets the forge’s own answer', async (t) => {
    const wrong = 'f'.repeat(40);
    const answer = await askAsTool(origin, 'GET', '/alice/big.git/info/refs?service=git-upload-pack', {
      authorization: basic('alice', wrong),
    });
    t.equal(answer.status, 401);
    t.match(answer.headers['www-authenticate'], /Gitea|Forgejo/, 'by the forge');
    t.match(
      await fails(folder, 'ls-remote', plainUrl.replace('http://', `http://alice:${wrong}@`)),
      /Authentication failed/,
    );
  });

  t.test('LFS objects go up and come down', async (t) => {
    await git(work, 'lfs', 'install', '--local');
    await git(work, 'remote', 'add', 'origin', url);
    await git(work, 'lfs', 'track', '*.bin');
    writeFileSync(join(work, 'large.bin'), randomBytes(20 * mebibyte));
    await git(work, 'add', '.');
    await git(work, 'commit', '-qm', 'a large file');
    t.match(await git(work, 'show', 'HEAD:large.bin'), /^version https:\/\/git-lfs/);
    await git(work, 'push', '-q', 'origin', 'main');
    await git(folder, 'clone', '-q', url, 'with-lfs');
    await git(join(folder, 'with-lfs'), 'lfs', 'install', '--local');
    await git(join(folder, 'with-lfs'), 'lfs', 'pull');
    t.ok(
      readFileSync(join(folder, 'with-lfs', 'large.bin')).equals(readFileSync(join(work, 'large.bin'))),
      'the same bytes',
    );
    const batch = await askAsTool(
      origin,
      'POST',
      '/alice/big.git/info/lfs/objects/batch',
      { 'content-type': 'application/vnd.git-lfs+json', accept: 'application/vnd.git-lfs+json' },
      '{}',
    );
    t.equal(batch.status, 401, 'and nobody without a token');
  });
});
