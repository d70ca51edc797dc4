import t from 'tap';
import { exchange, headerOf } from '../support/raw-http.ts';
import { startRawUpstream } from '../support/upstream.ts';
import { startHarness } from './harness.ts';

t.test('a signed-in request reaches the upstream with identity and without our cookie', async (t) => {
  const upstream = await startRawUpstream(({ socket }) => {
    socket.write('HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-App: 1\r\n\r\nok');
  });
  const harness = await startHarness({ upstream: upstream.url });
  t.teardown(async () => {
    await harness.close();
    await upstream.close();
  });
  const cookie = await harness.signIn();
  const answer = await exchange(
    harness.port,
    `GET /a%2Fb//c?x=1 HTTP/1.1\r\nHost: ${harness.host}\r\nCookie: ${cookie}; app=1\r\nX-WebAuth-User: root\r\nRemote_User: root\r\n\r\n`,
  );
  t.equal(answer.statusLine, 'HTTP/1.1 200 Fine');
  t.equal(answer.body.toString(), 'ok');
  t.equal(headerOf(answer, 'x-app'), '1');
  const [seen] = upstream.seen;
  t.equal(seen?.line, 'GET /a%2Fb//c?x=1 HTTP/1.1');
  t.equal(headerOf(seen!, 'cookie'), 'app=1');
  t.equal(headerOf(seen!, 'x-forwarded-user'), 'zoe');
  t.equal(headerOf(seen!, 'host'), 'forge.example.com');
  t.equal(headerOf(seen!, 'x-webauth-user'), undefined);
  t.match(headerOf(seen!, 'x-sallyport-assertion'), /^ey/);
  t.equal(harness.entries.length, 1);
});
