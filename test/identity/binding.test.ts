import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { bindsEmail, claimIdentity, isGranted } from '../../src/identity/binding-claim.ts';
import { keepBindings } from '../../src/identity/binding-upkeep.ts';
import {
  bindingPrefix,
  createBindings,
  type Bindings,
  type WantedBinding,
} from '../../src/identity/binding.ts';
import { SallyportError } from '../../src/kernel/error.ts';
import { silentMeter } from '../../src/kernel/meter.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';
import { createStore } from '../../src/session/store.ts';
import type { Identity, Store } from '../../src/session/types.ts';
import { createStillClock } from '../session/clock.ts';
import { startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';

const clock = createStillClock();
const secretA = Buffer.from('the first secret of these tests, 32+');
const secretB = Buffer.from('the next secret of these tests, 32 +');

const bindingsOver = (store: Store, ...secrets: Buffer[]): Bindings =>
  createBindings({ store, clock, sealing: createSealing(secrets, systemRandomness) });

function wanted(value: string, subject: string, over: Partial<WantedBinding> = {}): WantedBinding {
  return {
    kind: 'username',
    value,
    issuer: 'https://idp.example.com',
    subject,
    source: 'idp',
    grantedBy: 'sign_in',
    username: undefined,
    ...over,
  };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
const namesOf = async (bindings: Bindings) => (await all(bindings.list())).map(({ value }) => value).sort();
const keysOf = (store: Store) => all(store.keys(''));

const redis = await startRedis();
const openRedis = (prefix: string): Store =>
  createStore(
    { redis: { url: redis.url, key_prefix: prefix } },
    { meter: silentMeter, clock, logWarning: () => undefined },
  );
t.teardown(() => redis.stop());

let round = 0;
const stores: Record<string, () => Store> = {
  memory: () => createMemoryStore(clock),
  redis: () => openRedis(`round-${(round += 1)}:`),
};

for (const [kind, open] of Object.entries(stores)) {
  t.test(`bindings in ${kind}`, async (t) => {
    const start = (t: Test) => {
      const store = open();
      t.teardown(() => store.close());
      return { store, bindings: bindingsOver(store, secretA) };
    };

    t.test('a free name is bound to whoever asks first, and to nobody else after', async (t) => {
      const { bindings } = start(t);
      t.match(await bindings.claim(wanted('alice', 's-1')), {
        outcome: 'bound',
        binding: { subject: 's-1' },
      });
      t.match(await bindings.claim(wanted('alice', 's-1')), { outcome: 'already_mine' });
      t.match(await bindings.claim(wanted('alice', 's-2')), {
        outcome: 'conflict',
        holder: { subject: 's-1', source: 'idp', since: clock.nowMs() / 1000 },
      });
      const elsewhere = wanted('alice', 's-1', { issuer: 'https://idp.example.com/' });
      t.match(await bindings.claim(elsewhere), { outcome: 'conflict' }, 'issuers are compared exactly');
    });

    t.test('names are compared trimmed and case-folded', async (t) => {
      const { bindings } = start(t);
      await bindings.claim(wanted('Alice', 's-1'));
      for (const spelling of ['alice', 'ALICE', ' alice ', 'alIce', '\u00a0alice'])
        t.match(await bindings.claim(wanted(spelling, 's-2')), { outcome: 'conflict' }, spelling);
      // The Kelvin sign: its lower case is k.
      await bindings.claim(wanted('mike', 's-1'));
      t.match(await bindings.claim(wanted('mi\u212ae', 's-2')), { outcome: 'conflict' });
      // Gitea lower-cases İ to i (Go, strings.ToLower), JavaScript to an i with a dot above it; a collation sees no accents.
      for (const spelling of ['mİke', 'm\u0131ke', 'míke', 'ｍike', 'mi\u200dke'])
        t.match(await bindings.claim(wanted(spelling, 's-2')), { outcome: 'conflict' }, spelling);
      t.match(await bindings.claim(wanted('alice1', 's-2')), { outcome: 'bound' });
    });

    t.test('a name and an address of the same spelling are two things', async (t) => {
      const { bindings } = start(t);
      await bindings.claim(wanted('a@b.example', 's-1'));
      t.match(await bindings.claim(wanted('a@b.example', 's-2', { kind: 'email' })), { outcome: 'bound' });
    });

    t.test('a binding has no end', async (t) => {
      const { store, bindings } = start(t);
      await bindings.claim(wanted('alice', 's-1'));
      const [key = ''] = await keysOf(store);
      t.equal((await store.get(key))?.ttlMs, Infinity);
    });

    t.test('what is released is free; what is assigned has a new holder', async (t) => {
      const { store, bindings } = start(t);
      await bindings.claim(wanted('alice', 's-1'));
      t.match(await bindings.release('username', 'ALICE'), { subject: 's-1' });
      t.equal(await bindings.release('username', 'alice'), undefined);
      t.same(await keysOf(store), []);
      t.match(await bindings.claim(wanted('alice', 's-2')), { outcome: 'bound' });
      t.match(await bindings.assign(wanted('alice', 's-3', { grantedBy: 'operator' })), { subject: 's-2' });
      t.match(await bindings.find('username', 'alice'), { subject: 's-3', grantedBy: 'operator' });
      const [key = ''] = await keysOf(store);
      t.equal((await store.get(key))?.ttlMs, Infinity, 'for good');
      t.match(await bindings.claim(wanted('alice', 's-2')), { outcome: 'conflict' });
    });

    t.test('every binding is listed once', async (t) => {
      const { bindings } = start(t);
      const names = Array.from({ length: 200 }, (_, index) => `user-${index}`).sort();
      await Promise.all(names.map((name) => bindings.claim(wanted(name, name))));
      t.same(await namesOf(bindings), names);
    });

    t.test('of many claimers at once one gets the name, whatever the order of their secrets', async (t) => {
      const { store } = start(t);
      const orders = [[secretA], [secretA, secretB], [secretB, secretA], [secretB, secretA]];
      for (let name = 0; name < 25; name += 1) {
        const results = await Promise.all(
          orders.map((secrets, index) =>
            bindingsOver(store, ...secrets).claim(wanted(`contended-${name}`, `s-${index}`)),
          ),
        );
        const won = results.filter(({ outcome }) => outcome === 'bound');
        t.equal(won.length, 1, `one of four (${results.map(({ outcome }) => outcome).join(' ')})`);
        t.equal(results.filter(({ outcome }) => outcome === 'conflict').length, 3);
      }
    });

    t.test(
      'a rotation of secrets loses nothing at any step, and at its end needs the new one alone',
      async (t) => {
        const { store, bindings: old } = start(t);
        for (const name of ['alice', 'bob', 'carol']) await old.claim(wanted(name, `s-${name}`));
        const both = bindingsOver(store, secretB, secretA);
        t.match(await both.claim(wanted('alice', 'mallory')), { outcome: 'conflict' }, 'before the renewal');
        t.match(await both.claim(wanted('alice', 's-alice')), { outcome: 'already_mine' });

        t.same(await both.renew(), { renewed: 2, unreadable: 0, disputed: [] });
        t.same(
          await both.renew(),
          { renewed: 0, unreadable: 0, disputed: [] },
          'a second time there is nothing to do',
        );
        t.match(
          await old.claim(wanted('bob', 'mallory')),
          { outcome: 'conflict' },
          'a replica that is not rolled yet',
        );
        t.match(await both.claim(wanted('dave', 's-dave')), { outcome: 'bound' });
        t.match(await old.claim(wanted('dave', 'mallory')), { outcome: 'conflict' });
        t.match(await old.claim(wanted('erin', 's-erin')), { outcome: 'bound' });
        t.match(await both.claim(wanted('erin', 'mallory')), { outcome: 'conflict' });
        t.same(await namesOf(both), ['alice', 'bob', 'carol', 'dave', 'erin']);
        t.same((await both.renew()).renewed, 1, 'what the old replica has bound');

        const alone = bindingsOver(store, secretB);
        for (const name of ['alice', 'bob', 'carol', 'dave', 'erin'])
          t.match(await alone.claim(wanted(name, 'mallory')), {
            outcome: 'conflict',
            holder: { subject: `s-${name}` },
          });
        let unreadable = 0;
        const left = await all(alone.list(() => (unreadable += 1)));
        t.equal(left.length, 5);
        for (const key of await keysOf(store)) {
          const ttlMs = (await store.get(key))?.ttlMs ?? 0;
          t.ok(ttlMs === Infinity || ttlMs <= 86_400_000, 'what the old secret sealed goes by itself');
        }
        t.equal(unreadable, 0, 'and is no loss');
        t.equal((await keysOf(store)).length, 10);
        t.same(await alone.renew(), { renewed: 0, unreadable: 0, disputed: [] });
      },
    );

    t.test('release and assign reach the copies under older secrets', async (t) => {
      const { store, bindings: old } = start(t);
      const both = bindingsOver(store, secretB, secretA);
      await old.claim(wanted('alice', 's-1'));
      await both.renew();
      await both.assign(wanted('alice', 's-2'));
      t.match(await old.find('username', 'alice'), { subject: 's-2' });
      await both.release('username', 'alice');
      t.same(await keysOf(store), []);
    });

    t.test(
      'a holder who comes back during a release does not keep the name by what is left of it',
      async (t) => {
        const { store, bindings: old } = start(t);
        const both = bindingsOver(store, secretB, secretA);
        await old.claim(wanted('alice', 's-1'));
        await both.renew();
        let deleted = 0;
        const watched: Store = {
          ...store,
          async delete(key) {
            const done = await store.delete(key);
            if ((deleted += 1) === 1) await both.claim(wanted('alice', 's-1'));
            return done;
          },
        };
        await bindingsOver(watched, secretB, secretA).release('username', 'alice');
        t.equal(deleted, 2);
        t.equal(await both.find('username', 'alice'), undefined);
      },
    );

    t.test('a claim that broke off half-way is neither lost nor shared', async (t) => {
      const { store } = start(t);
      let writes = 0;
      const breaking: Store = {
        ...store,
        putIfAbsent: (...args) =>
          (writes += 1) > 1
            ? Promise.reject(new SallyportError('store_unavailable', 'down'))
            : store.putIfAbsent(...args),
      };
      for (const secrets of [
        [secretA, secretB],
        [secretB, secretA],
      ]) {
        writes = 0;
        const name = `half-${secrets.indexOf(secretA)}`;
        await t.rejects(bindingsOver(breaking, ...secrets).claim(wanted(name, 's-1')), {
          code: 'store_unavailable',
        });
        const whole = bindingsOver(store, ...secrets);
        t.match(await whole.claim(wanted(name, 's-2')), { outcome: 'conflict' });
        t.match(await whole.claim(wanted(name, 's-1')), { outcome: 'already_mine' });
        const lives = await Promise.all(
          (await keysOf(store)).map(async (key) => (await store.get(key))?.ttlMs),
        );
        t.ok(lives.includes(Infinity), 'it is kept for good now');
        await whole.release('username', name);
      }
    });

    t.test('a copy of the store shows no name, address or subject', async (t) => {
      const { store, bindings } = start(t);
      await bindings.claim(wanted('alice-liddell', 'subject-4711'));
      await bindings.claim(
        wanted('alice@wonder.example', 'subject-4711', { kind: 'email', username: 'alice-liddell' }),
      );
      const text: string[] = [];
      for (const key of await keysOf(store))
        text.push(key, (await store.get(key))!.sealed.toString('latin1'));
      t.equal(text.length, 4);
      for (const secret of ['alice', 'liddell', 'wonder', '4711', 'idp.example'])
        for (const form of [
          secret,
          Buffer.from(secret).toString('hex'),
          Buffer.from(secret).toString('base64url'),
        ])
          t.notOk(text.join('\n').includes(form), form);
      const sealing = createSealing([randomBytes(32)], systemRandomness);
      t.notOk(
        text.join().includes(sealing.indexKeys('binding/username', 'alice-liddell')[0]),
        'no one without the secret can try names out',
      );
    });

    t.test('a record moved to another place is not believed there', async (t) => {
      const { store, bindings } = start(t);
      await bindings.claim(wanted('mallory', 's-m'));
      const [own = ''] = await keysOf(store);
      const sealed = (await store.get(own))!.sealed;
      await bindings.claim(wanted('alice', 's-a'));
      const alice = (await keysOf(store)).find((key) => key !== own) ?? '';
      await store.put(alice, sealed, Infinity);
      await t.rejects(bindings.claim(wanted('alice', 's-m')), {
        code: 'internal',
        detail: 'binding_unreadable',
      });
      await t.rejects(
        bindings.claim(wanted('alice', 's-a')),
        { code: 'internal' },
        'nobody can tell: nobody gets in',
      );
    });
  });
}

t.test('of four replicas, each with its own connection, one gets a name', async (t) => {
  const replicas = Array.from({ length: 4 }, () => openRedis('replicas:'));
  t.teardown(() => Promise.all(replicas.map((store) => store.close())));
  const secrets = [[secretA], [secretA, secretB], [secretB, secretA], [secretA, secretB]];
  await Promise.all(replicas.map((store) => store.ping()));
  for (let name = 0; name < 40; name += 1) {
    const results = await Promise.all(
      replicas.map((store, at) =>
        bindingsOver(store, ...(secrets[at] ?? [])).claim(wanted(`name-${name}`, `s-${at}`)),
      ),
    );
    const winners = results.flatMap(({ outcome }, at) => (outcome === 'bound' ? [at] : []));
    t.equal(winners.length, 1);
    for (const [at, store] of replicas.entries()) {
      const holder = await bindingsOver(store, ...(secrets[at] ?? [])).find('username', `name-${name}`);
      t.equal(holder?.subject, `s-${winners[0]}`, 'and all agree on it');
    }
  }
});

const identity: Identity = {
  subject: 's-1',
  username: 'bob',
  name: undefined,
  email: 'bob@example.com',
  emailVerified: true,
  preferredUsername: undefined,
  groups: undefined,
};
const forge = { preset: 'forgejo', identity_headers: undefined } as const;
const claimant = (over: Partial<Identity> = {}) => ({
  identity: { ...identity, ...over },
  issuer: 'https://idp.example.com',
  source: 'idp',
});
const fresh = () => bindingsOver(createMemoryStore(clock), secretA);

t.test('with a forge a verified address is bound along with the name, with others it is not', async (t) => {
  const bindings = fresh();
  t.equal(await claimIdentity(bindings, claimant(), forge), undefined);
  t.match(await bindings.find('email', 'BOB@example.com'), { subject: 's-1', username: 'bob' });
  t.equal(bindsEmail({ preset: 'gitea', identity_headers: undefined }), true);
  t.equal(bindsEmail({ preset: 'generic', identity_headers: undefined }), false);
  t.equal(bindsEmail({ ...forge, identity_headers: [{ header: 'X-WEBAUTH-USER', claim: 'user' }] }), false);
  const unverified = fresh();
  await claimIdentity(unverified, claimant({ emailVerified: false }), forge);
  t.same(await namesOf(unverified), ['bob'], 'an address that nobody vouches for is bound to nobody');
});

t.test("another's address refuses the sign-in, and the name stays free", async (t) => {
  const bindings = fresh();
  await claimIdentity(
    bindings,
    claimant({ subject: 's-alice', username: 'alice', email: 'a@example.com' }),
    forge,
  );
  t.match(await claimIdentity(bindings, claimant({ email: 'A@Example.com' }), forge), {
    code: 'email_conflict',
    wanted: { value: 'A@Example.com', subject: 's-1' },
    holder: { subject: 's-alice' },
  });
  t.equal(await bindings.find('username', 'bob'), undefined);
  await claimIdentity(bindings, claimant(), forge);
  t.match(await claimIdentity(bindings, claimant({ email: 'a@example.com' }), forge), {
    code: 'email_conflict',
  });
  t.ok(await bindings.find('username', 'bob'), 'a name that was bound before stays bound');
});

t.test('an address goes along with the name that its holder has now', async (t) => {
  const bindings = fresh();
  await claimIdentity(bindings, claimant(), forge);
  await claimIdentity(bindings, claimant({ username: 'robert' }), forge);
  t.match(await bindings.find('email', 'bob@example.com'), { username: 'robert' });
  t.match(await bindings.find('username', 'bob'), { subject: 's-1' }, 'the old name stays bound');
});

t.test("only the operator's grant to exactly this subject opens a reserved name", async (t) => {
  const bindings = fresh();
  t.equal(await isGranted(bindings, claimant()), false);
  await bindings.claim(wanted('bob', 's-1'));
  t.equal(await isGranted(bindings, claimant()), false, 'it was taken by a sign-in, before it was reserved');
  await bindings.assign(wanted('bob', 's-1', { grantedBy: 'operator' }));
  t.equal(await isGranted(bindings, claimant()), true);
  t.equal(await isGranted(bindings, claimant({ subject: 's-2' })), false);
  t.equal(await isGranted(bindings, { ...claimant(), issuer: 'https://other.example.com' }), false);
});

t.test(
  'a start renews what an older secret has sealed, when the store comes, and refuses what opens no more',
  async (t) => {
    const memory = createMemoryStore(clock);
    await bindingsOver(memory, secretA).claim(wanted('alice', 's-1'));
    const warnings: string[] = [];
    const faults: unknown[] = [];
    const deps = {
      logWarning: (message: string) => void warnings.push(message),
      logFault: (error: unknown) => void faults.push(error),
      retryMs: 5,
    };
    let down = true;
    const flaky: Store = {
      ...memory,
      async *keys(prefix) {
        if (down) throw new SallyportError('store_unavailable', 'down');
        yield* memory.keys(prefix);
      },
    };
    const upkeep = await keepBindings(bindingsOver(flaky, secretB, secretA), deps);
    t.same(warnings, []);
    down = false;
    await until(() => warnings.length > 0);
    await upkeep.stop();
    t.match(await bindingsOver(memory, secretB).find('username', 'alice'), { subject: 's-1' });
    t.same(faults, []);

    const lost = createMemoryStore(clock);
    await bindingsOver(lost, secretA).claim(wanted('alice', 's-1'));
    const stranger = bindingsOver(lost, secretB);
    await t.rejects(keepBindings(stranger, deps), { code: 'config_invalid', detail: 'binding_unreadable' });
    t.equal(await stranger.dropUnreadable(), 1);
    await (await keepBindings(stranger, deps)).stop();
    t.same(await all(lost.keys(bindingPrefix)), []);
  },
);

t.test('two secrets that gave one name twice are told apart: the first one stands', async (t) => {
  const memory = createMemoryStore(clock);
  await bindingsOver(memory, secretA).claim(wanted('alice', 's-a'));
  await bindingsOver(memory, secretB).claim(wanted('alice', 's-b'));
  const warnings: object[] = [];
  const upkeep = await keepBindings(bindingsOver(memory, secretB, secretA), {
    logWarning: (_, fields) => void warnings.push(fields),
    logFault: (error) => t.fail(String(error)),
  });
  await upkeep.stop();
  t.match(warnings, [{ kind: 'username', subject: 's-a' }]);
  t.equal(warnings.length, 1);
  t.match(await bindingsOver(memory, secretB, secretA).find('username', 'alice'), { subject: 's-b' });
});
