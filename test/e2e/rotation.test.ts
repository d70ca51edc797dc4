import { generateKeyPairSync } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createRemoteJWKSet, customFetch, jwtVerify, type JWTPayload } from 'jose';
import t from 'tap';
import { dispatch } from '../../src/commands/index.ts';
import { loadConfig } from '../../src/config/load.ts';
import { applied, openDesk, startReplica } from '../reload/stage.ts';
import { startEchoUpstream } from '../support/echo-upstream.ts';
import { signJws, startOp } from '../support/op.ts';
import { startRedis } from '../support/redis.ts';
import { clientOf, LineSink, loopbackOrigin, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { UserAgent } from '../support/user-agent.ts';

/* Two replicas over one Redis, whose secrets and keys are changed one replica after the other, as a rolling update does. */

const prefix = '/_sallyport';
const a = 'secret A of these tests, long enough to be one';
const b = 'secret B of these tests, long enough to be one';
const redis = await startRedis();
const origins = [await loopbackOrigin(), await loopbackOrigin()] as const;
const op = await startOp({
  clients: [
    {
      ...clientOf(origins[0], 'idp'),
      redirect_uris: origins.map((origin) => `${origin}${prefix}/callback/idp`),
    },
  ],
});
const upstream = await startEchoUpstream();
t.teardown(() => Promise.all([redis.stop(), op.stop(), upstream.close()]));

type Json = Record<string, unknown>;

/** A replica's own file; the two differ in their origin alone. */
async function open(origin: string, secrets: readonly string[], session: Json = {}) {
  const desk = openDesk();
  const write = (next: readonly string[], more: Json): void =>
    desk.write({
      server: { listen: new URL(origin).host, public_url: origin, rate_limit: { sign_in: '10000/1m' } },
      operations: { listen: '127.0.0.1:0' },
      upstream: { url: upstream.url },
      session: { secrets: [...next], redis: { url: redis.url }, cache: '0s', ...more },
      log: { access: false },
      sources: [{ ...testClient, id: 'idp', issuer: op.issuer, mfa: { mode: 'carry_over' } }],
    });
  write(secrets, session);
  // Nobody looks at the file but who is told to.
  const replica = await startReplica(desk.path);
  await replica.supervisor.close();
  return {
    ...replica,
    origin,
    desk,
    async reload(next: readonly string[], more: Json = session) {
      write(next, more);
      const outcome = await replica.app.reload(await loadConfig(desk.path, {}), { trigger: 'command' });
      if (outcome.result !== 'applied') throw new Error(JSON.stringify(outcome));
    },
    async end() {
      await replica.app.close();
      desk.clear();
    },
  };
}
type Replica = Awaited<ReturnType<typeof open>>;

async function signIn({ origin }: Replica, sub: string, sid?: string): Promise<string> {
  op.nextLogin = {
    sub,
    amr: ['pwd', 'otp', 'mfa'],
    claims: { email: `${sub}@example.com`, email_verified: true, preferred_username: sub },
    ...(sid === undefined ? {} : { idTokenClaims: { sid } }),
  };
  const agent = new UserAgent();
  const { last } = await agent.follow(`${origin}${prefix}/signin?return_to=/`);
  if (last.status !== 200) throw new Error(`sign-in: ${last.status} ${last.body}`);
  return `sallyport=${agent.cookie(origin, 'sallyport')!}`;
}

async function statusAt({ origin }: Replica, cookie: string): Promise<number> {
  return (await new UserAgent().request('GET', `${origin}/`, { headers: { cookie } })).status;
}

const event = 'http://schemas.openid.net/event/backchannel-logout';
let serial = 0;
async function logOut({ origin }: Replica, named: Json): Promise<void> {
  const { kid, privateKey } = op.signingKey();
  const iat = Math.floor(Date.now() / 1000);
  const claims = {
    iss: op.issuer,
    aud: 'forge',
    iat,
    jti: `r${(serial += 1)}`,
    events: { [event]: {} },
    ...named,
  };
  const token = signJws({ alg: 'RS256', typ: 'logout+jwt', kid }, claims, privateKey, 'RS256');
  const { status } = await new UserAgent().request('POST', `${origin}${prefix}/backchannel-logout/idp`, {
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ logout_token: token }).toString(),
  });
  if (status !== 200) throw new Error(`logout: ${status}`);
}

async function command({ desk }: Replica, ...args: string[]) {
  const [stdout, stderr] = [new LineSink(), new LineSink()];
  const status = await dispatch([...args, '--config', desk.path], { stdout, stderr, env: {} });
  return { status, out: stdout.text, err: stderr.text };
}

/** What `sallyport check` says of an area. */
async function checked(replica: Replica, area: string): Promise<readonly Json[]> {
  const { out } = await command(replica, 'check', '--json');
  const { areas } = JSON.parse(out) as { areas: { name: string; findings: Json[] }[] };
  return areas.find(({ name }) => name === area)?.findings ?? [];
}

t.test('secrets are rotated over two replicas, and nobody who signed in is signed out', async (t) => {
  const [one, two] = [await open(origins[0], [a]), await open(origins[1], [a])];
  t.teardown(() => Promise.all([one.end(), two.end()]));
  const cookies = new Map<string, string>();
  const everybodyIsIn = async (stage: string): Promise<void> => {
    for (const [who, cookie] of cookies)
      for (const replica of [one, two]) t.equal(await statusAt(replica, cookie), 200, `${stage}: ${who}`);
  };
  /** Somebody new at each replica; and logouts and revocations, at one, of sessions made at the other. */
  const endsAreFound = async (stage: string): Promise<void> => {
    for (const [makes, ends] of [
      [one, two],
      [two, one],
    ] as const) {
      const bySub = await signIn(makes, 'leaver');
      await logOut(ends, { sub: 'leaver' });
      t.equal(await statusAt(makes, bySub), 401, `${stage}: a logout by sub`);
      const bySid = await signIn(makes, 'leaver', 'sid-of-leaver');
      await logOut(ends, { sid: 'sid-of-leaver' });
      t.equal(await statusAt(makes, bySid), 401, `${stage}: a logout by sid`);
      const byEmail = await signIn(makes, 'leaver');
      const revoked = await command(ends, 'sessions', 'revoke', '--user', 'leaver@example.com', '--json');
      t.match(JSON.parse(revoked.out), { ended: 1 }, `${stage}: a revocation`);
      t.equal(await statusAt(makes, byEmail), 401);
    }
  };
  const stage = async (name: string, secretsOfOne: string[], secretsOfTwo: string[]): Promise<void> => {
    await one.reload(secretsOfOne);
    await two.reload(secretsOfTwo);
    for (const replica of [one, two])
      cookies.set(`${name}, at ${replica.origin}`, await signIn(replica, `user-${cookies.size}`));
    await everybodyIsIn(name);
    await endsAreFound(name);
    // Names stay whose they are: the same subject again, at the other replica.
    await signIn(two, 'user-0');
    await signIn(one, 'user-1');
  };

  await stage('[A] [A]', [a], [a]);
  await stage('[A,B] [A]', [a, b], [a]);
  await stage('[A,B] [A,B]', [a, b], [a, b]);
  await stage('[B,A] [A,B]', [b, a], [a, b]);
  await stage('[B,A] [B,A]', [b, a], [b, a]);

  await until(async () => (await checked(one, 'durable records'))[0]?.['status'] === 'ok', 'all sealed anew');
  t.match(await checked(one, 'sessions'), [{ status: 'warn', message: /sealed by an older secret/ }]);

  const made = await signIn(one, 'made-under-b');
  await one.reload([b]);
  t.equal(await statusAt(one, made), 200);
  t.match(await checked(one, 'durable records'), [{ status: 'ok' }], 'names and keys need A no more');
  t.match(await checked(one, 'sessions'), [{ status: 'warn', message: /not listed/ }]);
  const old = cookies.values().next().value!;
  t.equal(await statusAt(two, old), 200, 'where A is listed it opens still');
  const browser = new UserAgent();
  browser.setCookie(one.origin, `${old}; Path=/`);
  const { last, chain } = await browser.follow(`${one.origin}/`, {
    until: (url) => url.includes('/callback/'),
  });
  t.equal(chain[0]?.status, 302, 'whose session needs A signs in again');
  t.match(last.location, '/callback/idp');
  op.nextLogin = {
    sub: 'user-0',
    claims: { email: 'user-0@example.com', email_verified: true, preferred_username: 'user-0' },
  };
  t.equal((await browser.follow(`${one.origin}/`)).last.status, 200, 'once, as the user they were');
  t.same(one.told(/fault|unexpected/), []);
});

t.test('a secret put first at once, replica by replica: names stay whose they are', async (t) => {
  const [one, two] = [await open(origins[0], [b]), await open(origins[1], [b])];
  t.teardown(() => Promise.all([one.end(), two.end()]));
  await one.reload([a, b]);
  // Made by the one that knows more, and claimed again at the one that does not know A yet.
  await signIn(one, 'early-bird');
  t.ok(
    await signIn(two, 'early-bird'),
    'the copy of the binding opens with the secret under which it stands',
  );
});

t.test('secrets in files are rotated by writing the files anew, under running requests', async (t) => {
  const desk = openDesk();
  const [first, second] = ['first', 'second'].map((name) => join(desk.directory, name)) as [string, string];
  const writeSecrets = (one: string, two: string): void => {
    for (const [file, secret] of [
      [first, one],
      [second, two],
    ] as const) {
      writeFileSync(`${file}.new`, `${secret}\n`);
      renameSync(`${file}.new`, file);
    }
  };
  writeSecrets(a, b);
  const origin = origins[0];
  desk.write({
    server: { listen: new URL(origin).host, public_url: origin, rate_limit: { sign_in: '10000/1m' } },
    operations: { listen: '127.0.0.1:0' },
    upstream: { url: upstream.url },
    session: { secret_files: [first, second], redis: { url: redis.url }, cache: '0s' },
    log: { access: false },
    sources: [{ ...testClient, id: 'idp', issuer: op.issuer, mfa: { mode: 'carry_over' } }],
  });
  const replica = await startReplica(desk.path);
  t.teardown(async () => {
    await replica.close();
    desk.clear();
  });
  const place = { ...replica, origin, desk } as unknown as Replica;
  const cookie = await signIn(place, 'filed');
  let [asked, refused, asking] = [0, 0, true];
  const traffic = (async () => {
    while (asking) {
      asked += 1;
      if ((await statusAt(place, cookie)) !== 200) refused += 1;
    }
  })();
  const before = replica.told(applied).length;
  writeSecrets(b, a);
  await until(() => replica.told(applied).length > before, 'the reload');
  await until(async () => (await checked(place, 'durable records'))[0]?.['status'] === 'ok', 'sealed anew');
  const seen = asked;
  await until(() => asked > seen + 5);
  asking = false;
  await traffic;
  t.equal(refused, 0, 'not one request of the session was turned away');
  t.match(await checked(place, 'sessions'), [{ status: 'warn', message: /sealed by an older secret/ }]);
});

t.test('check fails while a durable record needs a secret that is not listed', async (t) => {
  const one = await open(origins[0], [a, b]);
  t.teardown(() => one.end());
  await until(async () => (await checked(one, 'durable records'))[0]?.['status'] === 'ok', 'all under A');
  const c = 'secret C of these tests, long enough to be one';
  one.desk.write(
    (await import('yaml')).stringify({
      server: { public_url: one.origin },
      upstream: { url: upstream.url },
      session: { secrets: [c], redis: { url: redis.url } },
      sources: [{ ...testClient, id: 'idp', issuer: op.issuer, mfa: { mode: 'carry_over' } }],
    }),
  );
  t.match(await checked(one, 'durable records'), [
    { status: 'fail', message: /need a secret that is not listed/ },
  ]);
  t.equal((await command(one, 'check')).status, 1);
});

t.test('the assertion key: one for all replicas, and a change of it that verifiers can follow', async (t) => {
  const admin = new Redis(redis.port, '127.0.0.1');
  t.teardown(() => admin.disconnect());
  await admin.flushall();
  const [one, two] = await Promise.all([open(origins[0], [a]), open(origins[1], [a])]);
  t.teardown(() => Promise.all([one.end(), two.end()]));
  const jwksOf = async ({ origin }: Replica): Promise<{ keys: { kid: string }[] }> =>
    (await new UserAgent().request('GET', `${origin}${prefix}/jwks.json`)).json() as {
      keys: { kid: string }[];
    };
  t.same(await jwksOf(one), await jwksOf(two), 'made once, by whichever came first');
  t.equal((await jwksOf(one)).keys.length, 1);

  const cookie = await signIn(one, 'alice');
  const assertionAt = async ({ origin }: Replica): Promise<string> => {
    await new UserAgent().request('GET', `${origin}/`, { headers: { cookie } });
    return upstream.seen.at(-1)?.headers['x-sallyport-assertion'] ?? '';
  };
  let fetched = 0;
  // A verifier that asks the one replica for keys, and keeps them as jose does.
  const keys = createRemoteJWKSet(new URL(`${one.origin}${prefix}/jwks.json`), {
    cooldownDuration: 0,
    [customFetch]: (url, options) => {
      fetched += 1;
      return fetch(url, options);
    },
  });
  const verify = async (jwt: string): Promise<JWTPayload> =>
    (await jwtVerify(jwt, keys, { audience: upstream.url, issuer: [...origins] })).payload;
  const before = await assertionAt(one);
  t.match(await verify(before), { sub: 'alice', aal: 'aal2', iss: origins[0] });
  t.match(await verify(await assertionAt(two)), { sub: 'alice', iss: origins[1] }, 'the other replica’s too');
  t.equal(fetched, 1);

  const keyFile = join(one.desk.directory, 'assertion.pem');
  const writeKey = (): void => {
    const { privateKey } = generateKeyPairSync('ed25519');
    writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  };
  writeKey();
  await one.reload([a], { assertion_key_file: keyFile });
  t.equal((await jwksOf(one)).keys.length, 2, 'the former key is shown for a while');
  const fromFile = await assertionAt(one);
  t.not(fromFile, before);
  t.match(
    await verify(fromFile),
    { sub: 'alice' },
    'the verifier asked again for the key that it did not know',
  );
  t.equal(fetched, 2);
  t.match(await verify(before), { sub: 'alice' }, 'what was signed before the change is good to its end');

  const kid = (await jwksOf(one)).keys[0]?.kid;
  writeKey();
  await one.reload([a], { assertion_key_file: keyFile });
  t.not((await jwksOf(one)).keys[0]?.kid, kid, 'another key under the same name is taken by a reload');
  t.match(await verify(await assertionAt(one)), { sub: 'alice' });
  t.match(await verify(fromFile), { sub: 'alice' });
  t.equal(await statusAt(one, cookie), 200);

  writeFileSync(keyFile, 'no key');
  const refused = await one.app.reload(await loadConfig(one.desk.path, {}), { trigger: 'command' });
  t.equal(refused.result, 'refused');
  t.match(await verify(await assertionAt(one)), { sub: 'alice' }, 'the one before stays in force');
});
