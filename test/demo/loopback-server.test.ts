import { createServer } from 'node:net';
import t from 'tap';
import { findFreePort, openLoopbackServer } from '../../src/demo/loopback-server.ts';

async function occupy(host: string): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

t.test('a port that somebody has is replaced by a free one, unless it alone will do', async (t) => {
  const taken = await occupy('127.0.0.1');
  const port = await findFreePort(taken.port);
  t.type(port, 'number');
  t.not(port, taken.port);
  t.equal(await findFreePort(taken.port, true), undefined);
  await taken.close();
  t.equal(await findFreePort(taken.port, true), taken.port);
});

t.test('requests before the handler stands are answered 503', async (t) => {
  const server = await openLoopbackServer();
  t.match(server.origin, /^http:\/\/127\.0\.0\.1:\d+$/);
  t.equal((await fetch(server.origin)).status, 503);
  server.serve((_request, response) => response.end('here'));
  t.equal(await (await fetch(server.origin)).text(), 'here');
  await server.close();
  await t.rejects(fetch(server.origin));
});
