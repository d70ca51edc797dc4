import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { openEvents, openLong, openSocket, startEndlessUpstream } from '../support/endless.ts';
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
  const upstream = await startEndlessUpstream();
  const clock = new MovableClock();
  const op = await startOp({ clients: [clientOf(origin, 'idp')] });
  const sallyport = await startSallyport({
    origin,
    upstream: upstream.url,
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
      upstream.close();
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

t.test(
  'WebSockets and event streams are closed when the date from which their session opens nothing passes',
  async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const { origin, clock, signIn } = house;
    const weak = { cookie: await signIn('bob', ['pwd']) };
    const strong = { cookie: await signIn('alice', ['pwd', 'mfa']) };
    const closed = [await openSocket(origin, '/x', weak), await openEvents(origin, '/x', weak)];
    const open = {
      'whoever proved MFA stays': await openSocket(origin, '/x', strong),
      'and hears on': await openEvents(origin, '/x', strong),
      'max_auth_age is about the moment of opening': await openSocket(origin, '/fresh/x', strong),
      'what has an end may come to it': await openLong(origin, '/x', weak),
    };
    clock.offsetMs = 3_601_000;
    // All were looked at in the same turn.
    for (const { gone } of closed) await gone;
    for (const [title, { isOpen, end }] of Object.entries(open)) {
      t.ok(isOpen(), title);
      end();
    }
  },
);

t.test(
  'WebSockets and event streams that an access token opened are closed when the token expires',
  async (t) => {
    const house = await furnish();
    t.teardown(() => house.close());
    const { origin, clock, op, signIn } = house;
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
    const byToken = { authorization: `Bearer ${token}` };
    const bySession = { cookie: await signIn('alice', ['mfa']) };
    const closed = [await openSocket(origin, '/api/x', byToken), await openEvents(origin, '/api/x', byToken)];
    const open = [
      await openSocket(origin, '/api/x', bySession),
      await openEvents(origin, '/api/x', bySession),
    ];
    clock.offsetMs = 121_000;
    for (const { gone } of closed) await gone;
    for (const { isOpen, end } of open) {
      t.ok(isOpen());
      end();
    }
  },
);
