import t from 'tap';
import { configSchema, type ConfigInput } from '../../src/config/schema.ts';
import { keepRunning } from '../../src/reload/restart-keys.ts';

const secret = 'x'.repeat(32);
const base: ConfigInput = {
  server: { public_url: 'https://forge.example.com' },
  upstream: { url: 'http://127.0.0.1:3000' },
  session: { secrets: [secret], redis: { url: 'redis://127.0.0.1/0', password: 'one' } },
  sources: [{ id: 'idp', issuer: 'https://idp.example.com', client_id: 'forge' }],
};
const tls = { cert_file: '/a', key_file: '/b' };
const parse = (over: Partial<ConfigInput>) => configSchema.parse({ ...base, ...over });

/** What is changed, and what waits for a restart of it. */
const table: readonly (readonly [Partial<ConfigInput>, readonly string[]])[] = [
  [{}, []],
  [{ server: { ...base.server, listen: '127.0.0.1:1' } }, ['server.listen']],
  [{ server: { ...base.server, path_prefix: '/x' } }, ['server.path_prefix']],
  [{ server: { ...base.server, max_header_size: '64KiB' } }, ['server.max_header_size']],
  [{ server: { ...base.server, workers: 2 } }, ['server.workers']],
  [{ server: { ...base.server, tls } }, ['server.tls']],
  [{ server: { ...base.server, trusted_proxies: ['10.0.0.0/8'], shutdown_grace: '5s' } }, []],
  [{ operations: { listen: '127.0.0.1:2' } }, ['operations.listen']],
  [{ operations: { control_socket: '/run/s.sock' } }, ['operations.control_socket']],
  [{ operations: { readiness_requires: ['redis'] } }, []],
  [
    { session: { ...base.session, redis: { url: 'redis://127.0.0.1/0', password: 'two' } } },
    ['session.redis'],
  ],
  [{ session: { secrets: [secret] } }, ['session.redis']],
  [{ session: { ...base.session, cookie_name: '__Host-other' } }, ['session.cookie_name']],
  [{ session: { ...base.session, idle_timeout: '1h', secrets: ['y'.repeat(32), secret] } }, []],
  [{ upstream: { url: 'unix:/run/app.sock', preset: 'grafana' } }, []],
  [{ sources: [{ id: 'other', issuer: 'https://idp.example.com', client_id: 'forge' }] }, []],
  [{ log: { level: 'debug' }, audit: { file: '/var/log/a' }, branding: { product_name: 'Forge' } }, []],
];

t.test('what a running process cannot follow keeps its value and is named; all else is new', async (t) => {
  const running = parse({});
  for (const [over, keys] of table) {
    const next = parse(over);
    const { config, restartRequired } = keepRunning(running, next);
    t.strictSame(restartRequired, keys, JSON.stringify(over));
    t.strictSame(keepRunning(running, config).restartRequired, [], 'what is in force needs no restart');
    const [section, key] = (keys[0] ?? '').split('.');
    for (const name of Object.keys(next) as (keyof typeof next)[]) {
      const before = running[name] as Record<string, unknown>;
      const expected = Object.fromEntries(
        Object.entries({
          ...(next[name] as object),
          ...(name === section && key !== undefined && { [key]: before[key] }),
        }).filter(([, value]) => value !== undefined),
      );
      t.same({ ...(config[name] as object) }, expected, `${name} of ${JSON.stringify(over)}`);
    }
  }
});

t.test('back and forth leaves nothing to restart for', async (t) => {
  const running = parse({});
  const moved = keepRunning(running, parse({ operations: { listen: '127.0.0.1:2' } })).config;
  t.strictSame(keepRunning(moved, parse({})).restartRequired, []);
});
