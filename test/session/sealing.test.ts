import { createDecipheriv, createHash, hkdfSync } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import type { Randomness } from '../../src/kernel/randomness.ts';
import { randomToken, systemRandomness } from '../../src/kernel/randomness.ts';
import { isFault } from '../../src/kernel/error.ts';
import { createSealing, isCookieValue } from '../../src/session/sealing.ts';

const oldSecret = Buffer.alloc(32, 1);
const newSecret = Buffer.alloc(48, 2);
const sealing = createSealing([oldSecret], systemRandomness);
const cookie = Buffer.alloc(32, 7).toString('base64url');
const plaintext = Buffer.from('the record');
const bytes = fc.uint8Array({ maxLength: 200 });
const property = { numRuns: 100 };

/** Counts up from zero: sealing repeats itself with it. */
const countingRandomness: Randomness = {
  bytes: (length) => Buffer.from(Array.from({ length }, (_, index) => index)),
};

t.test('what is sealed for a cookie opens with that cookie', async () => {
  fc.assert(
    fc.property(bytes, fc.uint8Array({ minLength: 32, maxLength: 32 }), (content, key) => {
      const value = Buffer.from(key).toString('base64url');
      return sealing.openSession(value, sealing.sealSession(value, content))?.equals(content) === true;
    }),
    property,
  );
});

t.test('what is sealed under the secret opens for the same purpose and place', async () => {
  fc.assert(
    fc.property(bytes, fc.string(), fc.string(), (content, purpose, aad) => {
      return (
        sealing.openShared(purpose, sealing.sealShared(purpose, content, aad), aad)?.equals(content) === true
      );
    }),
    property,
  );
});

t.test('every flipped bit and every truncation opens nothing and throws nothing', async (t) => {
  const kinds: [string, Buffer, (sealed: Uint8Array) => Buffer | undefined][] = [
    ['session', sealing.sealSession(cookie, plaintext), (sealed) => sealing.openSession(cookie, sealed)],
    [
      'shared',
      sealing.sealShared('card', plaintext, 'k'),
      (sealed) => sealing.openShared('card', sealed, 'k'),
    ],
  ];
  for (const [kind, sealed, open] of kinds) {
    t.ok(open(sealed), `${kind}: unharmed it opens`);
    let opened = 0;
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const flipped = Buffer.from(sealed);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      if (open(flipped) !== undefined) opened += 1;
    }
    for (let length = 0; length < sealed.length; length += 1) {
      if (open(sealed.subarray(0, length)) !== undefined) opened += 1;
      if (open(sealed.subarray(sealed.length - length)) !== undefined) opened += 1;
    }
    if (open(Buffer.concat([sealed, Buffer.of(0)])) !== undefined) opened += 1;
    t.equal(opened, 0, `${kind}: harmed it never does`);
  }
});

t.test('arbitrary bytes open nothing', async () => {
  fc.assert(
    fc.property(bytes, fc.boolean(), (content, versioned) => {
      const sealed = Buffer.from(content);
      if (versioned && sealed.length > 0) sealed[0] = 1;
      return (
        sealing.openSession(cookie, sealed) === undefined &&
        sealing.openShared('card', sealed, '') === undefined
      );
    }),
    property,
  );
});

t.test('a copy of the secret opens no session without its cookie', async (t) => {
  const sealed = sealing.sealSession(cookie, plaintext);
  const other = randomToken(systemRandomness);
  t.equal(sealing.openSession(other, sealed), undefined);
  t.equal(sealing.openSession('', sealed), undefined);
  t.equal(sealing.openShared('session', sealed, sealing.sessionKey(cookie)), undefined);
});

t.test('a cookie opens no session without the secret', async (t) => {
  const sealed = sealing.sealSession(cookie, plaintext);
  t.equal(createSealing([newSecret], systemRandomness).openSession(cookie, sealed), undefined);
});

t.test('another purpose or another place opens nothing', async (t) => {
  const sealed = sealing.sealShared('attempt', plaintext, 'tab-1');
  t.equal(sealing.openShared('card', sealed, 'tab-1'), undefined);
  t.equal(sealing.openShared('attempt', sealed, 'tab-2'), undefined);
  t.equal(sealing.openShared('attempt', sealed, ''), undefined);
});

t.test('the first secret seals, all of them open', async (t) => {
  const rotated = createSealing([newSecret, oldSecret], systemRandomness);
  t.same(rotated.openSession(cookie, sealing.sealSession(cookie, plaintext)), plaintext);
  t.same(rotated.openSharedDetailed('card', sealing.sealShared('card', plaintext, ''), ''), {
    plaintext,
    sealedByFirst: false,
  });
  t.same(rotated.openSharedDetailed('card', rotated.sealShared('card', plaintext, ''), ''), {
    plaintext,
    sealedByFirst: true,
  });
  t.equal(
    sealing.openSession(cookie, rotated.sealSession(cookie, plaintext)),
    undefined,
    'sealed by the new one',
  );
});

t.test('the same plaintext is never sealed the same way twice', async (t) => {
  t.notSame(sealing.sealSession(cookie, plaintext), sealing.sealSession(cookie, plaintext));
  t.notSame(sealing.sealShared('card', plaintext, ''), sealing.sealShared('card', plaintext, ''));
});

t.test('the format is version 1, salt, AES-256-GCM under HKDF-SHA256, tag', async (t) => {
  const known = createSealing([oldSecret], countingRandomness);
  const key = known.sessionKey(cookie);
  t.equal(
    key,
    `session:${createHash('sha256').update(`sallyport/v1/session-key\n${cookie}`).digest('base64url')}`,
    'the store key is a hash',
  );
  const sealed = known.sealSession(cookie, plaintext);
  // Opened here by the document alone: whoever changes the format signs everyone out, and must mean it.
  const salt = Buffer.from(Array.from({ length: 24 }, (_, index) => index));
  t.equal(sealed[0], 1);
  t.same(sealed.subarray(1, 25), salt);
  const input = Buffer.concat([oldSecret, Buffer.from(cookie, 'base64url')]);
  const derived = Buffer.from(hkdfSync('sha256', input, salt, 'sallyport/v1/session', 44));
  const decipher = createDecipheriv('aes-256-gcm', derived.subarray(0, 32), derived.subarray(32));
  decipher.setAAD(Buffer.concat([Buffer.of(1), Buffer.from(key)]));
  decipher.setAuthTag(sealed.subarray(-16));
  t.same(Buffer.concat([decipher.update(sealed.subarray(25, -16)), decipher.final()]), plaintext);

  t.equal(
    sealed.toString('hex'),
    '01000102030405060708090a0b0c0d0e0f101112131415161720d050ebbc50a3eac38c6bc1a83f55d712fff9709b5901fcf587',
  );
  t.equal(
    known.sealShared('attempt', plaintext, 'tab').toString('hex'),
    '01000102030405060708090a0b0c0d0e0f101112131415161712d363280168f8ce0565458ce6855219b6444ced44937cc704c5',
  );
});

t.test('too few or too short secrets are refused at start', async (t) => {
  for (const secrets of [[], [Buffer.alloc(31)], [oldSecret, Buffer.alloc(16)]]) {
    t.throws(() => createSealing(secrets, systemRandomness), { code: 'config_invalid' });
  }
  try {
    createSealing([], systemRandomness);
  } catch (error) {
    t.ok(isFault(error, 'config_invalid'));
  }
});

t.test('a cookie value is 256 bits in base64url, written in the one way there is', async (t) => {
  for (let index = 0; index < 50; index += 1) t.ok(isCookieValue(randomToken(systemRandomness)));
  const value = 'A'.repeat(43);
  t.ok(isCookieValue(value));
  for (const not of [
    '',
    'A'.repeat(42),
    'A'.repeat(44),
    `${value}\n`,
    `${value.slice(1)}=`,
    `+${value.slice(1)}`,
    `${value.slice(1)}B`,
  ]) {
    t.notOk(isCookieValue(not), JSON.stringify(not));
  }
});

t.test('index keys show nothing of the value, and are apart by secret, purpose and value', async (t) => {
  const one = Buffer.alloc(32, 1);
  const two = Buffer.alloc(32, 2);
  const keys = createSealing([one, two], systemRandomness).indexKeys('names', 'alice');
  t.equal(keys.length, 2);
  for (const key of keys) t.match(key, /^[\w-]{43}$/);
  t.same(
    createSealing([one], systemRandomness).indexKeys('names', 'alice'),
    [keys[0]],
    'the first secret comes first',
  );
  t.same(createSealing([two, one], systemRandomness).indexKeys('names', 'alice'), [...keys].reverse());
  const others = [
    createSealing([one], systemRandomness).indexKeys('names', 'alicf')[0],
    createSealing([one], systemRandomness).indexKeys('mails', 'alice')[0],
  ];
  t.equal(new Set([...keys, ...others]).size, 4);
});

t.test('what is sealed under a later secret opens with it alone', async (t) => {
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const sealed = createSealing([one, two], systemRandomness).sealShared('p', Buffer.from('x'), 'a', 1);
  t.equal(createSealing([one], systemRandomness).openShared('p', sealed, 'a'), undefined);
  t.same(createSealing([two], systemRandomness).openShared('p', sealed, 'a'), Buffer.from('x'));
});
