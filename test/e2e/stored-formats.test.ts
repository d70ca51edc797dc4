import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { startRedis } from '../support/redis.ts';
import { LineSink, loopbackOrigin, startSallyport, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

/* What releases before this one have left in Redis, byte for byte, under their own keys: this release goes on with it. */

interface Fixture {
  readonly madeAtMs: number;
  readonly secret: string;
  readonly issuer: string;
  readonly cookie: string;
  readonly whoami: Record<string, unknown> & { id: string };
  readonly jwks: unknown;
  readonly announced: readonly string[];
  readonly entries: readonly {
    readonly key: string;
    readonly type: string;
    readonly ttlMs: number;
    readonly value: string | readonly string[];
  }[];
}

const prefix = '/_sallyport';
const fixtures = join(import.meta.dirname, '../session/fixtures');
const upstream = await startEchoUpstream();
t.teardown(() => upstream.close());
type Json = Record<string, unknown>;

/** Puts the fixture's keys into an empty Redis, with the lives that they had. */
async function load(redis: Redis, { entries }: Fixture): Promise<void> {
  await redis.flushall();
  const bytes = (value: string): Buffer => Buffer.from(value, 'base64');
  for (const { key, type, ttlMs, value } of entries) {
    const list = [value].flat().map(bytes);
    if (type === 'string') await redis.set(key, list[0]!);
    else if (type === 'hash') await redis.call('HSET', key, ...list);
    else if (type === 'list') await redis.call('RPUSH', key, ...list);
    else for (let at = 0; at < list.length; at += 2) await redis.call('ZADD', key, list[at + 1]!, list[at]!);
    if (ttlMs > 0) await redis.pexpire(key, ttlMs);
  }
}

for (const name of readdirSync(fixtures).filter((each) => /^store-.*\.json$/.test(each))) {
  t.test(`what ${name} holds is read`, async (t) => {
    const fixture = JSON.parse(readFileSync(join(fixtures, name), 'utf8')) as Fixture;
    const { madeAtMs, secret, issuer, cookie, whoami } = fixture;
    const kept = (what: string): string[] =>
      fixture.entries.map(({ key }) => key).filter((key) => key.startsWith(`sallyport:${what}`));
    const redis = await startRedis();
    const admin = new Redis(redis.port, '127.0.0.1');
    t.teardown(async () => {
      admin.disconnect();
      await redis.stop();
    });
    await load(admin, fixture);
    const origin = await loopbackOrigin();
    const offsetMs = Date.now() - madeAtMs;
    const sections = {
      upstream: { url: upstream.url },
      session: { secrets: [secret], redis: { url: redis.url }, cache: '10m' },
      operators: [{ emails: ['alice@example.com'] }],
    };
    const source = (mfa: Json) => ({ ...testClient, id: 'idp', issuer, mfa });
    const start = (mfa: Json = { preset: 'generic' }) =>
      startSallyport({
        origin,
        upstream: upstream.url,
        sources: [source(mfa)],
        config: sections,
        app: { clock: { nowMs: () => Date.now() - offsetMs } },
      });
    const dir = mkdtempSync(join(tmpdir(), 'sallyport-formats-'));
    t.teardown(() => rmSync(dir, { recursive: true }));
    const file = join(dir, 'sallyport.yaml');
    writeFileSync(
      file,
      stringify({ server: { public_url: origin }, ...sections, sources: [source({ preset: 'generic' })] }),
    );
    const command = async (...args: string[]) => {
      const [stdout, stderr] = [new LineSink(), new LineSink()];
      const status = await dispatch([...args, '--config', file], { stdout, stderr, env: {} });
      return { status, out: stdout.text, err: stderr.text };
    };
    let sallyport = await start();
    t.teardown(() => sallyport.close());
    const agent = new UserAgent();
    const headers = { cookie: `sallyport=${cookie}`, accept: 'application/json' };
    const ask = (path: string) => agent.request('GET', `${origin}${path}`, { headers });
    const audited = (): Json[] =>
      sallyport.audit.lines().filter(({ action }) => action === 'sso.auth-source.oidc-mfa-config.update');

    const now = await ask(`${prefix}/whoami`);
    t.equal(now.status, 200, 'the session lives');
    t.match(now.json(), whoami);
    const passed = await ask('/page');
    t.equal(passed.status, 200);
    t.equal(upstream.seen.at(-1)?.headers['x-forwarded-preferred-username'], 'alice');
    t.same(
      (await ask(`${prefix}/jwks.json`)).json(),
      fixture.jwks,
      'assertions are signed with the same key',
    );

    if (kept('durable:mfa-config').length > 0) {
      await sallyport.close();
      sallyport = await start({ preset: 'generic', aal2_amr_values: 'strict' });
      await until(() => audited().length > 0, 'the change of mfa');
      t.match(
        audited(),
        [{ previous: { require_oidc_amr_mfa: true } }],
        'compared with what was applied by then',
      );
      t.not(JSON.stringify(audited()[0]?.['previous']), 'null');
    }
    if (kept('ledger:').length > 0) {
      const status = await ask(`${prefix}/status`);
      t.equal(status.status, 200);
      const { sources } = status.json() as { sources: { verdicts: { outcome: string }[] }[] };
      for (const { verdicts } of sources) verdicts.sort((x, y) => (x.outcome < y.outcome ? -1 : 1));
      t.match(sources, [
        {
          verdicts: [
            { outcome: 'rejected', count: 1 },
            { outcome: 'verified', count: 3 },
          ],
          refusals: [{ outcome: 'rejected', user: { id: 'bob' }, observed: { amr: ['pwd'] } }],
        },
      ]);
    }
    const bound = await command('users', 'list');
    t.match(bound.out, /\balice\b/);
    t.match(bound.out, /\bleaver\b/);
    t.match((await command('check', '--json')).out, /records, all sealed by the first secret/);

    if (kept('card:').length > 0) {
      const listed = JSON.parse((await command('sessions', 'list', '--json')).out) as Json[];
      t.match(
        listed.find(({ id }) => id === whoami.id),
        { username: 'alice', email: 'alice@example.com', sid: 'sid-of-alice', mfa: { status: 'verified' } },
      );
    } else {
      // Made before there were cards: noted as soon as the session is touched, and until then ended by --all alone.
      t.match((await command('sessions', 'revoke', '--all')).out, /2 sessions? ended/);
      await until(async () => (await ask(`${prefix}/whoami`)).status === 401, 'the end');
      return;
    }

    // An end as the release before announces it: the record deleted, and a word with its hash.
    const [announcement = ''] = fixture.announced;
    const [word = ''] = announcement.split(' ');
    const revoked = kept('session:').filter((key) => key.length > 0);
    for (const key of revoked) {
      await admin.del(key);
      await admin.publish('sallyport:announcements', `${word} ${key.slice('sallyport:session:'.length)}`);
    }
    await until(async () => (await ask(`${prefix}/whoami`)).status === 401, 'the end is heard', 1000);

    await load(admin, fixture);
    t.equal((await ask(`${prefix}/whoami`)).status, 200);
    const byIndex = await command('sessions', 'revoke', '--sub', 'alice', '--json');
    t.match(JSON.parse(byIndex.out), { ended: 1, sessions: [{ id: whoami.id }] });
    await until(async () => (await ask(`${prefix}/whoami`)).status === 401, 'the end');
  });
}
