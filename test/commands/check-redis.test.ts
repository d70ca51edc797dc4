import t from 'tap';
import { checkRedis, judgeVersion } from '../../src/commands/check/redis.ts';
import { configSchema, type ConfigInput } from '../../src/config/schema.ts';
import { freePort } from '../support/ports.ts';
import { askRedis } from '../support/redis-groups.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';

type RedisInput = NonNullable<ConfigInput['session']>['redis'];

async function findings(redis: RedisInput) {
  const { session } = configSchema.parse({
    server: { public_url: 'https://forge.example.com' },
    upstream: { url: 'http://127.0.0.1:1' },
    session: { secrets: ['x'.repeat(32)], redis },
    sources: [{ id: 'a', issuer: 'https://idp.example.com', client_id: 'a', client_secret: 'b' }],
  });
  return (await checkRedis(session)).findings;
}

t.test('each way to miss the right servers is named with its cure', async (t) => {
  const [alone, node] = await Promise.all([
    startRedis(),
    freePort().then((port) =>
      startRedis({ args: ['--cluster-enabled', 'yes', '--cluster-port', String(port)] }),
    ),
  ]);
  t.teardown(() => Promise.all([alone.stop(), node.stop()]));
  const nobody = `127.0.0.1:${await freePort()}`;
  const [aloneAt, nodeAt] = [`127.0.0.1:${alone.port}`, `127.0.0.1:${node.port}`];
  const rows: [string, RedisInput, RegExp, RegExp][] = [
    ['no sentinel', { sentinel: { name: 'm', nodes: [nobody] } }, /no sentinel tells/, /start the sentinels/],
    [
      'a server that is no sentinel',
      { sentinel: { name: 'm', nodes: [aloneAt] } },
      /no sentinel tells/,
      /session\.redis\.sentinel/,
    ],
    ['no node', { cluster: { nodes: [nobody] } }, /ECONNREFUSED/, /session\.redis\.cluster/],
    ['no cluster', { cluster: { nodes: [aloneAt] } }, /no node of a cluster/, /cluster-enabled yes/],
    ['slots without a master', { cluster: { nodes: [nodeAt] } }, /CLUSTERDOWN|have no master|who holds/, /./],
    ['a node by its url', { url: node.url }, /CLUSTERDOWN/, /--cluster check/],
  ];
  for (const [title, redis, cause, cure] of rows) {
    const [first] = await findings(redis);
    t.equal(first?.status, 'fail', title);
    t.match(first?.message, cause, title);
    t.match(first?.hint, cure, title);
  }
  await askRedis(node.port, 'CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await until(async () => String(await askRedis(node.port, 'CLUSTER', 'INFO')).includes('cluster_state:ok'));
  t.match(await findings({ cluster: { nodes: [nodeAt] } }), [
    { status: 'ok', message: /reads, writes/ },
    { status: 'ok', message: /announces/ },
    { status: 'ok', message: /(Redis|Valkey) .*, master/ },
    { status: 'ok', message: /noeviction/ },
  ]);
});

t.test(
  'a server that lacks the commands is named with its version and the cure; others are not',
  async (t) => {
    const rows: [string | undefined, string | undefined, boolean][] = [
      ['Redis 6.2.14', '6.2.14', false],
      ['Redis 5.0.3', '5.0.3', false],
      ['Redis 7.0.0', '7.0.0', true],
      ['Redis 8.2.1', '8.2.1', true],
      ['Redis 10.0.0', '10.0.0', true],
      // Valkey says which Redis it follows.
      ['Valkey 7.2.5', '7.2.4', true],
      ['Valkey 8.1.0', '7.2.4', true],
      [undefined, undefined, true],
      ['Redis unstable', 'unstable', true],
    ];
    for (const [version, redisVersion, good] of rows) {
      const findings = judgeVersion({
        where: '10.0.0.1:6379',
        version,
        redisVersion,
        evictionPolicy: 'noeviction',
        maxMemoryBytes: 0,
        role: 'master',
      });
      t.equal(findings.length, good ? 0 : 1, version ?? 'untold');
      if (good) continue;
      t.match(findings[0], { status: 'fail', hint: /Redis 7\.0 or later, or Valkey 7\.2 or later/ });
      t.match(findings[0]?.message, `10.0.0.1:6379 is ${version}`);
    }
  },
);
