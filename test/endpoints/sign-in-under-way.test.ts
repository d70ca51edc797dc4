import t from 'tap';
import type { Store } from '../../src/session/types.ts';
import { signJws } from '../support/op.ts';
import { UserAgent } from '../support/user-agent.ts';
import { openHouse, prefix, signIn, untilCallback, whoami, type House } from './house.ts';

/* A sign-in is under way when its own logout comes: whichever is first, no session is left. */

const event = 'http://schemas.openid.net/event/backchannel-logout';
let serial = 0;

async function logOut(house: House, named: Record<string, unknown>): Promise<void> {
  const key = house.op.signingKey();
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: house.op.issuer,
    aud: 'main',
    iat: now,
    jti: `j${(serial += 1)}`,
    events: { [event]: {} },
  };
  const token = signJws(
    { alg: 'RS256', typ: 'logout+jwt', kid: key.kid },
    { ...claims, ...named },
    key.privateKey,
    'RS256',
  );
  const { status, body } = await new UserAgent().request(
    'POST',
    `${house.origin}${prefix}/backchannel-logout/main`,
    {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ logout_token: token }).toString(),
    },
  );
  if (status !== 200) throw new Error(`logout: ${status} ${body}`);
}

/** A house whose store lets a test do something at one moment: before, or after, an operation on a key. */
async function openWatched() {
  let moment:
    { name: 'put' | 'list'; prefix: string; when: 'before' | 'after'; act: () => Promise<void> } | undefined;
  let kept: Store | undefined;
  const house = await openHouse({
    wrapStore: (store) =>
      new Proxy((kept = store), {
        get(target, name) {
          const real: unknown = Reflect.get(target, name);
          if (name !== 'put' && name !== 'list') return real;
          return async (...given: [string, ...unknown[]]) => {
            const due = moment?.name === name && given[0].startsWith(moment.prefix) ? moment : undefined;
            if (due !== undefined) moment = undefined;
            if (due?.when === 'before') await due.act();
            const result = await (real as (...all: unknown[]) => Promise<unknown>).apply(target, given);
            if (due?.when === 'after') await due.act();
            return result;
          };
        },
      }),
  });
  const keys = async (prefix: string): Promise<readonly string[]> => {
    const found: string[] = [];
    for await (const key of kept?.keys(prefix) ?? []) found.push(key);
    return found;
  };
  return {
    ...{ house, keys },
    at: (next: NonNullable<typeof moment>) => (moment = next),
    delete: async (key: string) => kept?.delete(key),
  };
}

const watched = await openWatched();
const { house } = watched;
t.teardown(() => house.close());
t.beforeEach(() => {
  house.audit.length = 0;
  house.counted.length = 0;
});
const login = (sub: string, sid?: string) => {
  house.op.nextLogin = {
    sub,
    amr: ['pwd', 'otp', 'mfa'],
    claims: { preferred_username: sub },
    ...(sid === undefined ? {} : { idTokenClaims: { sid } }),
  };
};

t.test(
  'a logout between the IdP and the callback: no session, a page that says so, and on record',
  async (t) => {
    for (const [named, sid] of [
      [{ sub: 'alice' }, undefined],
      [{ sub: 'alice' }, 'a1'],
      [{ sid: 'a1' }, 'a1'],
      [{ sub: 'alice', sid: 'a1' }, 'a1'],
      [{ sub: 'alice', sid: 'a1' }, undefined],
    ] as const) {
      house.audit.length = 0;
      house.counted.length = 0;
      login('alice', sid);
      const agent = new UserAgent();
      const callback = await untilCallback(house, agent);
      await logOut(house, named);
      const answer = await agent.request('GET', callback, { navigate: true });
      t.equal(answer.status, 400, JSON.stringify([named, sid]));
      t.match(answer.body, 'You were signed out meanwhile');
      t.same(agent.cookies(house.origin), [], 'no cookie is left');
      t.same(
        [...(await watched.keys('session:')), ...(await watched.keys('card:'))],
        [],
        'and nothing to list',
      );
      t.same(house.actions(), ['session.ended', 'signin.failed']);
      t.match(house.audit[0], { fields: { why: 'backchannel' }, user: { id: 'alice' }, authSource: 'main' });
      t.match(house.audit[1]?.fields, { reason: 'state_invalid', detail: 'signed_out_meanwhile' });
      t.ok(house.counted.includes('sessionEnded backchannel'));
      t.ok(house.counted.includes('signIn main failed'));
      t.equal((await signIn(house, agent)).status, 200, 'the next one is another sign-in');
      t.equal((await whoami(house, agent)).status, 200);
      await logOut(house, { sub: 'alice' });
    }
  },
);

t.test("somebody else's logout, or that of another session of the IdP, leaves a sign-in alone", async (t) => {
  login('bob', 'b1');
  const agent = new UserAgent();
  const callback = await untilCallback(house, agent);
  for (const named of [
    { sub: 'carol' },
    { sid: 'b2' },
    { sub: 'bob', sid: 'b2' },
    { sub: 'carol', sid: 'b1' },
  ])
    await logOut(house, named);
  t.equal((await agent.request('GET', callback, { navigate: true })).status, 302);
  t.equal((await whoami(house, agent)).status, 200);
});

t.test('a step-up that is under way ends with its session', async (t) => {
  login('dora', 'd1');
  const agent = new UserAgent();
  await signIn(house, agent);
  const callback = await untilCallback(house, agent, '?step_up=1');
  await logOut(house, { sid: 'd1' });
  const answer = await agent.request('GET', callback, { navigate: true });
  t.equal(answer.status, 400);
  t.equal((await whoami(house, agent)).status, 401);
});

t.test('whatever moment of the callback a logout comes at, no session outlives it', async (t) => {
  for (const [what, moment, expected] of [
    ['before the session can be found', { name: 'put', prefix: 'card:', when: 'before' }, 400],
    ['before it is stored', { name: 'put', prefix: 'session:', when: 'before' }, 400],
    ['once it is stored', { name: 'put', prefix: 'session:', when: 'after' }, 400],
    ['before the notes are read', { name: 'list', prefix: 'note:', when: 'before' }, 400],
    ['once the notes are read', { name: 'list', prefix: 'note:', when: 'after' }, 302],
  ] as const) {
    login('erin', 'e1');
    const agent = new UserAgent();
    const callback = await untilCallback(house, agent);
    let came = false;
    watched.at({
      ...moment,
      async act() {
        await logOut(house, { sub: 'erin' });
        came = true;
      },
    });
    const { status } = await agent.request('GET', callback, { navigate: true });
    t.ok(came, what);
    t.equal(status, expected, what);
    t.equal((await whoami(house, agent)).status, 401, what);
  }
});

t.test('a front-channel logout is noted as well', async (t) => {
  login('frank', 'f1');
  const agent = new UserAgent();
  const callback = await untilCallback(house, agent);
  const query = new URLSearchParams({ iss: house.op.issuer, sid: 'f1' }).toString();
  const url = `${house.origin}${prefix}/frontchannel-logout/main?${query}`;
  t.equal((await new UserAgent().request('GET', url)).status, 200);
  t.equal((await agent.request('GET', callback, { navigate: true })).status, 400);
  t.match(house.audit, [{ fields: { why: 'frontchannel' } }, { action: 'signin.failed' }]);
  t.equal((await whoami(house, agent)).status, 401);
});

t.test("a session whose card is gone ends by its own sid, and by no other session's", async (t) => {
  const before = await watched.keys('card:');
  const agents = [new UserAgent(), new UserAgent()] as const;
  for (const [index, agent] of agents.entries()) {
    login('gina', `g${index}`);
    await signIn(house, agent);
  }
  const statuses = () => Promise.all(agents.map(async (agent) => (await whoami(house, agent)).status));
  t.same(await statuses(), [200, 200]);
  for (const card of await watched.keys('card:')) if (!before.includes(card)) await watched.delete(card);
  await logOut(house, { sub: 'gina', sid: 'g0' });
  t.same(await statuses(), [401, 200]);
  await logOut(house, { sub: 'gina' });
  t.same(await statuses(), [401, 401], 'whoever is logged out everywhere is out here too');
});
