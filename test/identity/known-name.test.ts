import t from 'tap';
import { createBindings } from '../../src/identity/binding.ts';
import { createKnownNames } from '../../src/identity/known-name.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandomness } from '../../src/kernel/randomness.ts';
import { createMemoryStore } from '../../src/session/memory-store.ts';
import { createSealing } from '../../src/session/sealing.ts';

const issuer = 'https://idp.example.com';
const alice = { issuer, subject: 'alice' };
const [older, newer] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

function furnish() {
  const store = createMemoryStore(systemClock);
  const by = (...secrets: Buffer[]) => {
    const sealing = createSealing(secrets, systemRandomness);
    const bindings = createBindings({ store, sealing, clock: systemClock });
    return { bindings, names: createKnownNames({ store, sealing }, bindings) };
  };
  return { store, by };
}

const wanted = (value: string, subject = 'alice') =>
  ({
    kind: 'username',
    value,
    issuer,
    subject,
    source: 'idp',
    username: undefined,
    grantedBy: 'sign_in',
  }) as const;

t.test('a subject is known by the name that is bound to them, and by no other', async (t) => {
  const { store, by } = furnish();
  t.teardown(() => store.close());
  const { bindings, names } = by(older);
  t.equal(await names.find(alice), undefined, 'who has never signed in');
  await bindings.claim(wanted('Alice'));
  await names.remember(alice, 'Alice');
  t.equal(await names.find(alice), 'Alice');
  t.equal(await names.find({ ...alice, subject: 'Alice' }), undefined);
  t.equal(await names.find({ ...alice, issuer: `${issuer}/` }), undefined);
  await bindings.release('username', 'alice');
  t.equal(await names.find(alice), undefined, 'released');
  await bindings.claim(wanted('alice', 'bob'));
  t.equal(await names.find(alice), undefined, 'somebody else’s now');
  await bindings.assign({ ...wanted('alice'), grantedBy: 'operator' });
  t.equal(await names.find(alice), 'Alice', 'given back');
});

t.test('what is remembered outlives a rotation of the secret, and is readable to nobody', async (t) => {
  const { store, by } = furnish();
  t.teardown(() => store.close());
  const before = by(older);
  await before.bindings.claim(wanted('alice'));
  await before.names.remember(alice, 'alice');
  t.equal(await by(newer, older).names.find(alice), 'alice');
  t.equal(await by(newer).names.find(alice), undefined);
  for await (const key of store.keys('known-name:')) {
    t.notMatch(key, /alice|idp/);
    t.notMatch((await store.get(key))!.sealed.toString('latin1'), 'alice');
  }
});
