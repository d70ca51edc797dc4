import { generateKeyPairSync } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose';
import t from 'tap';
import { askReload } from '../../src/reload/control-socket.ts';
import { buildProgram } from '../support/built.ts';
import { startRedis } from '../support/redis.ts';
import { ask, load } from '../workers/stage.ts';
import { startWorkersHouse, type Guest } from './workers-house.ts';

/* Secrets and the assertion key are changed by reloads of two workers at once, under load. */

const { main, clear } = buildProgram();
const redis = await startRedis();
t.teardown(async () => {
  await redis.stop();
  clear();
});
const a = '0123456789abcdef0123456789abcdef-of-the-tests';
const b = 'secret B of these tests, long enough to be one';
const accepted = { url: redis.url };

t.test('secrets and assertion key are rotated under load, and nobody is signed out', async (t) => {
  const house = await startWorkersHouse(t, main, {
    redis: accepted,
    // Each request asks Redis, and unseals.
    session: { secrets: [a], cache: '0s' },
    accessTokenSeconds: 3600,
  });
  const { served, origin } = house;
  const reload = async (session: Record<string, unknown>): Promise<void> => {
    served.write({ session: { redis: accepted, cache: '0s', ...session } });
    const outcome = await askReload(join(served.directory, 'control.sock'), 'ops@example.com');
    t.match(outcome, { result: 'applied', restartRequired: [] });
  };
  const guests: Guest[] = [await house.signIn('made-under-a')];
  const traffic = load([
    () => house.request(guests[0]!),
    () => house.request(guests[0]!),
    () => house.request(guests.at(-1)!),
    () => house.request(guests.at(-1)!),
  ]);
  const stages = [
    [a, b],
    [b, a],
  ];
  for (const secrets of stages) {
    await reload({ secrets });
    guests.push(await house.signIn(`made-under-${secrets.map((each) => (each === a ? 'a' : 'b')).join('')}`));
    for (const guest of guests) await house.untilAllSay(guest, 200);
  }

  const keyFile = join(served.directory, 'assertion.pem');
  const jwks = async (): Promise<JSONWebKeySet> =>
    JSON.parse((await ask(`${origin}/_sallyport/jwks.json`)).text) as JSONWebKeySet;
  const [made] = (await jwks()).keys;
  for (const round of [1, 2]) {
    const { privateKey } = generateKeyPairSync('ed25519');
    writeFileSync(`${keyFile}.new`, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    renameSync(`${keyFile}.new`, keyFile);
    const from = house.upstream.seen.length;
    await reload({ secrets: [b, a], assertion_key_file: keyFile });
    const after = house.upstream.seen.length;
    for (const guest of guests) await house.untilAllSay(guest, 200);
    const sets = await Promise.all(Array.from({ length: 12 }, jwks));
    t.equal(
      new Set(sets.map((set) => JSON.stringify(set))).size,
      1,
      `both show the same keys, round ${round}`,
    );
    const keys = createLocalJWKSet(sets[0]!);
    const kids = new Set<unknown>();
    for (const { headers } of house.upstream.seen.slice(from)) {
      const { protectedHeader } = await jwtVerify(headers['x-sallyport-assertion'] ?? '', keys);
      kids.add(protectedHeader.kid);
    }
    t.ok(kids.size <= 2, 'what was signed just before the change verifies, too');
    const latest = house.upstream.seen.slice(after);
    const newest = await Promise.all(
      latest
        .slice(-20)
        .map(
          async ({ headers }) =>
            (await jwtVerify(headers['x-sallyport-assertion'] ?? '', keys)).protectedHeader.kid,
        ),
    );
    t.same([...new Set(newest)], [sets[0]?.keys[0]?.kid], 'both sign with the new key');
    t.not(sets[0]?.keys[0]?.kid, made?.kid);
  }

  await traffic.stop();
  t.same([...traffic.outcomes.keys()], ['200'], JSON.stringify([...traffic.outcomes]));

  // Who signed in under B needs A no more; and a worker that is replaced starts with what is in force.
  await reload({ secrets: [b], assertion_key_file: keyFile });
  await house.untilAllSay(guests.at(-1)!, 200);
  t.equal(house.audited('signin.succeeded').length, guests.length, 'each signed in once');
  t.same(house.audited('session.ended'), []);
  t.equal(served.out.stderr, '');
});
