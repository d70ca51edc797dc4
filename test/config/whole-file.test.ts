import t from 'tap';
import { wholeDefinition } from '../../src/config/definition.ts';
import type { Definition } from '../../src/config/definition.ts';
import { readDocument } from '../../src/config/document.ts';
import { faultsOf, readFixture, soundFile, Workshop } from './workshop.ts';

const workshop = new Workshop();
workshop.furnish();
t.teardown(() => workshop.clear());

const whole = readFixture('whole.yaml');
const env = { ENTRA_SECRET: 'a-client-secret' };

t.test('the whole file of the specification, filled in, loads', async (t) => {
  const loaded = await workshop.load(whole, env);
  t.equal(loaded.ok ? '' : loaded.report, '');
});

t.test('defaults may be written out', async (t) => {
  const text = soundFile
    .replace('\nupstream:', '\n  workers: 1\nupstream:')
    .replace('3000\n', '3000\n  username: { bind: true }\n');
  t.same(
    faultsOf(
      `${text}bearer: { audiences: [], typ: [at+jwt] }\noperators: []\ncanary: operators\nchange: {}\nroutes: [{ name: a, path: /a, access: public }]\n`,
    ),
    [],
  );
});

t.test('the fixture holds every key of the definition', async (t) => {
  // Twins of keys that stand there: both together would be a fault of their own.
  const twins = [
    'session.secrets',
    'session.redis.password',
    'session.redis.sentinel',
    'session.redis.cluster',
  ];
  const value = readDocument(whole, 'whole.yaml', env).document?.value;
  const visit = (definition: Definition, key: string, values: readonly unknown[]): void => {
    if (twins.includes(key)) return;
    t.ok(values.length > 0, key);
    for (const [name, inner] of Object.entries(definition.properties ?? {})) {
      const below = values.flatMap((each) =>
        typeof each === 'object' && each !== null && name in each
          ? [(each as Record<string, unknown>)[name]]
          : [],
      );
      visit(inner, key === '' ? name : `${key}.${name}`, below);
    }
    if (definition.items?.properties !== undefined) visit(definition.items, `${key}[]`, values.flat());
  };
  visit(wholeDefinition(), '', [value]);
});

t.test('the twins load as well', async (t) => {
  const twins = whole
    .replace(/secret_files: .*/, 'secrets: ["${A}", "${B}"]')
    .replace(/password_file: .*/, 'password: "${C}"');
  const loaded = await workshop.load(twins, { ...env, A: 'a'.repeat(32), B: 'b'.repeat(44), C: 'c' });
  t.equal(loaded.ok ? '' : loaded.report, '');
  if (!loaded.ok) return;
  t.equal(loaded.config.session.redis?.password?.reveal(), 'c');
  t.equal(loaded.config.session.secrets?.[1]?.reveal(), 'b'.repeat(44));
});

t.test('the other ways to Redis load as well, with every key of theirs', async (t) => {
  const sentinel = [
    'name: mymaster',
    'nodes: [sentinel-0, "10.0.0.2:26379", "[::1]:26379"]',
    'db: 3',
    'username: sentinel-user',
    'password_file: run/secrets/redis',
    'tls: false',
  ].join(', ');
  const through = (way: string) => whole.replace(/^ {4}url: redis.*$/m, `    ${way}`);
  for (const way of [`sentinel: { ${sentinel} }`, 'cluster: { nodes: [redis-0, "redis-1:6380"] }']) {
    const loaded = await workshop.load(through(way), env);
    t.equal(loaded.ok ? '' : loaded.report, '', way);
    if (!loaded.ok) continue;
    const { redis } = loaded.config.session;
    t.equal(redis?.url, undefined);
    t.ok(redis?.password, 'the password of the servers');
    if (redis?.sentinel !== undefined) t.match(redis.sentinel, { db: 3, tls: false, password: {} });
  }
});
