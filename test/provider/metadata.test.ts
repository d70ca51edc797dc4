import t from 'tap';
import { allowedAlgs, doubtsAbout } from '../../src/provider/metadata.ts';

const issuer = 'https://idp.example.com';
const settings = { pinnedAlg: undefined, par: 'auto' } as const;
const needs = { acrValues: ['phr'], requestedClaims: { id_token: { acr: null } } };

t.test('only asymmetric algorithms are ever allowed, whatever is listed or pinned', async (t) => {
  const listed = {
    issuer,
    id_token_signing_alg_values_supported: ['none', 'HS256', 'RS256', 'HS512', 'ES384', 'made-up'],
  };
  t.same(allowedAlgs(listed, undefined), ['RS256', 'ES384']);
  t.same(allowedAlgs(listed, 'PS256'), ['PS256'], 'the pinned one alone');
  t.same(allowedAlgs(listed, 'HS256'), []);
  t.same(allowedAlgs(listed, 'none'), []);
  t.same(allowedAlgs({ issuer }, undefined), ['RS256'], 'the default where nothing is listed');
  t.same(allowedAlgs({ issuer, id_token_signing_alg_values_supported: [] }, undefined), []);
});

t.test('each doubt about the IdP has its sentence, and no doubt none', async (t) => {
  t.same(doubtsAbout({ issuer }, needs, settings), [], 'an IdP that lists nothing is not doubted');
  const rows: [Record<string, unknown>, Partial<Parameters<typeof doubtsAbout>[2]>, RegExp][] = [
    [{ acr_values_supported: ['phrh'] }, {}, /lacks phr/],
    [{ claims_parameter_supported: false }, {}, /claims parameter/],
    [{ code_challenge_methods_supported: ['plain'] }, {}, /S256/],
    [{ id_token_signing_alg_values_supported: ['HS256'] }, {}, /no asymmetric/],
    [{ id_token_signing_alg_values_supported: ['RS256'] }, { pinnedAlg: 'ES256' }, /does not list ES256/],
    [{ require_pushed_authorization_requests: true }, { par: 'never' }, /set to never/],
    [{}, { par: 'always' }, /set to always/],
  ];
  for (const [metadata, more, doubt] of rows) {
    const doubts = doubtsAbout({ issuer, ...metadata }, needs, { ...settings, ...more });
    t.equal(doubts.length, 1, String(doubt));
    t.match(doubts[0], doubt);
  }
});
