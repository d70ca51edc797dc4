import t from 'tap';
import { checkDurable } from '../../src/commands/check/durable.ts';
import { createBindings } from '../../src/identity/binding.ts';
import { parseConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { loadOrCreateSealed } from '../../src/session/durable-key.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStore } from '../../src/session/store.ts';
import { startRedis } from '../support/redis.ts';

const first = 'the first secret of these tests, 32+';
const second = 'the next secret of these tests, 32 +';

function configOf(redisUrl: string | undefined, secrets: readonly string[], more = '') {
  const redis = redisUrl === undefined ? '' : `, redis: { url: "${redisUrl}" }`;
  const loaded = parseConfig(
    `server: { public_url: https://forge.example.com }
upstream: { url: "http://127.0.0.1:1" }
session: { secrets: ${JSON.stringify(secrets)}${redis}${more} }
sources: [{ id: idp, issuer: https://idp.example.com, client_id: a, client_secret: b }]
`,
    'sallyport.yaml',
    {},
  );
  if (!loaded.ok) throw new Error(loaded.report);
  return loaded.config;
}

t.test('check fails while a durable record needs a secret that is not listed, and only then', async (t) => {
  const redis = await startRedis();
  const config = (...secrets: string[]) => configOf(redis.url, secrets);
  const store = createStore(config(first).session, {
    meter: silentMeter,
    clock: systemClock,
    logWarning: () => undefined,
  });
  t.teardown(() => Promise.all([store.close(), redis.stop()]));
  const sealing = (...secrets: string[]) =>
    createSealing(
      secrets.map((secret) => Buffer.from(secret)),
      systemRandomness,
    );
  const bindings = (...secrets: string[]) =>
    createBindings({ store, clock: systemClock, sealing: sealing(...secrets) });
  const findings = async (...secrets: string[]) => (await checkDurable(config(...secrets)))?.findings;

  t.match(await findings(first), [{ status: 'ok', message: /^0 records/ }]);
  await bindings(first).claim({
    kind: 'username',
    value: 'alice',
    issuer: 'https://idp.example.com',
    subject: 's-1',
    source: 'idp',
    grantedBy: 'sign_in',
    username: undefined,
  });
  await loadOrCreateSealed(store, sealing(first), 'assertion', () => Buffer.from('a key'));
  t.match(await findings(first), [{ status: 'ok', message: /^2 records/ }]);
  t.match(await findings(second), [
    { status: 'fail', message: /^2 of 2 durable records/, hint: /former secret/ },
  ]);
  const ownKey = configOf(redis.url, [second], ', assertion_key_file: /run/key.pem');
  t.match(
    (await checkDurable(ownKey))?.findings,
    [{ status: 'fail', message: /^1 of 1/ }],
    'a key that nobody uses is no matter',
  );
  t.match(await findings(second, first), [{ status: 'warn', message: /^2 of 2/ }]);

  // What a start does.
  await bindings(second, first).renew();
  t.match(await findings(second), [{ status: 'fail', message: /^1 of 2/ }], 'the assertion key is left');
  await loadOrCreateSealed(store, sealing(second, first), 'assertion', () => Buffer.from('another'));
  t.match(await findings(second), [{ status: 'ok', message: /^2 records/ }]);

  await redis.stop();
  t.equal(await findings(second), undefined, 'a Redis that is down stands in its own area');
});

t.test('where sessions are kept in memory there is nothing durable', async (t) => {
  t.equal(await checkDurable(configOf(undefined, [first])), undefined);
});
