import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { freePort } from '../support/ports.ts';
import { LineSink, testClient } from '../support/sallyport.ts';
import { until } from '../support/until.ts';
import { startHouse, type House } from './redis-house.ts';
import { stopwatch } from '../support/stopwatch.ts';

/* Several replicas on one Redis: how soon an end is in force on each, and what becomes of users whose replica dies. */

const secret = '0123456789abcdef0123456789abcdef-of-the-tests';

/** A configuration file of a replica that the test does not run itself. */
function writeConfig(t: Test, house: House, more: object = {}): string {
  const dir = mkdtempSync(join(tmpdir(), 'sallyport-replicas-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'sallyport.yaml');
  writeFileSync(
    file,
    stringify({
      server: { public_url: house.origin },
      upstream: { url: house.upstream.url },
      session: { secrets: [secret], redis: { url: house.redis.url } },
      sources: [{ id: 'idp', issuer: house.op.issuer, ...testClient }],
      ...more,
    }),
  );
  return file;
}

async function revoke(t: Test, house: House, sub: string): Promise<void> {
  const [stdout, stderr] = [new LineSink(), new LineSink()];
  const status = await dispatch(['sessions', 'revoke', '--sub', sub], {
    stdout,
    stderr,
    env: { SALLYPORT_CONFIG: writeConfig(t, house) },
  });
  t.equal(status, 0, stderr.text);
}

type Browser = ReturnType<House['browser']>;

/** Asks every replica. */
async function statuses(house: House, who: Browser): Promise<readonly number[]> {
  const found: number[] = [];
  for (const index of house.apps.keys()) {
    who.at(index);
    found.push((await who.ask('/_sallyport/whoami')).status);
  }
  return found;
}

/** Signs in, and is in the memory of all. */
async function signInEverywhere(t: Test, house: House, sub: string): Promise<Browser> {
  const who = house.browser();
  t.equal((await who.signIn(sub)).status, 200);
  t.same(
    await statuses(house, who),
    house.apps.map(() => 200),
  );
  return who;
}

/** Milliseconds until no replica serves the session any more. */
async function endsEverywhere(house: House, who: Browser, what: string): Promise<number> {
  const elapsedMs = stopwatch();
  await until(async () => (await statuses(house, who)).every((status) => status === 401), what);
  return elapsedMs();
}

t.jobs = 3;

t.test('a session that ended is served by no replica after a second', { buffered: true }, async (t) => {
  // Memory would serve it for minutes.
  const session = { cache: '10m' };
  const house = await startHouse(t, [{ session }, { session }, { session }]);
  const [ada, ben] = [await signInEverywhere(t, house, 'ada'), await signInEverywhere(t, house, 'ben')];
  await revoke(t, house, 'ada');
  const revokedMs = await endsEverywhere(house, ada, 'the revocation');
  t.ok(revokedMs < 1000, `${Math.round(revokedMs)} ms`);
  t.same(await statuses(house, ben), [200, 200, 200], 'nobody else');
  ben.at(0);
  const page = await ben.ask('/_sallyport/signout', { navigate: true });
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
  const cookie = `sallyport=${ben.cookie()}`;
  await ben.ask('/_sallyport/signout', {
    method: 'POST',
    navigate: true,
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
    body: new URLSearchParams({ csrf }).toString(),
  });
  // The browser has forgotten its cookie; whoever has a copy of it gets nothing for it either.
  const copy = house.browser();
  copy.agent.setCookie(house.origin, `${cookie}; Path=/`);
  const signedOutMs = await endsEverywhere(house, copy, 'the sign-out');
  t.ok(signedOutMs < 1000, `${Math.round(signedOutMs)} ms`);
});

for (const [how, cut] of [
  ['swallowed', (house: House) => house.links.forEach((link) => (link.state = 'swallow'))],
  ['reset again and again', (house: House) => house.links.forEach((link) => (link.state = 'refuse'))],
] as const) {
  t.test(
    `where announcements are ${how}, a session that ended is served for session.cache at worst`,
    { buffered: true },
    async (t) => {
      const session = { cache: '5s' };
      const house = await startHouse(t, [{ session }, { session }, { session }]);
      for (const link of house.links) link.concerns = (sent) => sent.includes('subscribe');
      cut(house);
      const deaf = (): boolean =>
        house.apps.every((app) =>
          app.log.lines().some(({ message }) => /can not be heard/.test(String(message))),
        );
      await until(deaf, 'they have noticed');
      const ada = await signInEverywhere(t, house, 'ada');
      await revoke(t, house, 'ada');
      const first = await statuses(house, ada);
      t.ok(first.includes(200), `unheard: ${first.join()}`);
      const tookMs = await endsEverywhere(house, ada, 'the revocation');
      // Answered from memory a moment before the end of the cache, and looked at a moment later.
      t.ok(tookMs < 6000, `${Math.round(tookMs)} ms`);
    },
  );
}

t.test('a replica is killed while it serves: users go on with the other', { buffered: true }, async (t) => {
  const house = await startHouse(t, [{}]);
  const port = await freePort();
  const operations = await freePort();
  const file = writeConfig(t, house, {
    server: { public_url: house.origin, listen: `127.0.0.1:${port}` },
    operations: { listen: `127.0.0.1:${operations}` },
  });
  const child = spawn(
    process.execPath,
    ['--import=tsx', new URL('../../src/main.ts', import.meta.url).pathname, 'serve', '--config', file],
    { stdio: 'ignore', env: { PATH: process.env['PATH'] ?? '' } },
  );
  const gone = new Promise((resolve) => child.once('exit', resolve));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  const [ada, ben] = [house.browser(), house.browser()];
  ada.to(port);
  ben.to(port);
  await until(
    () =>
      fetch(`http://127.0.0.1:${operations}/readyz`).then(
        ({ status }) => status === 200,
        () => false,
      ),
    'the other replica',
    30_000,
  );
  t.equal((await ada.signIn('ada')).status, 200, 'signed in at the one that will die');
  const callback = (await ben.signInHalfway('ben')).slice(house.origin.length);
  const cookie = ada.cookie();
  const running = Array.from({ length: 20 }, (_, at) =>
    ada.ask(`/hello?${at}`).then(
      ({ status }) => String(status),
      (error: unknown) => String((error as NodeJS.ErrnoException).code),
    ),
  );
  child.kill('SIGKILL');
  await gone;
  t.same(
    (await Promise.all(running)).filter(
      (outcome) => !['200', 'ECONNRESET', 'ECONNREFUSED'].includes(outcome),
    ),
    [],
    'whole, or cut',
  );
  ada.at(0);
  ben.at(0);
  t.equal((await ada.ask('/hello')).status, 200, 'still signed in');
  t.equal(house.upstream.seen.at(-1)?.headers['x-forwarded-user'], 'ada');
  t.equal(ada.cookie(), cookie);
  t.equal(
    (await ben.ask(callback, { navigate: true })).status,
    302,
    'a sign-in that it began ends at the other',
  );
  t.equal((await ben.ask('/hello')).status, 200);
  t.equal((await house.readiness()).status, 'ready');
});

t.test(
  'outage_grace: from memory for so long from the beginning of the outage, not a moment longer, and never who was signed out',
  { buffered: true },
  async (t) => {
    let aheadMs = 0;
    const clock = { nowMs: () => Date.now() + aheadMs, steadyMs: () => performance.now() + aheadMs };
    const session = { outage_grace: '10m', idle_timeout: '30m' };
    const house = await startHouse(t, [
      { session, clock },
      { session, clock },
    ]);
    const [ada, ben, cat] = [
      await signInEverywhere(t, house, 'ada'),
      await signInEverywhere(t, house, 'ben'),
      await signInEverywhere(t, house, 'cat'),
    ];
    // In force on both the moment that it is announced, though Redis dies right after it.
    await revoke(t, house, 'ben');
    await house.redis.kill();
    const beganAt = Date.now();
    for (const index of [0, 1]) await until(async () => (await house.readiness(index)).status === 'degraded');
    const knownBy = Date.now();
    t.same(await statuses(house, ada), [200, 200]);
    t.same(await statuses(house, ben), [503, 503], 'who was revoked just before is not served');

    // Who wants to be signed out is told that it did not work, and is not served from memory by that replica any more.
    cat.at(0);
    const page = await cat.ask('/_sallyport/signout', { navigate: true });
    t.equal(page.status, 200);
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
    const out = await cat.ask('/_sallyport/signout', {
      method: 'POST',
      navigate: true,
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
      body: new URLSearchParams({ csrf }).toString(),
    });
    t.equal(out.status, 503);
    t.same(out.setCookies, []);
    t.equal((await cat.ask('/hello')).status, 503);

    aheadMs = 10 * 60_000 - (Date.now() - beganAt) - 2000;
    t.same(await statuses(house, ada), [200, 200], 'until the end of the grace');
    aheadMs = 10 * 60_000 + (knownBy - beganAt);
    t.same(await statuses(house, ada), [503, 503], 'and no longer');

    await house.redis.restart();
    for (const index of [0, 1]) await until(async () => (await house.readiness(index)).status === 'ready');
    t.same(await statuses(house, ada), [200, 200], 'nobody was signed out by it');
    t.same(await statuses(house, ben), [401, 401]);
    t.same(await statuses(house, cat), [200, 200], 'whose sign-out was never done');
  },
);
