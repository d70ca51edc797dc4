import fc from 'fast-check';
import t from 'tap';
import { isIdentityHeader, normalizeHeaderName } from '../../src/policy/identity-header-names.ts';
import { headerPresets } from '../../src/identity/presets.ts';

const presetNames = Object.values(headerPresets).flatMap((rules) => rules.map(({ header }) => header));

const believed = [
  ...presetNames,
  'X-Sallyport-Assertion',
  'X-Sallyport-Anything',
  'X-WEBAUTH-GROUPS',
  'X-WEBAUTH-ROLE',
  'X-Forwarded-User',
  'X-Forwarded-Email',
  'X-Forwarded-Groups',
  'X-Forwarded-Preferred-Username',
  'X-Forwarded-Access-Token',
  'X-Forwarded-Client-Cert',
  'Remote-User',
  'Remote-Name',
  'X-Remote-User',
  'X-Remote-Group',
  'X-Remote-Extra-Scopes',
  'X-Auth-Request-User',
  'X-Auth-Request-Access-Token',
  'X-authentik-username',
  'X-Vouch-User',
  'X-Pomerium-Jwt-Assertion',
  'X-Goog-Authenticated-User-Email',
  'X-Goog-IAP-JWT-Assertion',
  'Cf-Access-Authenticated-User-Email',
  'X-Amzn-Oidc-Identity',
  'X-MS-CLIENT-PRINCIPAL',
  'X-MS-CLIENT-PRINCIPAL-NAME',
  'OIDC_CLAIM_sub',
  'Tailscale-User-Login',
  'X-Consumer-Username',
  'SM_USER',
  'iv-user',
  'X-User',
  'Client-Cert',
  'SSL-Client-Verify',
];

t.test('headers by which some upstream is told who asks are known in every spelling', async (t) => {
  for (const name of believed) {
    t.ok(isIdentityHeader(normalizeHeaderName(name)), name);
    t.ok(isIdentityHeader(normalizeHeaderName(name.toUpperCase())), name.toUpperCase());
    t.ok(isIdentityHeader(normalizeHeaderName(name.toLowerCase())), name.toLowerCase());
    t.ok(isIdentityHeader(normalizeHeaderName(name.replaceAll('-', '_'))), name.replaceAll('-', '_'));
  }
});

t.test('any mixture of case, underscores and dots is the same header', async () => {
  fc.assert(
    fc.property(fc.constantFrom(...believed), fc.infiniteStream(fc.nat(5)), (name, choices) => {
      const spelt = name
        .split('')
        .map((character) => {
          const choice = choices.next().value as number;
          if (/[-_]/.test(character)) return ['-', '_', '.'][choice % 3];
          return choice % 2 === 0 ? character.toUpperCase() : character.toLowerCase();
        })
        .join('');
      return isIdentityHeader(normalizeHeaderName(spelt));
    }),
  );
});

t.test('headers that applications need pass', async (t) => {
  const innocent = [
    'accept',
    'authorization',
    'content-type',
    'cookie',
    'host',
    'origin',
    'user-agent',
    'x-csrf-token',
    'x-requested-with',
    'x-gitea-otp',
    'x-nuget-apikey',
    'x-runner-uuid',
    'x-runner-token',
    'x-real-ip',
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-forwarded-host',
    'x-request-id',
    'x-auth-token',
    'traceparent',
    'git-protocol',
    'sec-websocket-key',
    'x-remoted',
    'x-webauthn',
  ];
  for (const name of innocent) t.notOk(isIdentityHeader(name), name);
});

t.test('folding is idempotent and leaves only letters, digits and hyphens', async () => {
  fc.assert(
    fc.property(fc.string(), (name) => {
      const folded = normalizeHeaderName(name);
      return normalizeHeaderName(folded) === folded && /^[a-z0-9-]*$/.test(folded);
    }),
  );
});
