import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp, type TestOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import {
  clientOf,
  loopbackOrigin,
  startSallyport,
  testClient,
  type TestSallyport,
} from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

type Json = Record<string, unknown>;

class Discarded extends Writable {
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
}

t.test('user names through real identity providers', async (t) => {
  const origin = await loopbackOrigin();
  const redis = await startRedis();
  const upstream = await startEchoUpstream();
  const [one, two] = await Promise.all([
    startOp({ clients: [clientOf(origin, 'one')] }),
    startOp({ clients: [clientOf(origin, 'two')] }),
  ]);
  const sources = [
    { id: 'one', issuer: one.issuer },
    { id: 'two', issuer: two.issuer },
  ];
  const start = (username: Json = {}): Promise<TestSallyport> =>
    startSallyport({
      origin,
      upstream: upstream.url,
      sources,
      config: { upstream: { preset: 'forgejo', username }, session: { redis: { url: redis.url } } },
    });
  let sallyport = await start();
  t.teardown(async () => {
    await sallyport.close();
    await Promise.all([one.stop(), two.stop(), redis.stop(), upstream.close()]);
  });

  /** Signs somebody in; the status, and who the upstream was told it is. */
  async function signIn(op: TestOp, sub: string, claims: Json, amr: readonly string[] = ['pwd', 'otp']) {
    op.nextLogin = { sub, amr: [...amr], claims };
    const agent = new UserAgent();
    const seen = upstream.seen.length;
    const url = `${origin}/_sallyport/signin?source=${op === one ? 'one' : 'two'}&return_to=%2Fhello`;
    const { last } = await agent.follow(url);
    const reached = upstream.seen.slice(seen).at(-1)?.headers;
    return {
      status: last.status,
      body: last.body,
      user: reached?.['x-webauth-user'],
      email: reached?.['x-webauth-email'],
      agent,
    };
  }
  const conflicts = () =>
    sallyport.audit.lines().filter(({ action }) => action === 'identity.username_conflict');

  async function users(...args: string[]): Promise<number> {
    const dir = t.testdir({});
    const config = join(dir, 'sallyport.yaml');
    const session = { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'], redis: { url: redis.url } };
    writeFileSync(
      config,
      stringify({
        server: { public_url: origin },
        upstream: { url: upstream.url, preset: 'forgejo' },
        session,
        sources: sources.map((source) => ({ ...testClient, ...source })),
      }),
    );
    writeFileSync(join(dir, 'people.csv'), 'username,source,subject\nroot,one,s-root\n');
    const io = { stdout: new Discarded(), stderr: new Discarded(), env: {} };
    const real = args.map((arg) => (arg === 'people.csv' ? join(dir, arg) : arg));
    return await dispatch(['users', ...real, '--config', config], io);
  }

  await t.test(
    'two sources want one name: the first has it for good, the second is refused, page, audit and metric',
    async (t) => {
      const first = await signIn(one, 's-alice', {
        preferred_username: 'alice',
        email: 'alice@example.com',
        email_verified: true,
      });
      t.match(first, { status: 200, user: 'alice', email: 'alice@example.com' });
      const second = await signIn(two, 's-alice', { preferred_username: 'alice' });
      t.equal(second.status, 403);
      t.match(second.body, 'This user name belongs to someone else');
      t.equal(second.user, undefined, 'nothing reached the upstream');
      t.same(second.agent.cookies(origin), [], 'no session was made');
      t.match(conflicts(), [
        {
          'log.level': 'warn',
          auth_source: 'two',
          reason: 'username_conflict',
          username: 'alice',
          user: { id: 's-alice', name: 'alice' },
          wanted_by: { issuer: two.issuer, subject: 's-alice', source: 'two' },
          held_by: { issuer: one.issuer, subject: 's-alice', source: 'one', since: /^\d{4}-/ },
          hint: /rebind/,
        },
      ]);
      const metrics = await (await fetch(`http://${sallyport.operations}/metrics`)).text();
      t.match(metrics, /sallyport_signins_total\{auth_source="two",result="failed"\} 1\n/);
      t.match(await signIn(one, 's-alice', { preferred_username: 'alice' }), { status: 200, user: 'alice' });
    },
  );

  await t.test(
    'another subject of the same source, Alice with a capital, a UPN: all the same name',
    async (t) => {
      for (const name of ['alice', 'Alice', ' ALICE ', 'alice@corp.example'])
        t.match(
          await signIn(one, 's-mallory', { preferred_username: name }),
          { status: 403, user: undefined },
          name,
        );
      t.match(await signIn(one, 's-alice', { preferred_username: 'Alice' }), { status: 200, user: 'Alice' });
    },
  );

  await t.test(
    'a renamed account gets the new name where it is free, and keeps the old one from others',
    async (t) => {
      t.match(await signIn(one, 's-alice', { preferred_username: 'alicia' }), {
        status: 200,
        user: 'alicia',
      });
      t.equal((await signIn(two, 's-2', { preferred_username: 'alice' })).status, 403);
      t.equal((await signIn(two, 's-2', { preferred_username: 'alicia' })).status, 403);
      t.match(await signIn(two, 's-2', { preferred_username: 'bob' }), { status: 200, user: 'bob' });
      t.equal(
        (await signIn(one, 's-alice', { preferred_username: 'bob' })).status,
        403,
        'not where somebody has it',
      );
      t.match(await signIn(one, 's-alice', { preferred_username: 'alice' }), { status: 200, user: 'alice' });
    },
  );

  await t.test(
    "another's verified address would lead the forge to another's account: refused, and the name stays free",
    async (t) => {
      const before = conflicts().length;
      const claims = { preferred_username: 'newcomer', email: 'Alice@example.com', email_verified: true };
      const refused = await signIn(two, 's-mallory', claims);
      t.match(refused, { status: 403, user: undefined, body: /This email address belongs to someone else/ });
      t.match(conflicts().slice(before), [
        {
          reason: 'email_conflict',
          email: 'Alice@example.com',
          held_by: { subject: 's-alice', source: 'one' },
        },
      ]);
      t.match(await signIn(one, 's-newcomer', { preferred_username: 'newcomer' }), {
        status: 200,
        user: 'newcomer',
      });
      const unverified = { ...claims, preferred_username: 'third', email_verified: false };
      t.match(
        await signIn(two, 's-3', unverified),
        { status: 200, user: 'third', email: undefined },
        'an unverified one is never sent',
      );
    },
  );

  await t.test('an unverified address never becomes a user name', async (t) => {
    const refused = await signIn(one, 's-4', { email: 'carol@example.com', email_verified: false });
    t.match(refused, { status: 403, user: undefined });
    t.match(await signIn(one, 's-5', { email: 'carol@example.com', email_verified: true }), {
      status: 200,
      user: 'carol',
    });
  });

  await t.test('a sign-in that is not admitted binds nothing', async (t) => {
    t.match(await signIn(one, 's-6', { preferred_username: 'dave' }, ['pwd']), { status: 403 });
    t.match(await signIn(two, 's-7', { preferred_username: 'dave' }), { status: 200, user: 'dave' });
  });

  await t.test(
    'a moved identity provider: refused until the name is rebound, and then the old one is out',
    async (t) => {
      const claims = { preferred_username: 'alice', email: 'alice@example.com', email_verified: true };
      t.equal((await signIn(two, 'n-alice', claims)).status, 403);
      t.equal(await users('rebind', 'alice', '--source', 'two', '--subject', 'n-alice'), 0);
      t.match(await signIn(two, 'n-alice', claims), {
        status: 200,
        user: 'alice',
        email: 'alice@example.com',
      });
      t.equal((await signIn(one, 's-alice', { preferred_username: 'alice' })).status, 403);
    },
  );

  await t.test('a reserved name lets in exactly the subject that it was imported for', async (t) => {
    t.equal((await signIn(one, 's-root', { preferred_username: 'root' })).status, 403);
    t.equal(await users('import', 'people.csv'), 0);
    t.match(await signIn(one, 's-root', { preferred_username: 'Root' }), { status: 200, user: 'Root' });
    for (const [op, sub] of [
      [one, 's-mallory'],
      [two, 's-root'],
    ] as const)
      t.match(await signIn(op, sub, { preferred_username: 'root' }), {
        status: 403,
        body: /This user name is reserved/,
      });
    t.equal(
      (await signIn(one, 's-root', { preferred_username: 'admin' })).status,
      403,
      'and no other reserved one',
    );
    t.equal(await users('release', 'root'), 0);
    t.equal((await signIn(one, 's-root', { preferred_username: 'root' })).status, 403);
  });

  await t.test('a released name is free', async (t) => {
    t.equal(await users('release', 'bob'), 0);
    t.match(await signIn(one, 's-8', { preferred_username: 'bob' }), { status: 200, user: 'bob' });
    t.equal((await signIn(two, 's-2', { preferred_username: 'bob' })).status, 403);
  });

  await t.test('bindings outlive sessions and restarts; a dump of Redis shows none of them', async (t) => {
    await sallyport.close();
    sallyport = await start();
    t.equal((await signIn(one, 's-mallory', { preferred_username: 'alice' })).status, 403);
    const dump = (await redis.dump()).join('\n');
    for (const secret of ['alice', 'n-alice', 's-newcomer', 'alice@example.com', 'carol', one.issuer])
      for (const form of [
        secret,
        Buffer.from(secret).toString('base64'),
        Buffer.from(secret).toString('hex'),
      ])
        t.notOk(dump.includes(form), form);
  });

  await t.test('while Redis is down nobody passes unbound: 503', async (t) => {
    one.nextLogin = { sub: 's-9', amr: ['pwd', 'otp'], claims: { preferred_username: 'erin' } };
    const agent = new UserAgent();
    const { last } = await agent.follow(`${origin}/_sallyport/signin?source=one&return_to=%2Fhello`, {
      until: (url) => url.includes('/callback/'),
    });
    await redis.stop();
    t.equal((await agent.request('GET', last.location ?? '', { navigate: true })).status, 503);
    await redis.restart();
    await until(async () => {
      const ready = (await (await fetch(`http://${sallyport.operations}/readyz`)).json()) as {
        status: string;
      };
      return ready.status === 'ready';
    });
    t.match(await signIn(two, 's-10', { preferred_username: 'erin' }), { status: 200, user: 'erin' });
  });

  await t.test('bind: false lets both in, with a warning at start', async (t) => {
    await sallyport.close();
    t.equal(await users('import', 'people.csv'), 0);
    sallyport = await start({ bind: false });
    t.match(sallyport.log.text, /upstream\.username\.bind: off/);
    t.match(await signIn(one, 's-mallory', { preferred_username: 'alice' }), { status: 200, user: 'alice' });
    t.equal(
      (await signIn(one, 's-root', { preferred_username: 'root' })).status,
      403,
      'reserved names stay closed',
    );
  });
});
