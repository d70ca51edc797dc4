import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import type { Clock } from '../../src/kernel/clock.ts';
import { signJws, startOp } from '../support/op.ts';
import { clientOf, loopbackOrigin, startSallyport } from '../support/sallyport.ts';
import { UserAgent } from '../support/user-agent.ts';

class MovableClock implements Clock {
  offsetMs = 0;
  nowMs(): number {
    return Date.now() + this.offsetMs;
  }
}

async function furnish() {
  const origin = await loopbackOrigin();
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.send('hello'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const clock = new MovableClock();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sallyport = await startSallyport({
    origin,
    upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sources: [
      {
        id: 'idp',
        issuer: op.issuer,
        mfa: { mode: 'report_only', report_only_until: new Date(Date.now() + 3_600_000).toISOString() },
      },
    ],
    config: {
      session: { idle_timeout: '48h', absolute_timeout: '72h' },
      routes: [
        { name: 'api', path: '/api/**', access: 'bearer' },
        { name: 'fresh', path: '/fresh/**', max_auth_age: '15m' },
      ],
      bearer: { audiences: ['https://app.example.com/api'] },
    },
    app: { clock },
  });
  return {
    origin,
    clock,
    op,
    async close() {
      await sallyport.close();
      await op.stop();
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      server.close();
    },
    connect: async (path: string, headers: Readonly<Record<string, string>>): Promise<WebSocket> => {
      const socket = new WebSocket(`${origin.replace('http', 'ws')}${path}`, {
        headers: { origin, ...headers },
      });
      socket.on('error', () => undefined);
      await once(socket, 'message');
      return socket;
    },
    signIn: async (sub: string, amr: readonly string[]): Promise<string> => {
      const { nextLogin } = op;
      op.nextLogin = {
        ...nextLogin,
        sub,
        amr,
        claims: { ...nextLogin.claims, preferred_username: sub, email: `${sub}@example.com` },
      };
      const agent = new UserAgent();
      await agent.follow(`${origin}/_sallyport/signin?return_to=/_sallyport/whoami`);
      return agent
        .cookies(origin)
        .map(({ name, value }) => `${name}=${value}`)
        .join('; ');
    },
  };
}

t.test('a WebSocket is closed when the date from which its session opens nothing passes', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { clock, connect, signIn } = house;
  const weak = await connect('/x', { cookie: await signIn('bob', ['pwd']) });
  const strong = await connect('/x', { cookie: await signIn('alice', ['pwd', 'mfa']) });
  const fresh = await connect('/fresh/x', { cookie: await signIn('carol', ['pwd', 'mfa']) });
  const gone = once(weak, 'close');
  clock.offsetMs = 3_601_000;
  await gone;
  // Both were looked at in the same turn, after the one that went.
  t.equal(strong.readyState, WebSocket.OPEN, 'whoever proved MFA stays');
  t.equal(fresh.readyState, WebSocket.OPEN, 'max_auth_age is about the moment of opening');
  for (const each of [strong, fresh]) each.terminate();
});

t.test('a WebSocket that an access token opened is closed when the token expires', async (t) => {
  const house = await furnish();
  t.teardown(() => house.close());
  const { clock, connect, op, signIn } = house;
  const now = Math.floor(clock.nowMs() / 1000);
  const key = op.signingKey();
  const token = signJws(
    { alg: key.alg, typ: 'at+jwt', kid: key.kid },
    {
      ...{ iss: op.issuer, sub: 'dave', aud: 'https://app.example.com/api', iat: now, exp: now + 120 },
      ...{ amr: ['mfa'], preferred_username: 'dave' },
    },
    key.privateKey,
    key.alg,
  );
  const byToken = await connect('/api/x', { authorization: `Bearer ${token}` });
  const bySession = await connect('/api/x', { cookie: await signIn('alice', ['mfa']) });
  const gone = once(byToken, 'close');
  clock.offsetMs = 121_000;
  await gone;
  t.equal(bySession.readyState, WebSocket.OPEN);
  bySession.terminate();
});
