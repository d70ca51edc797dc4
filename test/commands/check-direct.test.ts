import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import t, { type Test } from 'tap';
import { checkCommand } from '../../src/commands/check.ts';
import { freePort } from '../support/ports.ts';

/*
 * The attack: reach the forge past Sallyport and say who you are. Against a real forge: test/interop/direct.interop.ts.
 */

class TextSink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

const env: Record<string, string> = {};

async function direct(url: string, ...args: string[]) {
  const [stdout, stderr] = [new TextSink(), new TextSink()];
  const status = await checkCommand.run(['--direct', url, ...args], { stdout, stderr, env });
  return { status, out: stdout.text, err: stderr.text };
}

async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const gitea = 'x-webauth-user';

t.test('an upstream that lets the spoofed user in is a failure', async (t) => {
  const url = await serve(t, (request, response) => {
    response.statusCode = request.headers[gitea] === undefined ? 303 : 200;
    response.end('settings');
  });
  const { status, out } = await direct(url);
  t.equal(status, 1);
  t.match(out, /fail .*spoofed identity header was believed: status 303 without it, 200 with it/);
  t.match(out, /account sallyport-check-[0-9a-f]{8} was made/);
});

t.test(
  'an upstream that greets the spoofed user by name is a failure, whichever family it reads',
  async (t) => {
    for (const header of ['remote-user', 'x-forwarded-user', 'x-webauth-user', 'x-forwarded-email']) {
      const url = await serve(t, (request, response) => {
        response.end(`Hello ${String(request.headers[header] ?? 'stranger')}`);
      });
      const { status, out } = await direct(url, '--as', 'alice', '--json');
      t.equal(status, 1, header);
      t.match(JSON.parse(out), { failed: 1, areas: [{ findings: [{ status: 'fail', message: /alice/ }] }] });
    }
  },
);

t.test('an upstream that can be reached and does not believe it is a warning', async (t) => {
  const url = await serve(t, (_, response) => {
    response.statusCode = 401;
    response.end('who are you?');
  });
  const { status, out } = await direct(url);
  t.equal(status, 0);
  t.match(out, /warn .*did not believe/);
});

t.test('what does not speak HTTP is a warning, not a clean bill', async (t) => {
  const url = await serve(t, (request) => request.socket.destroy());
  const { status, out } = await direct(url);
  t.equal(status, 0);
  t.match(out, /warn .*no answer that could be judged/);
});

t.test('an upstream that cannot be reached is what is wanted', async (t) => {
  const { status, out } = await direct(`http://127.0.0.1:${await freePort()}`);
  t.equal(status, 0);
  t.match(out, /ok .*can't be reached from here \(ECONNREFUSED\)/);
});

t.test('no configuration is needed, nor is a variable that is set to nothing one', async (t) => {
  // The image sets SALLYPORT_CONFIG; docker-compose.yml unsets it so for the service that asks from elsewhere.
  env['SALLYPORT_CONFIG'] = '';
  t.teardown(() => delete env['SALLYPORT_CONFIG']);
  const { status, err } = await direct(`http://127.0.0.1:${await freePort()}`);
  t.same({ status, err }, { status: 0, err: '' });
  const sink = new TextSink();
  t.equal(await checkCommand.run([], { stdout: sink, stderr: sink, env }), 2);
  t.match(sink.text, /no configuration: give --config FILE/);
});

t.test('what is no address of an upstream is a mistake in usage', async (t) => {
  for (const url of ['unix:/run/forge.sock', 'forge:3000', 'nonsense', '']) {
    const { status, err } = await direct(url);
    t.equal(status, 2, url);
    t.match(err, /--direct wants http/);
  }
  const sink = new TextSink();
  t.equal(await checkCommand.run(['--as', 'alice'], { stdout: sink, stderr: sink, env: {} }), 2);
});
