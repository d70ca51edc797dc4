import { spawn, spawnSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { commandNames, dispatch } from '../../src/commands/index.ts';

async function run(...args: readonly string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const status = await dispatch(args, { stdout, stderr, env: {} });
  const read = (stream: PassThrough): string => String(stream.read() ?? '');
  return { status, stdout: read(stdout), stderr: read(stderr) };
}

const main = ['--import=tsx', 'src/main.ts'];
const env = { PATH: process.env['PATH'] ?? '' };

t.test('help names every command', async (t) => {
  t.same(commandNames, [
    'serve',
    'check',
    'explain',
    'canary',
    'status',
    'sessions',
    'users',
    'reload',
    'schema',
    'demo',
    'version',
  ]);
  for (const spelling of ['--help', '-h', 'help']) {
    const { status, stdout, stderr } = await run(spelling);
    t.equal(status, 0);
    for (const name of commandNames) t.match(stdout, new RegExp(`^ {2}${name} +\\S`, 'm'));
    t.equal(stderr, '');
  }
});

t.test('no command, or one that does not exist, shows the usage and ends with 2', async (t) => {
  for (const args of [[], ['nope'], ['--port'], ['constructor'], ['Serve']]) {
    const { status, stdout, stderr } = await run(...args);
    t.equal(status, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, 'Usage: sallyport');
  }
});

t.test('a mistyped command cannot steer the terminal', async (t) => {
  const { stderr } = await run('\u001b[2J');
  t.notMatch(stderr, '\u001b');
});

for (const name of commandNames) {
  t.test(`${name} --help tells about ${name} and does nothing else`, async (t) => {
    for (const args of [
      [name, '--help'],
      [name, '-h'],
      [name, '--config', 'missing.yaml', '--help'],
    ]) {
      const { status, stdout, stderr } = await run(...args);
      t.equal(status, 0);
      t.match(stdout, `sallyport ${name}`);
      t.equal(stderr, '');
    }
  });

  t.test(`${name} refuses an option that it does not know`, async (t) => {
    const { status, stdout, stderr } = await run(name, '--no-such-option');
    t.equal(status, 2);
    t.equal(stdout, '');
    t.match(stderr, 'no-such-option');
    t.match(stderr, `Usage: sallyport ${name}`);
  });
}

t.test('serve without a configuration ends with 2', async (t) => {
  t.equal((await run('serve')).status, 2);
  t.equal((await run('serve', '--config', 'no/such/file.yaml')).status, 2);
});

t.test('version says which Sallyport on which Node', async (t) => {
  t.match(
    (await run('version')).stdout,
    new RegExp(`^sallyport \\d+\\.\\d+\\.\\d+ \\(node ${process.versions.node}\\)\n$`),
  );
  t.match(JSON.parse((await run('version', '--json')).stdout), {
    sallyport: /^\d/,
    node: process.versions.node,
  });
  t.equal((await run('--version')).stdout, (await run('version')).stdout);
});

t.test("the exit status is the process's own", (t) => {
  t.equal(spawnSync(process.execPath, [...main, 'version'], { env }).status, 0);
  t.equal(spawnSync(process.execPath, [...main, 'nope'], { env }).status, 2);
  t.end();
});

t.test('a reader that went away is no reason to fall over', async (t) => {
  const child = spawn(process.execPath, [...main, '--help'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('utf8')));
  const status = await new Promise((resolve) => child.once('close', resolve));
  t.equal(status, 0);
  t.equal(errors, '');
});
