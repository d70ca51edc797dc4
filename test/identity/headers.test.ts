import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { request } from 'undici';
import type { AssertionSigner } from '../../src/identity/assertion.ts';
import { createIdentityHeaders } from '../../src/identity/headers.ts';
import { headerPresets } from '../../src/identity/presets.ts';
import { openedSession, verifiedStanding } from './session-fixture.ts';

const origin = 'https://forge.example.com';
const startMs = 1_700_000_000_000;
const standing = verifiedStanding();

function countingSigner() {
  const state = { signed: 0 };
  const signer: AssertionSigner = {
    sign: async (_session, _standing, issuer, nowSeconds) => {
      state.signed += 1;
      return { jwt: `jwt-${state.signed}-${issuer}`, expiresAt: nowSeconds + 60 };
    },
    jwks: () => ({ keys: [] }),
    restore: async () => false,
  };
  return { state, signer };
}

type Upstream = Parameters<typeof createIdentityHeaders>[0];
const upstream = (over: Partial<Upstream> = {}): Upstream => ({
  preset: 'forgejo',
  identity_headers: undefined,
  pass_access_token: false,
  ...over,
});

async function headersOf(
  config: Upstream,
  session = openedSession(),
  onGroupOmitted?: (group: string) => void,
) {
  const headers = createIdentityHeaders(
    config,
    countingSigner().signer,
    onGroupOmitted ? { onGroupOmitted } : {},
  );
  const flat = await headers.headersFor(session, standing, origin, startMs);
  return Object.fromEntries(
    Array.from({ length: flat.length / 2 }, (_, i) => [
      flat[i * 2]!,
      Buffer.from(flat[i * 2 + 1]!, 'latin1').toString('utf8'),
    ]),
  );
}

t.test('each preset sets its headers, and the assertion', async (t) => {
  const assertion = { 'X-Sallyport-Assertion': `jwt-1-${origin}` };
  const forge = {
    'X-WEBAUTH-USER': 'alice',
    'X-WEBAUTH-EMAIL': 'alice@example.com',
    'X-WEBAUTH-FULLNAME': 'Alice Åkerlund',
    ...assertion,
  };
  const forwarded = {
    'X-Forwarded-User': 'alice',
    'X-Forwarded-Email': 'alice@example.com',
    'X-Forwarded-Groups': 'dev,ops',
    'X-Forwarded-Preferred-Username': 'alice@corp.example',
    ...assertion,
  };
  t.same(await headersOf(upstream({ preset: 'forgejo' })), forge);
  t.same(await headersOf(upstream({ preset: 'gitea' })), forge);
  t.same(await headersOf(upstream({ preset: 'generic' })), forwarded);
  t.same(await headersOf(upstream({ preset: 'oauth2_proxy' })), forwarded);
  t.same(await headersOf(upstream({ preset: 'authelia' })), {
    'Remote-User': 'alice',
    'Remote-Email': 'alice@example.com',
    'Remote-Name': 'Alice Åkerlund',
    'Remote-Groups': 'dev,ops',
    ...assertion,
  });
  t.same(await headersOf(upstream({ preset: 'grafana' })), {
    'X-WEBAUTH-USER': 'alice',
    'X-WEBAUTH-EMAIL': 'alice@example.com',
    'X-WEBAUTH-NAME': 'Alice Åkerlund',
    'X-WEBAUTH-GROUPS': 'dev,ops',
    ...assertion,
  });
});

t.test('an unverified email goes nowhere', async (t) => {
  for (const preset of Object.keys(headerPresets) as Upstream['preset'][]) {
    const sent = await headersOf(upstream({ preset }), openedSession({ emailVerified: false }));
    t.notOk(Object.values(sent).includes('alice@example.com'), preset);
  }
});

t.test("the operator's list replaces the preset's and may name any claim", async (t) => {
  const identity_headers = [
    { header: 'X-Who', claim: 'user' },
    { header: 'X-Dept', claim: 'department' },
    { header: 'X-When', claim: 'auth_time' },
    { header: 'X-How', claim: 'amr' },
    { header: 'X-Nothing', claim: 'absent' },
    { header: 'X-Proto', claim: 'toString' },
  ];
  t.same(await headersOf(upstream({ identity_headers })), {
    'X-Who': 'alice',
    'X-Dept': 'R&D',
    'X-When': '1700000000',
    'X-How': 'pwd,mfa',
    'X-Sallyport-Assertion': `jwt-1-${origin}`,
  });
  const { names } = createIdentityHeaders(
    upstream({ identity_headers, pass_access_token: true }),
    countingSigner().signer,
  );
  t.same([...names].sort(), [
    'X-Dept',
    'X-Forwarded-Access-Token',
    'X-How',
    'X-Nothing',
    'X-Proto',
    'X-Sallyport-Assertion',
    'X-When',
    'X-Who',
  ]);
});

t.test('a header carries whatever the reference says that one may carry', async (t) => {
  const reference = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const [, section = ''] =
    /^### `upstream\.identity_headers\[\]\.claim`\n([^]*?)\n- Type/m.exec(reference) ?? [];
  const named = [...section.matchAll(/`([a-z_]+)`/g)].map(([, claim = '']) => claim);
  t.ok(named.includes('username') && named.includes('sub'));
  for (const claim of named) {
    const sent = await headersOf(upstream({ identity_headers: [{ header: 'X-Who', claim }] }));
    t.match(sent['X-Who'], /./, claim);
  }
});

t.test('a group that holds a comma is left out and told', async (t) => {
  const omitted: string[] = [];
  const sent = await headersOf(
    upstream({ preset: 'generic' }),
    openedSession({ groups: ['dev', 'a,forge-admins', 'ops'] }),
    (group) => omitted.push(group),
  );
  t.equal(sent['X-Forwarded-Groups'], 'dev,ops');
  t.same(omitted, ['a,forge-admins']);
});

t.test('a comma list never says a group that the user is not in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ minLength: 1 })), async (groups) => {
      const sent = await headersOf(upstream({ preset: 'authelia' }), openedSession({ groups }));
      return (sent['Remote-Groups'] ?? '')
        .split(',')
        .every((group) => group === '' || groups.includes(group));
    }),
    { numRuns: 50 },
  );
});

t.test('a control character that reached a session is a fault, not a header', async (t) => {
  for (const name of ['a\r\nX-WEBAUTH-USER: admin', 'a\0', 'a\x85']) {
    await t.rejects(headersOf(upstream(), openedSession({ name })), { code: 'internal' });
  }
  const identity_headers = [{ header: 'X-Role', claim: 'role' }];
  await t.rejects(
    headersOf(upstream({ identity_headers }), openedSession({}, { claims: { role: 'a\nb' } })),
    { code: 'internal' },
  );
});

t.test('names that are not ASCII arrive as UTF-8', async (t) => {
  const name = 'Łukasz 渡辺 Ünal';
  const server = createServer((incoming, response) => {
    const at = incoming.rawHeaders.indexOf('X-WEBAUTH-FULLNAME');
    response.end(Buffer.from(incoming.rawHeaders[at + 1] ?? '', 'latin1').toString('utf8'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const headers = createIdentityHeaders(upstream(), countingSigner().signer);
  const flat = await headers.headersFor(openedSession({ name }), standing, origin, startMs);
  const { port } = server.address() as AddressInfo;
  const { body } = await request(`http://127.0.0.1:${port}/`, { headers: [...flat], reset: true });
  t.equal(await body.text(), name);
});

t.test('headers are made once per session and assertion life, and synchronously from then on', async (t) => {
  const { state, signer } = countingSigner();
  const headers = createIdentityHeaders(upstream(), signer);
  const session = openedSession();
  const at = (seconds: number, who = session, standing_ = standing, origin_ = origin) =>
    headers.headersFor(who, standing_, origin_, startMs + seconds * 1000);

  t.ok(at(0) instanceof Promise, 'the first is awaited');
  const first = await at(0);
  t.equal(await at(0), at(1), 'the same array from then on');
  t.equal(at(39), at(1));
  const signedAtFirst = state.signed;
  t.ok(signedAtFirst <= 2);

  t.equal(at(45), at(1), 'near its end it still serves');
  await new Promise(setImmediate);
  const renewed = at(45);
  t.ok(Array.isArray(renewed));
  t.not(renewed, first, 'while the next one was made in the background');
  t.equal(state.signed, signedAtFirst + 1);

  t.ok(at(200) instanceof Promise, 'a dead one is never sent');
  t.match(await at(200), [/./, /./]);

  const rehearsed = verifiedStanding({ admit: true, aal: 'aal1', status: 'would_reject' });
  t.ok(at(201, session, rehearsed) instanceof Promise, 'another standing is another statement');
  t.match((await at(201, session, standing, 'https://other.example')).join(), 'https://other.example');
});

t.test('an opened session that memory dropped and opened again keeps its assertion', async (t) => {
  const { state, signer } = countingSigner();
  const headers = createIdentityHeaders(upstream(), signer);
  const first = await headers.headersFor(openedSession(), standing, origin, startMs);
  const second = await headers.headersFor(openedSession(), standing, origin, startMs + 6000);
  t.same(second, first);
  t.equal(state.signed, 1);
  await headers.headersFor(openedSession({}, { id: 'session-2' }), standing, origin, startMs);
  t.equal(state.signed, 2, 'another session has one of its own');
});

t.test(
  'what a refresh has changed of the groups is in the next assertion, and not a minute later',
  async (t) => {
    const { state, signer } = countingSigner();
    const headers = createIdentityHeaders(upstream(), signer);
    const before = await headers.headersFor(openedSession(), standing, origin, startMs);
    const after = await headers.headersFor(openedSession({ groups: ['dev'] }), standing, origin, startMs + 1);
    t.equal(state.signed, 2);
    t.not(after.at(-1), before.at(-1));
  },
);

t.test('a signer that fails is asked again', async (t) => {
  let failing = true;
  const { signer } = countingSigner();
  const headers = createIdentityHeaders(upstream(), {
    ...signer,
    sign: (...args) => (failing ? Promise.reject(new Error('no key')) : signer.sign(...args)),
  });
  await t.rejects(Promise.resolve(headers.headersFor(openedSession(), standing, origin, startMs)), /no key/);
  failing = false;
  t.ok(await headers.headersFor(openedSession(), standing, origin, startMs));
});

t.test('the access token goes along only where asked for, and while it lives', async (t) => {
  const tokens = (accessTokenExpiresAt: number | undefined) => ({
    idToken: undefined,
    accessToken: 'opaque',
    accessTokenExpiresAt,
    refreshToken: undefined,
  });
  const sent = async (pass_access_token: boolean, expiresAt: number | undefined) =>
    (await headersOf(upstream({ pass_access_token }), openedSession({}, { tokens: tokens(expiresAt) })))[
      'X-Forwarded-Access-Token'
    ];
  t.equal(await sent(false, undefined), undefined);
  t.equal(await sent(true, undefined), 'opaque');
  t.equal(await sent(true, startMs / 1000 + 5), 'opaque');
  t.equal(await sent(true, startMs / 1000 - 5), undefined);
});

t.test(
  'an access token that ends within the life of its assertion is not sent beyond its own end',
  async (t) => {
    const tokens = {
      idToken: undefined,
      accessToken: 'opaque',
      accessTokenExpiresAt: startMs / 1000 + 15,
      refreshToken: undefined,
    };
    const session = openedSession({}, { tokens });
    const headers = createIdentityHeaders(upstream({ pass_access_token: true }), countingSigner().signer);
    const sentAt = async (nowMs: number): Promise<boolean> =>
      (await headers.headersFor(session, standing, origin, nowMs)).includes('opaque');
    t.equal(await sentAt(startMs), true);
    t.equal(await sentAt(startMs + 14_999), true);
    t.equal(await sentAt(startMs + 15_000), false);
  },
);
