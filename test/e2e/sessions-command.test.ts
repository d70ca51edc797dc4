import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { cardOf, encodeCard } from '../../src/session/card.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { makeRecord } from '../session/record-fixture.ts';
import { assertAuditLines } from '../support/audit-lines.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, LineSink, loopbackOrigin, startSallyport, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

const redis = await startRedis();
t.teardown(() => redis.stop());
const origins = [await loopbackOrigin(), await loopbackOrigin()] as const;
const op = await startOp({
  clients: [{ ...clientOf(origins[0]), redirect_uris: clientOf(origins[0], 'main', 'other').redirect_uris }],
});
t.teardown(() => op.stop());
const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());
const sources = ['main', 'other'].map((id) => ({ id, issuer: op.issuer, mfa: { mode: 'carry_over' } }));
const session = { redis: { url: redis.url }, cache: '10m' };
const replicas = await Promise.all(
  origins.map((origin) => startSallyport({ origin, upstream: upstream.url, sources, config: { session } })),
);
t.teardown(() => Promise.all(replicas.map((replica) => replica.close())));

const dir = mkdtempSync(join(tmpdir(), 'sallyport-sessions-'));
t.teardown(() => rmSync(dir, { recursive: true }));
const auditFile = join(dir, 'audit.jsonl');
const config = (name: string, more: object = {}, ownSession: object = session): string => {
  const file = join(dir, name);
  writeFileSync(
    file,
    stringify({
      server: { public_url: origins[0] },
      upstream: { url: upstream.url },
      session: { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'], ...ownSession },
      sources: sources.map((source) => ({ ...testClient, ...source })),
      ...more,
    }),
  );
  return file;
};
const file = config('sallyport.yaml', { audit: { file: auditFile } });

async function run(...args: string[]) {
  const [stdout, stderr] = [new LineSink(), new LineSink()];
  const status = await dispatch(['sessions', ...args], { stdout, stderr, env: { SALLYPORT_CONFIG: file } });
  return { status, out: stdout.text, err: stderr.text };
}

/** Signs in at the first replica; the `Cookie` header, known to both. */
async function signIn(sub: string, source = 'main', email = `${sub}@example.com`): Promise<string> {
  op.nextLogin = {
    sub,
    amr: ['pwd', 'otp', 'mfa'],
    claims: { email, email_verified: true, preferred_username: sub, name: `${sub} \u202e` },
  };
  const browser = new UserAgent();
  await browser.follow(`${origins[0]}/_sallyport/signin?source=${source}&return_to=/`);
  const cookie = `sallyport=${browser.cookie(origins[0], 'sallyport')!}`;
  for (const origin of origins)
    if ((await statusAt(cookie, origin)) !== 200) throw new Error('not signed in');
  return cookie;
}
const agent = new UserAgent();
const statusAt = async (cookie: string, origin: string): Promise<number> =>
  (await agent.request('GET', `${origin}/_sallyport/whoami`, { headers: { cookie } })).status;
const endsEverywhere = (cookie: string) =>
  until(
    async () =>
      (await Promise.all(origins.map((origin) => statusAt(cookie, origin)))).every((s) => s === 401),
    'the end everywhere',
    1000,
  );
const isIn = async (cookie: string): Promise<boolean> => (await statusAt(cookie, origins[1])) === 200;
const audited = (): Record<string, unknown>[] => {
  const lines = readFileSync(auditFile, 'utf8').trimEnd().split('\n');
  const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assertAuditLines(events);
  return events;
};

t.test(
  'list shows who is signed in, and show one of them, with the evidence and without a secret',
  async (t) => {
    const cookie = await signIn('alice');
    const bob = await signIn('bob', 'other');
    const whoami = (
      await agent.request('GET', `${origins[0]}/_sallyport/whoami`, { headers: { cookie } })
    ).json() as {
      id: string;
    };
    const { out } = await run('list', '--json');
    t.notMatch(out, '\u202e', 'a name turns no text around');
    const listed = JSON.parse(out) as Record<string, unknown>[];
    t.ok(listed.every(({ name }) => String(name).endsWith('\u202e')));
    t.same(listed.map(({ username }) => username).sort(), ['alice', 'bob']);
    t.match(
      listed.find(({ id }) => id === whoami.id),
      {
        source: 'main',
        issuer: op.issuer,
        sub: 'alice',
        email: 'alice@example.com',
        authenticator_assurance_level: 'aal2',
        mfa: { status: 'verified', evidence: { claim: 'amr' } },
      },
    );
    const text = await run('list', '--source', 'other');
    t.equal(text.status, 0);
    t.match(text.out, /^ID +SOURCE +USER.*\n\S+ +other +bob +bob@example\.com +aal2/);
    t.notMatch(text.out, 'alice');
    const shown = await run('show', whoami.id);
    t.match(shown.out, /sub +alice/);
    t.match(shown.out, /idle_seconds_left +\d+/);
    for (const secret of [cookie.slice(10), bob.slice(10), 'eyJ'])
      t.notOk(`${text.out}${shown.out}${JSON.stringify(listed)}`.includes(secret));
    const unknown = await run('show', 'nobody');
    t.same([unknown.status, unknown.out], [1, '']);
    const dashed = await run('show', '-AAAAAAAAAAAAAAAAAAAAA', '--json');
    t.same(
      [dashed.status, dashed.err],
      [1, unknown.err.replace('nobody', '-AAAAAAAAAAAAAAAAAAAAA')],
      'no option',
    );
    await run('revoke', '--all');
  },
);

t.test(
  'revoke by address, by subject and by source ends those sessions on every replica at once',
  async (t) => {
    const alice = [await signIn('alice', 'main', 'Alice@Example.com'), await signIn('alice', 'other')];
    const bob = await signIn('bob');
    const carol = await signIn('carol', 'other');
    const narrow = await run('revoke', '--user', 'alice@example.com', '--source', 'other', '--json');
    t.match(JSON.parse(narrow.out), { ended: 1, sessions: [{ source: 'other', sub: 'alice' }] });
    await endsEverywhere(alice[1]!);
    t.ok(await isIn(alice[0]!));
    const byAddress = await run('revoke', '--user', 'ALICE@example.com', '--actor', 'on-call');
    t.equal(byAddress.status, 0);
    t.match(byAddress.out, /ended: \S+ of alice \(Alice@Example\.com\), source main\n1 session ended\n/);
    t.match(byAddress.out, 'personal access tokens');
    await endsEverywhere(alice[0]!);
    const [ended, revoked] = audited().slice(-2);
    t.match(ended, { action: 'session.ended', why: 'revoked', auth_source: 'main', user: { id: 'alice' } });
    t.match(revoked, {
      action: 'sessions.revoked',
      actor: 'on-call',
      by: 'user',
      user_email: 'ALICE@example.com',
      count: 1,
      complete: true,
    });
    t.equal((await run('revoke', '--source', 'other')).status, 0);
    await endsEverywhere(carol);
    t.ok(await isIn(bob));
    t.equal((await run('revoke', '--sub', 'bob')).status, 0);
    await endsEverywhere(bob);
    const nobody = await run('revoke', '--sub', 'bob');
    t.same([nobody.status, nobody.out], [0, '0 sessions ended\n'], 'what was asked for is so');
  },
);

t.test('revoke --all ends everybody, also whose card or index is lost', async (t) => {
  const cookies = [await signIn('alice'), await signIn('bob'), await signIn('carol', 'other')];
  const admin = new Redis(redis.port, '127.0.0.1');
  const [card] = await admin.keys('sallyport:card:*');
  await admin.del(card!, ...(await admin.keys('sallyport:index:*')));
  t.match(await run('revoke', '--all'), { status: 0, out: /3 sessions ended/ });
  for (const cookie of cookies) await endsEverywhere(cookie);
  t.same(await admin.keys('sallyport:session:*'), []);
  t.same(await admin.keys('sallyport:card:*'), []);
  admin.disconnect();
});

t.test('a session that stands in no index is found by its card', async () => {
  const cookie = await signIn('dora');
  const admin = new Redis(redis.port, '127.0.0.1');
  await admin.del(...(await admin.keys('sallyport:index:*')));
  admin.disconnect();
  await run('revoke', '--user', 'dora@example.com');
  await endsEverywhere(cookie);
});

t.test('revoke ends sessions though Redis is full, and says that it is to be called again', async (t) => {
  const cookie = await signIn('flora');
  const admin = new Redis(redis.port, '127.0.0.1');
  t.teardown(() => admin.disconnect());
  await admin.config('SET', 'maxmemory', '1');
  try {
    const { status, err } = await run('revoke', '--sub', 'flora');
    t.equal(status, 1, 'a sign-in under way was not told');
    t.match(err, /1 session was ended before it failed: call it again/);
    t.match(err, /OOM/);
    await endsEverywhere(cookie);
    t.match(audited().at(-1), { action: 'sessions.revoked', count: 1, complete: false });
  } finally {
    await admin.config('SET', 'maxmemory', '0');
  }
  t.match(await run('revoke', '--sub', 'flora'), { status: 0, out: /^0 sessions ended/ });
});

t.test(
  'a sign-in that is under way comes to nothing when its user is revoked, and to a session when others are',
  async (t) => {
    const signInUnderWay = async (sub: string) => {
      op.nextLogin = {
        sub,
        amr: ['pwd', 'otp', 'mfa'],
        claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub },
      };
      const browser = new UserAgent();
      const { last } = await browser.follow(`${origins[0]}/_sallyport/signin?source=main&return_to=/`, {
        until: (url) => url.includes('/callback/'),
      });
      return async () => {
        const { status } = await browser.request('GET', last.location!, { navigate: true });
        const cookie = browser.cookie(origins[0], 'sallyport');
        return [status, cookie === undefined ? 'out' : (await isIn(`sallyport=${cookie}`)) ? 'in' : 'out'];
      };
    };
    for (const [args, outcome] of [
      [
        ['--user', 'Gina@example.com'],
        [400, 'out'],
      ],
      [
        ['--sub', 'gina'],
        [400, 'out'],
      ],
      [
        ['--source', 'main'],
        [400, 'out'],
      ],
      [['--all'], [400, 'out']],
      [
        ['--user', 'other@example.com'],
        [302, 'in'],
      ],
      [
        ['--sub', 'gina', '--source', 'other'],
        [302, 'in'],
      ],
    ] as const) {
      const complete = await signInUnderWay('gina');
      t.match(await run('revoke', ...args), { status: 0, out: '0 sessions ended' }, args.join(' '));
      t.same(await complete(), outcome, args.join(' '));
      await run('revoke', '--sub', 'gina');
    }
  },
);

t.test(
  'hundreds of sessions are listed, the newest first; what has ended or lacks its record is none',
  async (t) => {
    const admin = new Redis(redis.port, '127.0.0.1');
    t.teardown(() => admin.disconnect());
    const sealing = createSealing(
      [Buffer.from('0123456789abcdef0123456789abcdef-of-the-tests')],
      systemRandomness,
    );
    const count = 250;
    const pipeline = admin.pipeline();
    for (let at = 0; at <= count; at += 1) {
      const hash = systemRandomness.bytes(32).toString('base64url');
      const record = makeRecord(Date.now() - at * 1000, { id: `many-${at}`, source: 'many' });
      const card = sealing.sealShared('session-card', encodeCard(cardOf(record, undefined)), `card:${hash}`);
      pipeline.set(`sallyport:card:${hash}`, card, 'PX', 60_000);
      // The last one's record was never stored.
      if (at < count) pipeline.set(`sallyport:session:${hash}`, 'sealed', 'PX', 60_000);
    }
    await pipeline.exec();
    const { status, out } = await run('list', '--source', 'many', '--json');
    t.equal(status, 0);
    const ids = (JSON.parse(out) as { id: string }[]).map(({ id }) => id);
    t.same(
      ids,
      Array.from({ length: count }, (_, at) => `many-${at}`),
    );
    const table = (await run('list', '--source', 'many')).out.trimEnd().split('\n');
    t.equal(table.length, count + 1);
    t.match(table[1], /^many-0 /);
    t.match(await run('list', '--source', 'nobody', '--json'), { status: 0, out: '[]\n' });
    t.match(await run('revoke', '--source', 'many'), { status: 0, out: `${count} sessions ended` });
  },
);

t.test('what does not go together is refused, and changes nothing', async (t) => {
  const cookie = await signIn('erin');
  for (const [args, says] of [
    [[], 'list, show or revoke'],
    [['end'], 'there is no "end"'],
    [['revoke'], 'say whose'],
    [['revoke', 'erin'], 'revoke takes no "erin"'],
    [['revoke', '--all', '--user', 'erin@example.com'], '--all is everybody'],
    [['revoke', '--user', 'erin@example.com', '--sub', 'erin'], 'either --user or --sub'],
    [['revoke', '--user', ''], '--user is empty'],
    [['list', '--all'], 'list takes no --all'],
    [['show'], 'show takes the ID'],
    [['show', 'a', 'b'], 'takes no "b"'],
  ] as const) {
    const { status, out, err } = await run(...args);
    t.same([status, out], [2, ''], args.join(' '));
    t.match(err, says, args.join(' '));
  }
  const alone = await run('list', '--config', config('memory.yaml', {}, { redis: undefined }));
  t.equal(alone.status, 2);
  t.match(alone.err, 'session.redis is not set');
  t.ok(await isIn(cookie));
});

t.test(
  'without audit.file the trail goes to standard error; with Redis down it fails, and says so',
  async (t) => {
    const cookie = await signIn('frank');
    const plain = config('plain.yaml');
    const { status, out, err } = await run('revoke', '--sub', 'frank', '--config', plain, '--json');
    t.equal(status, 0);
    t.match(JSON.parse(out), { ended: 1 });
    t.same(
      err
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { action: string }).action),
      ['session.ended', 'sessions.revoked'],
    );
    await endsEverywhere(cookie);
    await redis.stop();
    const down = await run('revoke', '--sub', 'frank');
    t.equal(down.status, 1);
    t.match(down.err, 'the session store is unavailable');
    t.match(audited().at(-1), { action: 'sessions.revoked', complete: false, count: 0 });
  },
);
