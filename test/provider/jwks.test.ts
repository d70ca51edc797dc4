import t from 'tap';
import type { Clock } from '../../src/kernel/clock.ts';
import { createJwksCache } from '../../src/provider/jwks.ts';
import { makeKey } from '../support/op.ts';
import { faultOf, until } from './setup.ts';

type Json = Record<string, unknown>;

function publicJwk(
  kid: string | undefined,
  alg: 'ES256' | 'RS256' | 'EdDSA' = 'ES256',
  more: Json = {},
): Json {
  const jwk = makeKey(alg, kid ?? '').publicKey.export({ format: 'jwk' });
  return { ...jwk, ...(kid === undefined ? {} : { kid }), ...more };
}

/** A JWKS that tests change, on a clock that tests own. */
function cacheOf(keys: unknown[]) {
  const state = {
    keys,
    fetches: 0,
    nowMs: 1_000_000,
    answer: undefined as (() => Promise<unknown>) | undefined,
  };
  const clock: Clock = { nowMs: () => state.nowMs };
  const cache = createJwksCache(async () => {
    state.fetches += 1;
    return state.answer === undefined ? { keys: state.keys } : state.answer();
  }, clock);
  return { state, cache };
}

const es256 = (kid?: string) => ({ alg: 'ES256', kid });

t.test('one fetch serves many tokens, and is repeated after ten minutes', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  for (let round = 0; round < 20; round += 1) t.equal((await cache.keysFor(es256('a'))).length, 1);
  t.equal(state.fetches, 1);
  state.nowMs += 599_999;
  await cache.keysFor(es256('a'));
  t.equal(state.fetches, 1);
  state.nowMs += 1;
  await cache.keysFor(es256('a'));
  t.equal(state.fetches, 2);
});

t.test('a key that the IdP withdrew is believed for ten minutes at most', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  await cache.keysFor(es256('a'));
  state.keys = [publicJwk('b')];
  state.nowMs += 600_000;
  t.same(await cache.keysFor(es256('a')), []);
});

t.test('a clock that is set back keeps no withdrawn key for longer', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  await cache.keysFor(es256('a'));
  state.keys = [publicJwk('b')];
  state.nowMs -= 500_000;
  t.same(await cache.keysFor(es256('a')), []);
});

t.test('a key rotated a second after the last fetch is accepted', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  await cache.keysFor(es256('a'));
  for (const kid of ['b', 'c', 'd']) {
    state.nowMs += 1000;
    state.keys = [publicJwk(kid)];
    t.equal((await cache.keysFor(es256(kid))).length, 1, kid);
  }
  t.equal(state.fetches, 4);
});

t.test('a flood of unknown kids is held to a few fetches, and the limit recovers', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  for (let n = 0; n < 500; n += 1) t.same(await cache.keysFor(es256(`made-up-${n}`)), []);
  t.equal(state.fetches, 6, 'the first, and five more');
  t.equal((await cache.keysFor(es256('a'))).length, 1, 'known keys go on working');
  state.nowMs += 12_000;
  state.keys = [publicJwk('b')];
  t.equal((await cache.keysFor(es256('b'))).length, 1);
  await cache.keysFor(es256('c'));
  t.equal(state.fetches, 7);
});

t.test('a flood at the same moment shares fetches', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  await Promise.all(Array.from({ length: 100 }, () => cache.keysFor(es256('a'))));
  t.equal(state.fetches, 1);
  await Promise.all(Array.from({ length: 100 }, (_, n) => cache.keysFor(es256(`made-up-${n}`))));
  t.ok(state.fetches <= 6, String(state.fetches));
});

t.test('whoever joins a fetch that began before the key was published asks once more', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  await cache.keysFor(es256('a'));
  const old = { keys: state.keys };
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  state.answer = async () => {
    await gate;
    return old;
  };
  const first = cache.keysFor(es256('made-up'));
  await until(() => state.fetches === 2);
  state.answer = undefined;
  state.keys = [publicJwk('b')];
  const second = cache.keysFor(es256('b'));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(state.fetches, 2, 'it joined');
  release();
  t.same(await first, []);
  t.equal((await second).length, 1);
});

t.test('a token without kid is tried against every key that fits its alg, sixteen at most', async (t) => {
  const { cache } = cacheOf([publicJwk('a'), publicJwk(undefined), publicJwk('r', 'RS256')]);
  t.equal((await cache.keysFor(es256())).length, 2);
  t.equal((await cache.keysFor({ alg: 'RS256', kid: undefined })).length, 1);
  const jwk = publicJwk('many');
  const many = cacheOf(Array.from({ length: 90 }, () => ({ ...jwk })));
  t.equal((await many.cache.keysFor(es256())).length, 16);
});

t.test('keys that are not for signatures, not public, or not for this alg are never used', async (t) => {
  const { privateKey } = makeKey('ES256', 'p');
  const rows: [string, unknown, number][] = [
    ['use enc', publicJwk('k', 'ES256', { use: 'enc' }), 0],
    ['use sig', publicJwk('k', 'ES256', { use: 'sig' }), 1],
    ['key_ops without verify', publicJwk('k', 'ES256', { key_ops: ['encrypt'] }), 0],
    ['key_ops that allow nothing', publicJwk('k', 'ES256', { key_ops: [] }), 0],
    ['key_ops as text', publicJwk('k', 'ES256', { key_ops: 'verify' }), 0],
    ['key_ops with verify', publicJwk('k', 'ES256', { key_ops: ['verify'] }), 1],
    ['another alg', publicJwk('k', 'ES256', { alg: 'ES384' }), 0],
    ['an RSA key', publicJwk('k', 'RS256'), 0],
    ['a symmetric key', { kty: 'oct', k: 'c2VjcmV0', kid: 'k', alg: 'ES256' }, 0],
    ['a point that is not on the curve', { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'k' }, 0],
    ['null', null, 0],
    ['text', 'key', 0],
    ['a document that leaks its private key', { ...privateKey.export({ format: 'jwk' }), kid: 'k' }, 1],
  ];
  for (const [title, jwk, count] of rows) {
    const keys = await cacheOf([jwk]).cache.keysFor(es256('k'));
    t.equal(keys.length, count, title);
    for (const key of keys) t.equal(key.type, 'public');
  }
  const symmetric = cacheOf([{ kty: 'oct', k: 'c2VjcmV0', kid: 'k', alg: 'HS256' }]);
  t.same(await symmetric.cache.keysFor({ alg: 'HS256', kid: 'k' }), []);
});

t.test('EdDSA and Ed25519 are two names of one algorithm', async (t) => {
  const { cache } = cacheOf([publicJwk('e', 'EdDSA', { alg: 'EdDSA' })]);
  t.equal((await cache.keysFor({ alg: 'Ed25519', kid: 'e' })).length, 1);
  t.equal((await cache.keysFor({ alg: 'EdDSA', kid: 'e' })).length, 1);
});

t.test('what is no JWKS, or an endless one, is a fault and not an empty answer', async (t) => {
  const jwk = publicJwk('a');
  for (const document of [
    null,
    'x',
    [],
    {},
    { keys: {} },
    { keys: Array.from({ length: 101 }, () => jwk) },
  ]) {
    const { state, cache } = cacheOf([]);
    state.answer = async () => document;
    t.equal(await faultOf(cache.keysFor(es256('a'))), 'idp_unavailable jwks_unusable');
  }
});

t.test('a failed fetch is not remembered', async (t) => {
  const { state, cache } = cacheOf([publicJwk('a')]);
  state.answer = () => Promise.reject(new TypeError('down'));
  await t.rejects(cache.keysFor(es256('a')), TypeError);
  state.answer = undefined;
  t.equal((await cache.keysFor(es256('a'))).length, 1);
});
