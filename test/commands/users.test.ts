import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { dispatch } from '../../src/commands/index.ts';
import { createBindings, type Bindings } from '../../src/identity/binding.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStore } from '../../src/session/store.ts';
import { assertAuditLines } from '../support/audit-lines.ts';
import { startRedis } from '../support/redis.ts';
import { testClient } from '../support/sallyport.ts';

type Json = Record<string, unknown>;

class TextSink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

const secret = '0123456789abcdef0123456789abcdef-of-the-tests';
const oldIdp = 'https://old.example.com';
const newIdp = 'https://new.example.com/realms/all';

const redis = await startRedis();
t.teardown(() => redis.stop());
let rounds = 0;

/** A Redis of one's own (a key prefix), a configuration file, and the commands over them. */
function openOffice(t: Test, over: Json = {}) {
  const keyPrefix = `office-${(rounds += 1)}:`;
  const dir = t.testdir({});
  const config = join(dir, 'sallyport.yaml');
  const configure = (changes: Json = {}, secrets = [secret]) =>
    writeFileSync(
      config,
      stringify({
        server: { public_url: 'https://forge.example.com' },
        upstream: { url: 'http://127.0.0.1:1', preset: 'forgejo' },
        session: { secrets, redis: { url: redis.url, key_prefix: keyPrefix } },
        sources: [
          { id: 'old', issuer: oldIdp, ...testClient },
          { id: 'new', issuer: newIdp, ...testClient },
        ],
        ...over,
        ...changes,
      }),
    );
  configure();
  const store = createStore(
    { redis: { url: redis.url, key_prefix: keyPrefix } },
    { meter: silentMeter, clock: systemClock, logWarning: () => undefined },
  );
  t.teardown(() => store.close());
  const bindings = createBindings({
    store,
    clock: systemClock,
    sealing: createSealing([Buffer.from(secret)], systemRandomness),
  });
  return {
    bindings,
    store,
    configure,
    config,
    write(name: string, text: string): string {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    },
    async users(...args: string[]) {
      const stdout = new TextSink();
      const stderr = new TextSink();
      const all = ['users', ...args, '--config', config, '--actor', 'carol'];
      const status = await dispatch(all, { stdout, stderr, env: {} });
      return { status, stdout: stdout.text, stderr: stderr.text, audit: auditOf(stderr.text) };
    },
  };
}

const auditOf = (text: string): Json[] => {
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  const events = lines.map((line) => JSON.parse(line) as Json);
  assertAuditLines(events);
  return events;
};

const signedIn = (bindings: Bindings, value: string, subject: string, issuer = oldIdp) =>
  bindings.claim({
    kind: 'username',
    value,
    subject,
    issuer,
    source: 'old',
    grantedBy: 'sign_in',
    username: undefined,
  });

t.test(
  'a file of 500 users is imported, listed, moved to another identity provider, and released',
  async (t) => {
    const office = openOffice(t);
    const people = Array.from({ length: 500 }, (_, index) => ({
      username: `user${index}`,
      source: 'old',
      subject: `old-sub-${index}`,
      email: `user${index}@example.com`,
    }));
    const csv = [
      'username,source,subject,email',
      ...people.map((each) => Object.values(each).join(',')),
    ].join('\r\n');
    const file = office.write('people.csv', csv);

    const rehearsal = await office.users('import', file, '--dry-run');
    t.equal(rehearsal.status, 0, rehearsal.stderr);
    t.match(rehearsal.stdout, 'dry run: 1000 imported');
    t.equal(rehearsal.stderr, '');
    t.equal(await office.bindings.find('username', 'user0'), undefined, 'a dry run changes nothing');

    const done = await office.users('import', file);
    t.equal(done.status, 0, done.stderr);
    t.match(done.stdout, /^1000 imported$/m);
    t.equal(done.audit.length, 1000);
    t.match(done.audit[0], {
      action: 'users.changed',
      change: 'imported',
      username: 'user0',
      actor: 'carol',
      auth_source: 'old',
      previous: null,
      next: { issuer: oldIdp, subject: 'old-sub-0' },
    });
    t.match(await signedIn(office.bindings, 'USER7', 'mallory'), { outcome: 'conflict' });

    const again = await office.users('import', file);
    t.match(again.stdout, /^0 imported, 1000 unchanged$/m);
    t.same(again.audit, []);

    const listed = JSON.parse((await office.users('list', '--json')).stdout);
    t.equal(listed.users.length, 500);
    t.match(listed.users[0], {
      username: 'user0',
      source: 'old',
      issuer: oldIdp,
      subject: 'old-sub-0',
      granted_by: 'operator',
      emails: ['user0@example.com'],
    });
    t.equal(JSON.parse((await office.users('list', '--json', '--source', 'new')).stdout).users.length, 0);

    const moves = people.map(({ username }, index) =>
      JSON.stringify({ username, issuer: newIdp, subject: `new-sub-${index}` }),
    );
    const moved = await office.users('rebind', '--file', office.write('moves.jsonl', moves.join('\n')));
    t.equal(moved.status, 0, moved.stderr);
    t.match(moved.stdout, /^500 rebound, 0 unchanged$/m);
    t.equal(moved.audit.length, 1000, 'names and addresses');
    t.match(moved.audit.at(-1), {
      change: 'rebound',
      previous: { issuer: oldIdp, subject: 'old-sub-499' },
      next: { issuer: newIdp, subject: 'new-sub-499', source: 'new' },
    });
    t.match(await office.bindings.find('email', 'user9@example.com'), {
      issuer: newIdp,
      subject: 'new-sub-9',
    });

    const dump = (await redis.dump()).join('\n');
    for (const part of ['user7', 'old-sub-7', 'new-sub-7', 'user7@', 'example.com'])
      t.notOk(dump.includes(part), `a dump of Redis does not show ${part}`);

    const leave = await office.users(
      'release',
      '--file',
      office.write('leave.csv', `username\n${people.map(({ username }) => username).join('\n')}\n`),
    );
    t.equal(leave.status, 0, leave.stderr);
    t.match(leave.stdout, /^500 user names released$/m);
    t.match(leave.stdout, /go on under these names until they end: at most 24 h/);
    t.same(JSON.parse((await office.users('list', '--json')).stdout), {
      users: [],
      emails_without_username: [],
      unreadable: 0,
    });
  },
);

t.test('a file with any fault changes nothing, and every fault is told by its line', async (t) => {
  const office = openOffice(t);
  await signedIn(office.bindings, 'held', 'somebody');
  const file = office.write(
    'people.csv',
    [
      'username,source,issuer,subject,email',
      'fine,old,,s-1,fine@example.com',
      'held,old,,s-2,',
      'sp ace,old,,s-3,',
      'nosub,old,,,',
      'nosource,,,s-5,',
      'typo,,https://old.example.com/,s-6,',
      'both,old,https://new.example.com/realms/all,s-7,',
      'Fine,old,,s-8,',
      'short,old',
      '"two',
      'lines",old,,s-9,not-an-address',
      'unknown,entra,,s-10,',
      ',old,,s-11,FINE@example.com',
      'other,old,,s-12,FINE@example.com',
    ].join('\n'),
  );
  const { status, stdout, stderr, audit } = await office.users('import', file);
  t.equal(status, 1);
  t.equal(stdout, '');
  t.same(audit, []);
  const lines = [...stderr.matchAll(/people\.csv:(\d+): /g)].map(([, line]) => Number(line));
  t.same(lines, [3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 13, 14, 15]);
  t.match(stderr, /:3: "held" belongs to somebody at https:\/\/old\.example\.com; --replace/);
  t.match(stderr, /:9: "Fine" stands in line 2 already/);
  t.match(
    stderr,
    /:7: no source has the issuer "https:\/\/old\.example\.com\/" \(issuers are compared exactly\)/,
  );
  t.match(stderr, /nothing was changed/);
  t.equal(await office.bindings.find('username', 'fine'), undefined);

  for (const [text, fault] of [
    ['', /:1: expected a header line/],
    ['user,subject\n', /:1: the header line names "user"/],
    ['username,username,subject\n', /:1: the header line names "username"/],
    ['username,source,subject\nalice,old,"s-1\n', /:2: a quotation mark is not closed/],
    ['{"username":"alice"\n', /:1: expected one JSON object/],
    ['{"username":"alice","source":"old","subject":17}', /:1: subject is no text/],
    ['{"name":"alice"}', /:1: name is none of/],
  ] as const) {
    const result = await office.users('import', office.write('bad', text));
    t.equal(result.status, 1, text);
    t.match(result.stderr, fault);
  }
  t.equal((await office.users('import', join(office.config, 'nowhere'))).status, 2);
});

t.test('import gives what is held by others away only when told to', async (t) => {
  const office = openOffice(t);
  await signedIn(office.bindings, 'alice', 's-1');
  await signedIn(office.bindings, 'bob', 's-2');
  const file = office.write(
    'people',
    '{"username":"alice","source":"new","subject":"n-1"}\n\n{"username":"Bob","source":"old","subject":"s-2"}\n',
  );
  t.equal((await office.users('import', file)).status, 1);
  const { status, stdout, audit } = await office.users('import', file, '--replace');
  t.equal(status, 0);
  t.match(stdout, /^0 imported, 1 replaced, 1 unchanged$/m);
  t.match(audit, [
    { change: 'replaced', previous: { subject: 's-1' }, next: { subject: 'n-1', issuer: newIdp } },
  ]);
  t.match(await signedIn(office.bindings, 'alice', 's-1'), { outcome: 'conflict' });
});

t.test('a name that was bound by a sign-in before it was reserved is granted by import', async (t) => {
  const office = openOffice(t);
  await signedIn(office.bindings, 'root', 's-1');
  const file = office.write('people.csv', 'username,source,subject\nroot,old,s-1\nadmin,old,s-1\n');
  t.match((await office.users('import', file)).stdout, /^1 imported, 1 granted$/m);
  t.match(await office.bindings.find('username', 'root'), { grantedBy: 'operator', subject: 's-1' });
  t.match((await office.users('import', file)).stdout, /^0 imported, 2 unchanged$/m);
});

t.test('rebind moves one name with its address, and says what it does not know', async (t) => {
  const office = openOffice(t);
  await signedIn(office.bindings, 'alice', 's-1');
  await office.bindings.claim({
    kind: 'email',
    value: 'alice@example.com',
    subject: 's-1',
    issuer: oldIdp,
    source: 'old',
    grantedBy: 'sign_in',
    username: 'alice',
  });
  const done = await office.users('rebind', 'ALICE', '--issuer', newIdp, '--subject', 'n-1');
  t.equal(done.status, 0, done.stderr);
  t.equal(done.audit.length, 2);
  t.match(await office.bindings.find('username', 'alice'), { subject: 'n-1', source: 'new' });
  t.match(await office.bindings.find('email', 'alice@example.com'), { subject: 'n-1' });
  t.match(
    (await office.users('rebind', 'alice', '--source', 'new', '--subject', 'n-1')).stdout,
    '0 rebound, 1 unchanged',
  );
  for (const args of [
    ['nobody', '--source', 'new', '--subject', 'n-1'],
    ['alice', '--source', 'nowhere', '--subject', 'n-1'],
  ])
    t.equal((await office.users('rebind', ...args)).status, 1, args.join(' '));
  const file = office.write(
    'moves.csv',
    'username,source,subject\nalice,old,s-1\nnobody,old,s-2\nalice,old,s-3\n',
  );
  const { status, stderr } = await office.users('rebind', '--file', file);
  t.equal(status, 1);
  t.match(stderr, /moves\.csv:3: "nobody" is bound to nobody/);
  t.match(stderr, /moves\.csv:4: "alice" stands in line 2 already/);
  t.match(await office.bindings.find('username', 'alice'), { subject: 'n-1' }, 'nothing was changed');
});

t.test('release frees a name with its address, or an address alone; of unknown ones nothing', async (t) => {
  const office = openOffice(t);
  const file = office.write(
    'people.csv',
    'username,source,subject,email\nalice,old,s-1,alice@example.com al@home.example\nbob,old,s-2,bob@example.com\n',
  );
  t.match((await office.users('import', file)).stdout, /^5 imported$/m);
  const unknown = await office.users('release', 'alice', 'nobody');
  t.equal(unknown.status, 1);
  t.match(unknown.stderr, /"nobody" is bound to nobody/);
  t.ok(await office.bindings.find('username', 'alice'));

  const one = await office.users('release', 'Alice');
  t.equal(one.status, 0, one.stderr);
  t.match(one.audit, [
    { change: 'released', username: 'alice', previous: { subject: 's-1' }, next: null, actor: 'carol' },
    { change: 'released', email: /^al/ },
    { change: 'released', email: /^al/ },
  ]);
  t.equal(await office.bindings.find('email', 'al@home.example'), undefined);
  t.equal(await office.bindings.find('email', 'alice@example.com'), undefined);
  t.equal((await office.users('release', '--email', 'BOB@example.com')).status, 0);
  t.ok(await office.bindings.find('username', 'bob'));
  t.equal(await office.bindings.find('email', 'bob@example.com'), undefined);
});

t.test('list is a table, of one source where asked, and nothing in it steers the terminal', async (t) => {
  const office = openOffice(t);
  await signedIn(office.bindings, 'alice', 's-1');
  await signedIn(office.bindings, 'b\u202eob', 's-2');
  await office.bindings.claim({
    kind: 'username',
    value: 'gone',
    subject: 'g-1',
    issuer: 'https://gone.example.com',
    source: 'former',
    grantedBy: 'sign_in',
    username: undefined,
  });
  const { stdout } = await office.users('list');
  t.match(stdout, /^USER NAME +SOURCE +ISSUER +SUBJECT +SINCE +BY +EMAIL$/m);
  t.match(stdout, /^alice +old +https:\/\/old\.example\.com +s-1 +\d{4}-\d\d-\d\d +sign_in$/m);
  t.notMatch(stdout, '\u202e');
  t.match(stdout, /^3 user names$/m);
  t.match(
    (await office.users('list', '--source', 'former')).stdout,
    /^1 user names$/m,
    'a source that is gone',
  );
  t.equal((await office.users('list', '--source', 'never')).status, 2);
});

t.test('the audit trail is where serve writes it, and without one to write nothing is changed', async (t) => {
  const trail = join(t.testdir({}), 'audit.log');
  const office = openOffice(t, { audit: { file: trail } });
  const file = office.write('people.csv', 'username,source,subject\nalice,old,s-1\n');
  const { status, stderr } = await office.users('import', file);
  t.equal(status, 0);
  t.equal(stderr, '');
  t.match(auditOf(readFileSync(trail, 'utf8')), [
    { action: 'users.changed', username: 'alice', actor: 'carol' },
  ]);

  office.configure({ audit: { file: join(trail, 'not-a-directory') } });
  t.equal((await office.users('release', 'alice')).status, 2);
  t.ok(await office.bindings.find('username', 'alice'));
});

t.test('without --actor it was the user of the operating system', async (t) => {
  const office = openOffice(t);
  const file = office.write('people.csv', 'username,source,subject\nalice,old,s-1\n');
  const stderr = new TextSink();
  const io = { stdout: new TextSink(), stderr, env: { SALLYPORT_CONFIG: office.config } };
  t.equal(await dispatch(['users', 'import', file], io), 0);
  t.match(auditOf(stderr.text), [{ actor: /\S/ }]);
});

t.test('wrong usage, memory sessions and a broken file are 2, a store that is down is 1', async (t) => {
  const office = openOffice(t);
  for (const args of [
    [],
    ['lost'],
    ['list', 'alice'],
    ['list', '--replace'],
    ['import'],
    ['import', 'a', 'b'],
    ['import', 'a', '--json'],
    ['release'],
    ['release', 'alice', '--unreadable'],
    ['release', 'alice', '--file', 'x'],
    ['rebind', 'alice'],
    ['rebind', 'alice', '--subject', 's'],
    ['rebind', 'alice', 'bob', '--source', 'old', '--subject', 's'],
    ['rebind', 'alice', '--file', 'x'],
    ['rebind', '--file', 'x', '--subject', 's'],
  ]) {
    const { status, stdout, stderr } = await office.users(...args);
    t.equal(status, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^sallyport users: /);
  }
  office.configure({ session: { secrets: [secret] } });
  const inMemory = await office.users('list');
  t.equal(inMemory.status, 2);
  t.match(inMemory.stderr, /session\.redis is not set/);
  office.configure({ session: { secrets: [secret], redis: { url: 'redis://127.0.0.1:1' } } });
  const down = await office.users('list');
  t.equal(down.status, 1);
  t.match(down.stderr, /^sallyport users: the session store is unavailable: ECONNREFUSED/);
  office.configure({ upstream: {} });
  t.equal((await office.users('list')).status, 2);
});

t.test('bindings whose secret is lost are told, and dropped when asked', async (t) => {
  const office = openOffice(t);
  await signedIn(office.bindings, 'alice', 's-1');
  office.configure({}, ['another secret that is long enough, surely']);
  const listed = await office.users('list');
  t.equal(listed.status, 1);
  t.match(listed.stdout, /1 bindings open with none of the configured secrets/);
  const dropped = await office.users('release', '--unreadable');
  t.equal(dropped.status, 0);
  t.match(dropped.audit, [{ change: 'dropped_unreadable', count: 1 }]);
  t.equal((await office.users('list')).status, 0);
});
