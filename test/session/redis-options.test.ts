import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentMeter } from '../../src/kernel/meter.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { readRedisOptions } from '../../src/session/redis-options.ts';
import type { RedisSettings } from '../../src/session/redis-options.ts';
import { createStore } from '../../src/session/store.ts';
import { createStillClock } from './clock.ts';

const read = (settings: Omit<RedisSettings, 'key_prefix'>) =>
  readRedisOptions({ key_prefix: 'sp:', ...settings });

t.test('a url names host, port, database, user and password', async (t) => {
  const rows: [string, object, object][] = [
    [
      'redis://redis',
      { host: 'redis', port: 6379 },
      { db: 0, username: undefined, password: undefined, tls: undefined },
    ],
    ['redis://redis:6380/0', { host: 'redis', port: 6380 }, { db: 0 }],
    ['redis://10.0.0.1/15', { host: '10.0.0.1' }, { db: 15 }],
    ['redis://[::1]:7000/', { host: '::1', port: 7000 }, { db: 0 }],
    ['rediss://redis.example.com', { port: 6379 }, { tls: { ca: undefined } }],
    ['redis://door@redis', {}, { username: 'door', password: undefined }],
  ];
  for (const [url, address, access] of rows)
    t.match(read({ url }), { servers: { kind: 'single', address }, access }, url);
  const { access } = read({ url: 'redis://us%40er:p%2Fw@redis' });
  t.equal(access.password?.reveal(), 'p/w');
  t.equal(access.username, 'us@er');
});

t.test('keys beside the url win over what stands in it', async (t) => {
  const file = join(t.testdir(), 'password');
  writeFileSync(file, 'from file\n');
  const url = 'redis://a:b@redis';
  t.equal(read({ url, username: 'c' }).access.username, 'c');
  t.equal(read({ url, password: new Secret('d') }).access.password?.reveal(), 'd');
  t.equal(
    read({ url, password_file: file }).access.password?.reveal(),
    'from file',
    'one newline is dropped',
  );
});

t.test('certificates are read from their files', async (t) => {
  const file = join(t.testdir(), 'pem');
  writeFileSync(file, 'pem');
  const tls = { ca_file: file, client_cert_file: file, client_key_file: file };
  const { access } = read({ url: 'rediss://redis', tls });
  t.equal(access.tls?.ca?.toString(), 'pem');
  t.equal(access.tls?.cert?.toString(), 'pem');
  t.equal(access.tls?.key?.reveal(), 'pem');
});

t.test(
  'sentinels have an access of their own, and TLS as the servers unless it is said otherwise',
  async (t) => {
    const file = join(t.testdir(), 'password');
    writeFileSync(file, 'of the sentinels\n');
    const options = read({
      sentinel: {
        name: 'door',
        nodes: ['a', 'b:1', '[::1]:2'],
        db: 4,
        username: 'watcher',
        password_file: file,
      },
      username: 'u',
      password: new Secret('p'),
      tls: {},
    });
    t.match(options.servers, {
      kind: 'sentinel',
      name: 'door',
      sentinels: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 1 },
        { host: '::1', port: 2 },
      ],
      access: { db: 0, username: 'watcher', tls: { ca: undefined } },
    });
    if (options.servers.kind === 'sentinel')
      t.equal(options.servers.access.password?.reveal(), 'of the sentinels');
    t.match(options.access, { db: 4, username: 'u', tls: { ca: undefined } });
    t.equal(options.access.password?.reveal(), 'p');
    const plain = read({ sentinel: { name: 'door', nodes: ['a'], tls: false }, tls: {} });
    t.ok(plain.access.tls);
    t.match(plain.servers, { access: { tls: undefined, username: undefined, password: undefined } });
    t.equal(read({ sentinel: { name: 'door', nodes: ['a'] } }).access.tls, undefined);
  },
);

t.test('the nodes of a cluster share one access, in database 0', async (t) => {
  const options = read({ cluster: { nodes: ['a', 'b:1'] }, username: 'u', password: new Secret('p') });
  t.match(options, {
    servers: {
      kind: 'cluster',
      seeds: [
        { host: 'a', port: 6379 },
        { host: 'b', port: 1 },
      ],
    },
    access: { db: 0, username: 'u', tls: undefined },
  });
});

t.test('what cannot be meant is refused, and no message repeats the password', async (t) => {
  const rows: Omit<RedisSettings, 'key_prefix'>[] = [
    {},
    { url: 'redis' },
    { url: 'http://:hunter2@redis' },
    { url: 'redis://:hunter2@' },
    { url: 'redis://:hunter2@redis:99999' },
    { url: 'redis://:hunter2@redis/one' },
    { url: 'redis://:hunter2@redis/-1' },
    { url: 'redis://:hunter2@redis/0?tls=no' },
    { url: 'redis://:hunter2%@redis' },
    { url: 'redis://:hunter2@redis', tls: {} },
    { url: 'rediss://:hunter2@redis', tls: { ca_file: '/nowhere/ca.pem' } },
    { url: 'rediss://:hunter2@redis', tls: { client_cert_file: '/nowhere/cert.pem' } },
    { url: 'redis://redis', password_file: '/nowhere/password' },
    { url: 'redis://:hunter2@redis', cluster: { nodes: ['a'] } },
    { cluster: { nodes: ['a'] }, sentinel: { name: 'm', nodes: ['a'] } },
    { cluster: { nodes: [] } },
    { cluster: { nodes: ['redis://:hunter2@a'] } },
    { sentinel: { name: 'm', nodes: ['me:hunter2@a'] } },
    { sentinel: { name: 'm', nodes: ['a'], tls: true } },
    { sentinel: { name: 'm', nodes: ['a'], password_file: '/nowhere/password' } },
  ];
  for (const settings of rows) {
    let error: unknown;
    try {
      read(settings);
    } catch (caught) {
      error = caught;
    }
    t.match(error, { code: 'config_invalid' }, JSON.stringify(settings));
    t.notMatch(JSON.stringify([String(error), error]), /hunter2/);
  }
});

t.test("without redis sessions are kept in memory; the warning is the configuration's", async (t) => {
  const warnings: string[] = [];
  const deps = {
    meter: silentMeter,
    clock: createStillClock(),
    logWarning: (message: string) => void warnings.push(message),
  };
  const store = createStore({}, deps);
  t.equal(store.health().up, true);
  t.same(warnings, []);
});
