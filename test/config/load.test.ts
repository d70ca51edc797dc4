import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import type { LoadedConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { faultsOf, soundFile, Workshop } from './workshop.ts';

const workshop = new Workshop();
workshop.furnish();
t.teardown(() => workshop.clear());

function configOf(loaded: LoadedConfig): Config {
  if (!loaded.ok) throw new Error(loaded.report);
  return loaded.config;
}

t.test(
  'eight different mistakes are all reported in one go, each with place, key path and cure',
  async (t) => {
    const text = `server:
  public_ulr: https://forge.example.com
  shutdown_grace: 30
  workers: \${WORKERS}
upstream:
  url: http://127.0.0.1:3000
  preset: forgjo
session:
  secret_files: [nowhere]
  idle_timeout: 48h
sources:
  - id: entra
    issuer: http://idp.example.com
    client_id: sallyport
    client_secret_file: run/secrets/entra
    mfa: { preset: authentik }
  - id: entra
    issuer: https://other.example.com
    client_id: sallyport
    client_secret_file: run/secrets/entra
    mfa: { preset: authentik }
`;
    const loaded = await loadConfig(workshop.write('eight.yaml', text), {});
    t.equal(loaded.ok, false);
    if (loaded.ok) return;
    const file = join(workshop.directory, 'eight.yaml');
    const expected = [
      { line: 2, column: 3, path: 'server.public_ulr', code: 'unknown_key', cure: /public_url/ },
      {
        line: 3,
        column: 19,
        path: 'server.shutdown_grace',
        code: 'wrong_type',
        message: /duration/,
        cure: /30s/,
      },
      {
        line: 4,
        column: 12,
        path: 'server.workers',
        code: 'variable',
        message: /WORKERS/,
        cure: /set WORKERS/,
      },
      {
        line: 7,
        column: 11,
        path: 'upstream.preset',
        code: 'bad_value',
        message: /one of forgejo/,
        cure: /forgejo/,
      },
      {
        line: 9,
        column: 18,
        path: 'session.secret_files[0]',
        code: 'unreadable_file',
        message: /not exist/,
        cure: /./,
      },
      {
        line: 10,
        column: 17,
        path: 'session.idle_timeout',
        code: 'impossible',
        message: /absolute/,
        cure: /at most/,
      },
      { line: 13, column: 13, path: 'sources[0].issuer', code: 'bad_value', message: /https/, cure: /./ },
      {
        line: 17,
        column: 9,
        path: 'sources[1].id',
        code: 'impossible',
        message: /already/,
        cure: /its own id/,
      },
    ];
    t.match(loaded.faults, expected);
    t.equal(loaded.faults.length, expected.length);
    for (const { line, column, path } of expected) {
      t.ok(loaded.report.includes(`${file}:${line}:${column}  ${path}\n`), path);
    }
    t.match(loaded.report, /^eight\.yaml: 8 mistakes, nothing of it is applied\n/);
    t.equal(loaded.report.match(/^ {4}cure: /gm)?.length, 8);
  },
);

t.test('a missing key that was only misspelt is reported once', async (t) => {
  t.same(faultsOf(soundFile.replace('client_secret:', 'client_secrt:')), [
    'sources[0].client_secrt: unknown key',
  ]);
  t.same(faultsOf(soundFile.replace('public_url', 'publicUrl')), ['server.publicUrl: unknown key']);
  t.same(faultsOf(soundFile.replace('\nupstream:', '\nupstraem:')), ['upstraem: unknown key']);
});

t.test('keys that are missing altogether are named with what was expected', async (t) => {
  const parsed = parseConfig('log: { level: debug }\n', 'f.yaml', {});
  t.equal(parsed.ok, false);
  if (parsed.ok) return;
  t.same(
    parsed.faults.map(({ path, code }) => [path, code]),
    ['server', 'session', 'sources', 'upstream'].map((path) => [path, 'missing']),
  );
});

t.test('a wrong shape anywhere is a fault with a path, never an exception', async (t) => {
  const wrong = [
    '3',
    'true',
    'null',
    'text',
    '[]',
    '{}',
    '[[]]',
    '[{}]',
    '[null]',
    '{ a: 1 }',
    '.nan',
    '-.inf',
    '""',
  ];
  const keys = [
    'server',
    'operations',
    'upstream',
    'session',
    'sources',
    'routes',
    'bearer',
    'operators',
    'canary',
  ];
  for (const key of [...keys, 'branding', 'audit', 'log', 'change']) {
    const others = soundFile.replace(new RegExp(`^${key}:(.*\\n)( .*\\n)*`, 'm'), '');
    for (const value of wrong) {
      const parsed = parseConfig(`${others}${key}: ${value}\n`, 'f.yaml', {});
      if (parsed.ok) t.match(value, /^(\[\]|\{\})$/, `${key}: ${value}`);
      else
        t.ok(
          parsed.faults.every(({ path }) => path.startsWith(key)),
          `${key}: ${value}`,
        );
    }
  }
  const inside = soundFile.split('\n').filter((line) => line.includes(': '));
  for (const line of inside) {
    for (const value of wrong) {
      const [name = ''] = line.split(':');
      t.doesNotThrow(() => parseConfig(soundFile.replace(line, `${name}: ${value}`), 'f.yaml', {}));
    }
  }
});

t.test(
  'secrets come from files without their last newline, wrapped, and the paths are absolute',
  async (t) => {
    workshop.write('run/secrets/crlf', 'a secret that ends in CR LF, 32 bytes and more\r\n');
    workshop.write('run/secrets/two-newlines', 'a secret that ends in two newlines\n\n');
    const text = soundFile
      .replace(
        'secrets: ["0123456789abcdef0123456789abcdef"]',
        'secret_files: [run/secrets/crlf, run/secrets/two-newlines]',
      )
      .replace('redis:6379/0" }', 'redis:6379/0", password_file: run/secrets/redis }')
      .replace('client_secret: hush-hush', 'client_secret_file: run/secrets/entra');
    const { session, sources } = configOf(await loadConfig(workshop.write('secrets.yaml', text), {}));
    t.same(
      session.secrets?.map((secret) => secret.reveal()),
      ['a secret that ends in CR LF, 32 bytes and more', 'a secret that ends in two newlines\n'],
    );
    t.equal(session.redis?.password?.reveal(), 'the-secret-of-redis-which-is-long-enough');
    t.equal(sources[0]?.client_secret?.reveal(), 'the-secret-of-entra-which-is-long-enough');
    t.ok(sources[0]?.client_secret instanceof Secret);
    t.equal(sources[0]?.client_secret_file, join(workshop.directory, 'run/secrets/entra'));
  },
);

t.test('parseConfig touches no file', async (t) => {
  const text = soundFile.replace('client_secret: hush-hush', 'client_secret_file: /nowhere/at/all');
  t.equal(parseConfig(text, 'f.yaml', {}).ok, true);
  t.match(await workshop.load(text), { ok: false, faults: [{ path: 'sources[0].client_secret_file' }] });
});

t.test('a file that cannot serve is a fault that says why', async (t) => {
  workshop.write('short', 'too short\n');
  workshop.write('empty', '\n');
  workshop.write('raw', Buffer.from([...Array(40).keys()].map((byte) => 200 + (byte % 50))));
  workshop.write('large', Buffer.alloc(2 * 1024 * 1024, 'x'));
  mkdirSync(join(workshop.directory, 'folder'));
  symlinkSync('nowhere', join(workshop.directory, 'dangling'));
  const secretFile = (name: string) =>
    soundFile.replace('secrets: ["0123456789abcdef0123456789abcdef"]', `secret_files: [${name}]`);
  const tls = (cert: string, key: string) =>
    soundFile.replace('\nupstream', `\n  tls: { cert_file: ${cert}, key_file: ${key} }\nupstream`);
  const table: readonly (readonly [text: string, path: string, message: RegExp])[] = [
    [secretFile('nowhere'), 'session.secret_files[0]', /not exist/],
    [secretFile('dangling'), 'session.secret_files[0]', /not exist/],
    [secretFile('folder'), 'session.secret_files[0]', /directory/],
    [secretFile('short/x'), 'session.secret_files[0]', /no directory/],
    [secretFile('large'), 'session.secret_files[0]', /1 MiB/],
    [secretFile('empty'), 'session.secret_files[0]', /empty/],
    [secretFile('raw'), 'session.secret_files[0]', /not text/],
    [secretFile('short'), 'session.secret_files[0]', /32 bytes/],
    [soundFile.replace('secret: hush-hush', 'secret_file: empty'), 'sources[0].client_secret_file', /empty/],
    [tls('short', 'run/tls/tls.key'), 'server.tls.cert_file', /no PEM certificate/],
    [tls('run/tls/tls.crt', 'short'), 'server.tls.key_file', /no private key/],
    [tls('run/tls/tls.crt', 'rsa.pem'), 'server.tls.key_file', /not that of the certificate/],
    [`${soundFile}    tls: { ca_file: nowhere }\n`, 'sources[0].tls.ca_file', /not exist/],
    [`${soundFile}branding: { logo_file: nowhere }\n`, 'branding.logo_file', /not exist/],
    [
      soundFile.replace('\n  redis', '\n  assertion_key_file: rsa.pem\n  redis'),
      'session.assertion_key_file',
      /P-256/,
    ],
    [
      soundFile.replace('\n  redis', '\n  assertion_key_file: bad.jwk\n  redis'),
      'session.assertion_key_file',
      /no private/,
    ],
  ];
  const { generateKeyPairSync } = await import('node:crypto');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  workshop.write('rsa.pem', rsa.export({ format: 'pem', type: 'pkcs8' }));
  workshop.write('bad.jwk', '{"kty":"EC"}');
  for (const [text, path, message] of table) {
    const loaded = await loadConfig(workshop.write('files.yaml', text), {});
    t.match(
      loaded,
      { ok: false, faults: [{ path, message, code: 'unreadable_file' }] },
      `${path} ${String(message)}`,
    );
    if (!loaded.ok) t.equal(loaded.faults.length, 1, `${path} ${String(message)}`);
  }
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  workshop.write('good.jwk', JSON.stringify(jwk));
  const good = soundFile.replace('\n  redis', '\n  assertion_key_file: good.jwk\n  redis');
  t.equal((await loadConfig(workshop.write('files.yaml', good), {})).ok, true);
});

t.test('a configuration that cannot be read is reported, not thrown', async (t) => {
  t.match(await loadConfig(join(workshop.directory, 'no.yaml'), {}), {
    ok: false,
    report: /no\.yaml\n {4}this file does not/,
  });
  t.match(await loadConfig(workshop.directory, {}), { ok: false, report: /directory/ });
  t.match(await loadConfig('/dev/zero', {}), { ok: false, report: /1 MiB/ });
  const locked = workshop.write('locked.yaml', soundFile);
  chmodSync(locked, 0);
  const asRoot = process.getuid?.() === 0;
  t.match(await loadConfig(locked, {}), asRoot ? { ok: true } : { ok: false, report: /may not be read/ });
});

t.test('no secret stands in a report, however wrong its place', async (t) => {
  const secret = 'hunter2';
  const texts = [
    soundFile.replace('hush-hush', '[hunter2]'),
    soundFile.replace('client_secret: hush-hush', 'client_secret: hunter2\n    client_secret_file: x'),
    soundFile.replace('client_secret: hush-hush', 'client_secrets: hunter2'),
    soundFile.replace('client_secret: hush-hush', 'client_secret: { value: hunter2 }'),
    soundFile.replace('client_secret: hush-hush', 'client_secret: *hunter2'),
    soundFile.replace('client_secret: hush-hush', 'client_secret: !hunter2 x'),
    soundFile.replace('client_secret: hush-hush', 'client_secret: "hunter2'),
    soundFile.replace('client_secret: hush-hush', 'client_secret: a: hunter2'),
    soundFile.replace('["0123456789abcdef0123456789abcdef"]', '[hunter2]'),
    soundFile.replace('["0123456789abcdef0123456789abcdef"]', 'hunter2'),
    soundFile.replace('url: "redis://redis:6379/0"', 'cluster: { nodes: ["redis://:hunter2@redis"] }'),
    soundFile.replace('url: "redis://redis:6379/0"', 'cluster: { nodes: "me:hunter2@redis" }'),
    soundFile.replace(
      'url: "redis://redis:6379/0"',
      'sentinel: { name: m, nodes: ["me:hunter2@redis", "me:hunter2@redis"] }',
    ),
    soundFile.replace('redis://redis:6379/0', 'redis://:hunter2@redis:6379/x'),
    soundFile.replace('redis://redis:6379/0', 'http://:hunter2@redis'),
    soundFile.replace('http://127.0.0.1:3000', 'http://me:hunter2@127.0.0.1:3000'),
    soundFile.replace('https://forge.example.com', '"${PASSWORD}"'),
    soundFile.replace('id: entra', 'id: "A ${PASSWORD}"'),
    soundFile.replace('    mfa:', '    proxy: "socks://me:hunter2@proxy"\n    mfa:'),
    soundFile.replace('{ preset: authentik }', '{ preset: "${PASSWORD}" }'),
    `${soundFile}log: { level: "\${PASSWORD}" }\n`,
  ];
  for (const text of texts) {
    const loaded = await loadConfig(workshop.write('leak.yaml', text), { PASSWORD: secret });
    t.equal(loaded.ok, false, text);
    t.notMatch(inspect(loaded, { depth: 9 }), /hunter2/, text);
  }
});

t.test('values from the environment fill scalars and never become structure', async (t) => {
  const text = soundFile
    .replace('client_id: sallyport', 'client_id: ${ID}')
    .replace('hush-hush', '${SECRET}')
    .replace('mfa:', 'scopes: [openid, "${SCOPE:-email}"]\n    mfa:');
  const hostile = [
    'a: b',
    '[x, y]',
    '{x: y}',
    '# c',
    '*a',
    '!!map',
    '- x',
    '"',
    "'",
    '${SECRET}',
    'null',
    'true',
    '7',
  ];
  for (const value of hostile) {
    const { sources } = configOf(parseConfig(text, 'f.yaml', { ID: value, SECRET: value }));
    t.equal(sources[0]?.client_id, value);
    t.equal(sources[0]?.client_secret?.reveal(), value);
    t.same(sources[0]?.scopes, ['openid', 'email']);
  }
  t.match(faultsOf(text, { ID: '', SECRET: 'x' }), [/client_id: expected text, found nothing/]);
  t.match(faultsOf(soundFile.replace('client_id: sallyport', '"${ID}": x'), { ID: 'client_id' }), [
    /client_id: required/,
    /unknown key/,
  ]);
});

t.test(
  'a value from the environment is read as the number or boolean that its key wants, and only so',
  async (t) => {
    const text = soundFile
      .replace('\nupstream:', '\n  workers: "${N}"\nupstream:')
      .replace('3000\n', '3000\n  pass_host: ${FLAG}\n');
    const { server, upstream } = configOf(parseConfig(text, 'f.yaml', { N: '1', FLAG: 'false' }));
    t.equal(server.workers, 1);
    t.equal(upstream.pass_host, false);
    for (const N of ['', 'one', '1.5', '0', '-1', '0x1', '1e3', ' 1', '01', 'Infinity', '9'.repeat(20)]) {
      t.match(
        faultsOf(text, { N, FLAG: 'true' }),
        [/^server\.workers: expected a whole number/],
        JSON.stringify(N),
      );
    }
    for (const FLAG of ['', 'yes', 'True', '1', 'null']) {
      t.match(
        faultsOf(text, { N: '1', FLAG }),
        [/^upstream\.pass_host: expected true or false/],
        JSON.stringify(FLAG),
      );
    }
    t.match(faultsOf(soundFile.replace('client_id: sallyport', 'client_id: 7')), [
      /client_id: expected text, found 7/,
    ]);
    t.match(faultsOf(soundFile.replace('3000\n', '3000\n  pass_host: "true"\n')), [
      /pass_host: expected true or false/,
    ]);
  },
);

t.test('a loaded configuration cannot be changed, down to its last list', async (t) => {
  const config = configOf(parseConfig(soundFile, 'f.yaml', {}));
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    t.ok(Object.isFrozen(value));
    Object.values(value).forEach(walk);
  };
  walk(config);
  t.throws(() => Object.assign(config.server, { listen: 'x' }), TypeError);
  t.throws(() => (config.sources[0]?.scopes as string[]).push('x'), TypeError);
  const again = configOf(parseConfig(soundFile, 'f.yaml', {}));
  t.not(again.server.trusted_proxies, config.server.trusted_proxies, 'defaults are not shared');
});

t.test('public urls come in their serialised form', async (t) => {
  for (const url of [
    'https://Forge.example.com',
    'https://forge.example.com/',
    'https://forge.example.com:443',
  ]) {
    const config = configOf(parseConfig(soundFile.replace('https://forge.example.com', url), 'f.yaml', {}));
    t.same(config.server.public_url, ['https://forge.example.com']);
  }
});

t.test('no text makes the parser throw, and no refusal is without a fault', async () => {
  const piece = fc.constantFrom(
    ...'[]{}:,-?*&!|>\'"%@`#~<$ \n\tax0'.split(''),
    '<<',
    '${',
    '$${A}',
    '&a',
    '*a',
    ': ',
    '- ',
    '---\n',
    'é',
  );
  const noise = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
  const holds = (text: string): boolean => {
    const parsed = parseConfig(text, 'f.yaml', { A: 'x' });
    return parsed.ok || (parsed.faults.length > 0 && parsed.report.includes('f.yaml'));
  };
  fc.assert(fc.property(noise, holds), { numRuns: 300 });
  const place = fc.nat({ max: soundFile.length });
  const damaged = fc.tuple(place, fc.nat({ max: 20 }), noise).map(([at, length, put]) => {
    return soundFile.slice(0, at) + put + soundFile.slice(at + length);
  });
  fc.assert(fc.property(damaged, holds), { numRuns: 400 });
});
