import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import t from 'tap';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

/** A child `sallyport demo`, and all that it has said so far. */
interface Child {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly errors: () => string;
  readonly exit: Promise<number | null>;
}

function start(args: readonly string[], nodeOptions: readonly string[] = []): Child {
  const process_ = spawn(process.execPath, ['--import=tsx', ...nodeOptions, 'src/main.ts', 'demo', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Without the runner's own variables: this is a program of its own.
    env: { PATH: process.env['PATH'] ?? '' },
  });
  let output = '';
  let errors = '';
  process_.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  process_.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('utf8')));
  const exit = new Promise<number | null>((resolve) => process_.once('close', resolve));
  t.teardown(() => process_.kill('SIGKILL'));
  return { process: process_, output: () => output, errors: () => errors, exit };
}

const addressOf = async (child: Child): Promise<string> =>
  until(() => /Open {2}(http:\/\/localhost:\d+)\n/.exec(child.output())?.[1], 'the address', 30_000);

t.test(
  'the demo prints its address, audits a refused sign-in in the terminal, and ends on Ctrl-C',
  async (t) => {
    const child = start(['--port', '0']);
    const origin = await addressOf(child);
    for (const path of ['whoami', 'status', 'canary/demo'])
      t.match(child.output(), `${origin}/_sallyport/${path}`, 'it says where to look');
    const agent = new UserAgent();
    const { last: chooser } = await agent.follow(`${origin}/`);
    const { last: page } = await agent.follow(chooser.url, {
      method: 'POST',
      body: 'user=bob',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      from: chooser.url,
    });
    t.equal(page.status, 403);
    t.match(page.body, 'MFA was not asserted');
    t.notOk(agent.cookie(origin, 'sallyport'));
    await until(() => child.output().includes('tenant.auth_policy.oidc_mfa.rejected'), 'the audit line');
    t.match(child.output(), /REFUSED: MFA was not asserted – .*bob@demo\.example/);
    t.match(child.output(), /observed +\{"amr":\["pwd"\]/);

    child.process.kill('SIGINT');
    t.equal(await child.exit, 0);
    t.match(child.output(), 'The demo is over');
    await t.rejects(agent.request('GET', `${origin}/`), { code: 'ECONNREFUSED' });
  },
);

t.test('a connection that a browser keeps open does not hold the demo', async (t) => {
  const child = start(['--port', '0']);
  const origin = await addressOf(child);
  const kept = await fetch(`${origin}/_sallyport/jwks.json`, { headers: { connection: 'keep-alive' } });
  await kept.text();
  child.process.kill('SIGTERM');
  t.equal(await child.exit, 0);
});

t.test('a port that is asked for and taken is said to be', async (t) => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const address = other.address();
  const port = String(typeof address === 'object' ? address?.port : '');
  const child = start(['--port', port]);
  t.equal(await child.exit, 1);
  t.match(child.errors(), `port ${port} is taken`);
  await new Promise((resolve) => other.close(resolve));
});

t.test('a port that is none is a usage fault', async (t) => {
  const child = start(['--port', 'http']);
  t.equal(await child.exit, 2);
  t.match(child.errors(), '--port takes a number');
});

t.test('without the optional identity provider, one clear line says what to install', async (t) => {
  // Resolves the package as if it had never been installed.
  const hooks = `export async function resolve(specifier, context, next) {
    if (specifier !== 'oidc-provider') return next(specifier, context);
    throw Object.assign(new Error("Cannot find package 'oidc-provider' imported from x"), { code: 'ERR_MODULE_NOT_FOUND' });
  }`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))});`;
  const child = start(['--port', '0'], [`--import=${dataUrl(register)}`]);
  t.equal(await child.exit, 1);
  t.match(child.errors(), 'oidc-provider, which is not installed');
  t.match(child.errors(), 'npm install');
  t.notMatch(child.errors(), /^ +at /m, 'no stack');
});

function dataUrl(module: string): string {
  return `data:text/javascript,${encodeURIComponent(module)}`;
}
