import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { freePort } from '../support/ports.ts';
import { runSentinel } from '../support/redis-groups.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { startPair, useEverything } from './redis-pair.ts';

const at = (path: string): string =>
  fileURLToPath(new URL(`../session/fixtures/${path}.pem`, import.meta.url));

const document = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8');
/** What the documentation tells to grant. */
const rules = {
  line: /^user sallyport on >PASSWORD (.*)$/m.exec(document)?.[1] ?? '',
  sentinel: /^\| behind Sentinel +\| `([^`]*)`/m.exec(document)?.[1] ?? '',
  cluster: (/^\| in a cluster +\| `([^`]*)`/m.exec(document)?.[1] ?? '').replaceAll('\\|', '|'),
  notInCluster: /^\| in a cluster, on the other hand +\| `([^`]*)` are not needed/m.exec(document)?.[1] ?? '',
  watcher: /where they ask for a user,\s+`([^`]*)`/.exec(document)?.[1] ?? '',
};

const certificates = [
  ...['--tls-cert-file', at('server'), '--tls-key-file', at('server-key')],
  ...['--tls-ca-cert-file', at('ca'), '--tls-auth-clients', 'yes'],
];
const tls = { ca_file: at('ca'), client_cert_file: at('client'), client_key_file: at('client-key') };

/** A server that speaks TLS alone, wants a certificate, and knows the documented user. */
async function startGuarded(t: Test, granted: string, args: readonly string[] = []) {
  const port = await freePort();
  const redis = await startRedis({
    port,
    args: [
      ...['--port', '0', '--tls-port', String(port), ...certificates, ...args],
      ...['--requirepass', 'admin-password'],
      ...['--user', 'sallyport', 'on', '>user-password', ...granted.split(' ')],
    ],
  });
  t.teardown(() => redis.stop());
  const admin = administer(t, port, 'admin-password');
  await admin.config('RESETSTAT');
  return { port, admin };
}

function administer(t: Test, port: number, password?: string): Redis {
  const admin = new Redis(port, '127.0.0.1', {
    protocol: 2,
    disableClientInfo: true,
    ...(password === undefined ? {} : { password }),
    tls: {
      ca: readFileSync(at('ca')),
      cert: readFileSync(at('client')),
      key: readFileSync(at('client-key')),
    },
  });
  admin.on('error', () => undefined);
  t.teardown(() => admin.disconnect());
  return admin;
}

/** Everything works, nothing was refused; and what was used of what was granted. */
async function holdToGrant(t: Test, admin: Redis, settings: Record<string, unknown>): Promise<Set<string>> {
  const pair = await startPair(t, [settings, settings], { cache: '10m' });
  await useEverything(t, pair);
  const checked = await pair.command('check');
  t.match(checked.out, /ok {4}server 127\.0\.0\.1:\d+: (Redis|Valkey) \d+\.\d+\.\d+, master/);
  t.match(checked.out, /announces to every replica/);
  t.match(checked.out, /0 failed/);
  t.same(await admin.call('ACL', 'LOG'), [], 'nothing was refused');
  const used = (await admin.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=[1-9]/gm);
  return new Set([...used].map(([, name]) => name ?? ''));
}

const grants = (line: string): string[] =>
  [...line.matchAll(/(?<= |^)\+(\S+)/g)].map(([, name]) => name ?? '');
const user = { username: 'sallyport', password: 'user-password', tls };

t.test('the documented ACL line, over TLS with a client certificate, is enough for one server', async (t) => {
  t.match(rules.line, /-@all/, 'the line is found');
  const { port, admin } = await startGuarded(t, rules.line);
  const used = await holdToGrant(t, admin, { url: `rediss://127.0.0.1:${port}/2`, ...user });
  t.ok(grants(rules.line).length > 20);
  t.same(
    grants(rules.line).filter((name) => !used.has(name)),
    [],
    'nothing is granted that is not used',
  );
});

t.test(
  'with what is documented for Sentinel, the line is enough behind sentinels that speak TLS',
  async (t) => {
    t.match(rules.sentinel, /^\+/);
    t.match(rules.watcher, /^\+/);
    const { port, admin } = await startGuarded(t, `${rules.line} ${rules.sentinel}`, [
      '--tls-replication',
      'yes',
    ]);
    const watchPort = await freePort();
    const sentinel = runSentinel([
      'port 0',
      `tls-port ${watchPort}`,
      'tls-replication yes',
      ...[
        `tls-cert-file ${at('server')}`,
        `tls-key-file ${at('server-key')}`,
        `tls-ca-cert-file ${at('ca')}`,
      ],
      `sentinel monitor door 127.0.0.1 ${port} 1`,
      'sentinel auth-pass door admin-password',
      `user watcher on >watch-password -@all ${rules.watcher}`,
    ]);
    t.teardown(() => sentinel.stop());
    const watch = administer(t, watchPort);
    await until(async () => (await watch.ping().catch(() => '')) === 'PONG', 'the sentinel answers');
    const used = await holdToGrant(t, admin, {
      sentinel: {
        name: 'door',
        nodes: [`127.0.0.1:${watchPort}`],
        username: 'watcher',
        password: 'watch-password',
      },
      ...user,
    });
    t.ok(used.has('role'));
  },
);

t.test('with what is documented for a cluster, the line is enough there, over TLS', async (t) => {
  t.match(rules.cluster, /cluster\|slots/);
  t.match(rules.notInCluster, /^\+/);
  const without = rules.notInCluster.replaceAll('+', '-');
  const { admin, port } = await startGuarded(t, `${rules.line} ${rules.cluster} ${without}`, [
    ...['--cluster-enabled', 'yes', '--cluster-port', String(await freePort()), '--tls-cluster', 'yes'],
  ]);
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await until(async () => String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
  const used = await holdToGrant(t, admin, { cluster: { nodes: [`127.0.0.1:${port}`] }, ...user });
  for (const name of grants(rules.cluster))
    // A slot on its way: test/session/redis-cluster.test.ts.
    if (name !== 'asking') t.ok(used.has(name), name);
  const dry = await admin.call('ACL', 'DRYRUN', 'sallyport', 'ASKING');
  t.equal(dry, 'OK');
});

t.test('what an ACL user lacks is named by check, without a secret', async (t) => {
  const rows: [string, readonly string[], RegExp][] = [
    ['no right to write', ['+@all', '-@write'], /NOPERM/],
    ['other keys', ['+@all', 'resetkeys', '~other:*'], /NOPERM/],
    ['no channel', ['+@all', 'resetchannels'], /announcements do not arrive/],
    ['no INFO', ['+@all', '-info'], /version and eviction policy can't be read/],
  ];
  const redis = await startRedis({
    args: ['--user', 'sallyport', 'on', '>user-password', 'allkeys', 'allchannels', '+@all'],
  });
  t.teardown(() => redis.stop());
  const settings = { url: redis.url, username: 'sallyport', password: 'user-password' };
  const pair = await startPair(t, [settings, settings]);
  const admin = new Redis(redis.port, '127.0.0.1', { protocol: 2, disableClientInfo: true });
  t.teardown(() => admin.disconnect());
  for (const [title, rules, expected] of rows) {
    await admin.call('ACL', 'SETUSER', 'sallyport', 'allkeys', 'allchannels', ...rules);
    const { out, err } = await pair.command('check');
    t.match(out, expected, title);
    t.match(out, /docs\/redis\.md|publish and subscribe|allow INFO/, title);
    t.notMatch(`${out}${err}`, 'user-password');
  }
});
