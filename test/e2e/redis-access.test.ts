import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import t from 'tap';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { startPair, useEverything } from './redis-pair.ts';

const at = (path: string): string =>
  fileURLToPath(new URL(`../session/fixtures/${path}.pem`, import.meta.url));

t.test(
  'an ACL user with the documented line, over TLS with a client certificate, is enough for everything',
  async (t) => {
    const document = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8');
    const line = /^user sallyport on >PASSWORD (.*)$/m.exec(document)?.[1] ?? '';
    t.match(line, /-@all/, 'the line is found');
    const port = await freePort();
    const redis = await startRedis({
      port,
      args: [
        ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'yes'],
        ...[
          '--tls-cert-file',
          at('server'),
          '--tls-key-file',
          at('server-key'),
          '--tls-ca-cert-file',
          at('ca'),
        ],
        ...[
          '--requirepass',
          'admin-password',
          '--user',
          'sallyport',
          'on',
          '>user-password',
          ...line.split(' '),
        ],
      ],
    });
    t.teardown(() => redis.stop());
    const tls = { ca_file: at('ca'), client_cert_file: at('client'), client_key_file: at('client-key') };
    const settings = {
      url: `rediss://127.0.0.1:${port}/2`,
      username: 'sallyport',
      password: 'user-password',
      tls,
    };
    const admin = new Redis(port, '127.0.0.1', {
      protocol: 2,
      password: 'admin-password',
      disableClientInfo: true,
      tls: {
        ca: readFileSync(at('ca')),
        cert: readFileSync(at('client')),
        key: readFileSync(at('client-key')),
      },
    });
    t.teardown(() => admin.disconnect());
    await admin.config('RESETSTAT');

    const pair = await startPair(t, [settings, settings], { cache: '10m' });
    await useEverything(t, pair);
    const checked = await pair.command('check');
    t.match(checked.out, /ok {4}server 127\.0\.0\.1:\d+: (Redis|Valkey) \d+\.\d+\.\d+, master/);
    t.match(checked.out, /announces to every replica/);
    t.match(checked.out, /0 failed/);

    const logged = (await admin.call('ACL', 'LOG')) as unknown[];
    t.same(logged, [], 'nothing was refused');
    const used = new Set(
      [...(await admin.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=[1-9]/gm)].map(
        ([, name]) => name,
      ),
    );
    const granted = [...line.matchAll(/(?<= |^)\+(\S+)/g)].map(([, name]) => name);
    t.ok(granted.length > 20);
    t.same(
      granted.filter((name) => !used.has(name)),
      [],
      'nothing is granted that is not used',
    );
  },
);

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
