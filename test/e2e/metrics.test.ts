import { METHODS } from 'node:http';
import t from 'tap';
import { exchange } from '../support/raw-http.ts';
import { startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { UserAgent } from '../support/user-agent.ts';

t.test('random paths, methods, hosts, codes and counts make no series of their own', async (t) => {
  const origin = await loopbackOrigin();
  const { host, port } = new URL(origin);
  const upstream = await startRawUpstream(async ({ socket, path, body }) => {
    await body();
    // An upstream that invents status codes.
    const code = /code-(\d{3})/.exec(path)?.[1] ?? '200';
    socket.write(`HTTP/1.1 ${code} X\r\nContent-Length: 0\r\n\r\n`);
  });
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
    sources: [{ id: 'idp', issuer: op.issuer }],
    config: {
      routes: [
        { name: 'open', path: '/open/**', access: 'public' },
        { name: 'closed', path: '/closed/**', access: 'deny' },
      ],
      log: { access: false },
    },
  });
  t.teardown(async () => {
    await sallyport.close();
    await op.stop();
    await upstream.close();
  });
  const series = async (): Promise<readonly string[]> => {
    const page = await (await fetch(`http://${sallyport.operations}/metrics`)).text();
    return page
      .split('\n')
      .filter((line) => line.startsWith('sallyport_'))
      .map((line) => line.slice(0, line.lastIndexOf(' ')));
  };
  let made = 0;
  const random = (): string => `m${(made += 1)}${Math.random().toString(36).slice(2)}`;
  /** One of each kind of what anybody can send, made up anew. */
  async function round(): Promise<void> {
    const get = (target: string, more = `Host: ${host}\r\n`, method = 'GET') =>
      exchange(Number(port), `${method} ${target} HTTP/1.1\r\n${more}Connection: close\r\n\r\n`, method);
    await Promise.all([
      get(`/open/${random()}?${random()}=${random()}`),
      get(`/closed/${random()}`),
      get(`/${random()}`),
      get(`/_sallyport/${random()}`),
      get(`/_sallyport/signin?source=${random()}&return_to=/${random()}`),
      get(`/_sallyport/callback/${random()}?code=${random()}&state=${random()}`),
      get(`/_sallyport/canary/${random()}`),
      get(`/_sallyport/backchannel-logout/${random()}`, `Host: ${host}\r\nContent-Length: 0\r\n`, 'POST'),
      get(`/open/x`, `Host: ${random()}.example.com\r\n`),
      get(`/open/x`, `Host: ${host}\r\n`, random().toUpperCase()),
      get(
        `/open/x`,
        `Host: ${host}\r\nAuthorization: Bearer ${random()}\r\nCookie: sallyport=${random()}\r\n`,
      ),
      new UserAgent().request('GET', `${origin}/${random()}`, { navigate: true }),
    ]);
  }
  await round();
  // Whatever Node lets through as a method, and every code that an upstream can answer.
  for (const method of METHODS.filter((each) => each !== 'CONNECT'))
    await exchange(
      Number(port),
      `${method} /open/x HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      method,
    );
  for (const sub of ['ada', 'bea']) {
    op.nextLogin = { sub, amr: ['pwd', 'mfa'], claims: { preferred_username: sub } };
    await new UserAgent().follow(`${origin}/page`);
  }
  const before = new Set(await series());
  for (let count = 0; count < 60; count += 1) await round();
  for (let count = 0; count < 20; count += 1) {
    const name = random();
    const amr = [name];
    op.nextLogin = { sub: name, amr, acr: name, claims: { preferred_username: name, groups: [name] } };
    await new UserAgent().follow(`${origin}/page`);
    op.nextError = { error: name, error_description: name };
    await new UserAgent().follow(`${origin}/page`);
  }
  const after = await series();
  const fresh = after.filter((each) => !before.has(each));
  t.ok(fresh.length < 10, `new series after ${made} made-up names: ${fresh.join('\n')}`);
  t.notMatch(after.join('\n'), /"[^"]*m\d+[a-z0-9]{5,}[^"]*"/i, 'no made-up name is in any label');

  for (let code = 200; code <= 999; code += 7)
    await fetch(`${origin}/open/code-${code}`).catch(() => undefined);
  const codes = new Set((await series()).map((each) => /code="([^"]*)"/.exec(each)?.[1]));
  for (const code of codes) t.match(code ?? '200', /^(?:[1-5]\d\d|other)$/);
});
