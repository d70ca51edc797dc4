import type { AddressInfo } from 'node:net';
import formbody from '@fastify/formbody';
import Fastify from 'fastify';
import t from 'tap';
import { limitBodyTime } from '../../src/endpoints/body-time.ts';
import { exchange, RawClient } from '../support/raw-http.ts';

t.test(
  'a client that sends one byte of a form and waits does not hold its connection for ever',
  async (t) => {
    const app = Fastify({ requestTimeout: 0 });
    t.teardown(() => app.close());
    await app.register(async (scope) => {
      await scope.register(formbody);
      limitBodyTime(scope, 150);
      scope.post('/form', async () => 'read');
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const head = 'POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n';

    for (const framing of ['Content-Length: 6\r\n\r\na', 'Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n']) {
      const slow = new RawClient(port);
      const answer = await slow.send(`${head}${framing}`).response('POST');
      t.equal(answer.status, 408, framing.slice(0, 12));
      t.match(answer.body.toString(), /request_timeout/);
      await new Promise((resolve) => slow.socket.once('close', resolve));
      t.not(slow.closed, 'open', 'and the connection is gone');
    }
    const quick = await exchange(port, `${head}Content-Length: 3\r\n\r\na=b`, 'POST');
    t.equal(quick.status, 200, 'who sends it is served');
    t.equal((await exchange(port, 'GET /none HTTP/1.1\r\nHost: x\r\n\r\n')).status, 404);
  },
);
