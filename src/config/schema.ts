import { z } from 'zod';
import { duration, file, secret, size, text, texts } from './values.ts';

/*
 * The one definition of the configuration (SPEC section 1): the Config type, the validation, the JSON Schema and the
 * reference page all come from here. Keys are written as in the file; durations are milliseconds and sizes bytes once parsed.
 * Every key has a description and, unless it is a mapping, at least one valid example (test/config/json-schema.test.ts).
 */

const server = z
  .strictObject({
    listen: text()
      .default('0.0.0.0:4180')
      .meta({
        description:
          'Where browsers reach Sallyport: `host:port`, `"[::]:port"` (quoted: it starts with a bracket), or `unix:/path`. A change needs a restart.',
        examples: ['0.0.0.0:4180', '[::]:4180', 'unix:/run/sallyport/http.sock'],
      }),
    public_url: z
      .union([text(), texts().min(1)])
      .transform((value) => (typeof value === 'string' ? [value] : value))
      .meta({
        description:
          'The origin, or the list of origins, under which users see the app. https, unless the host is a loopback; no path. A request for another Host is answered 421. Register `<public_url><path_prefix>/callback/<source id>` at the identity provider.',
        examples: ['https://forge.example.com', ['https://forge.example.com', 'https://git.example.com']],
      }),
    path_prefix: text()
      .default('/_sallyport')
      .meta({
        description: "Everything under this path is Sallyport's own and never reaches the upstream.",
        examples: ['/_sallyport'],
      }),
    trusted_proxies: texts()
      .default([])
      .meta({
        description:
          'CIDRs of the proxies in front whose `X-Forwarded-*` are believed. Nobody by default. Keep it as narrow as the ingress: whoever is listed can claim any client address.',
        examples: [['10.42.0.0/16', 'fd00::/8']],
      }),
    tls: z
      .strictObject({
        cert_file: file().meta({
          description: 'PEM certificate chain, leaf first.',
          examples: ['/run/tls/tls.crt'],
        }),
        key_file: file().meta({
          description: 'PEM private key of the certificate.',
          examples: ['/run/tls/tls.key'],
        }),
      })
      .optional()
      .meta({
        description:
          'TLS on `server.listen`; both files, or neither. Watched, and swapped in without dropping connections.',
        examples: [{ cert_file: '/run/tls/tls.crt', key_file: '/run/tls/tls.key' }],
      }),
    max_header_size: size()
      .prefault('32KiB')
      .meta({ description: 'Bound on all request headers together; 431 beyond.', examples: ['32KiB'] }),
    shutdown_grace: duration()
      .prefault('30s')
      .meta({ description: 'How long running requests may go on after SIGTERM.', examples: ['30s'] }),
    workers: z
      .union([z.int().min(1), z.literal('auto')])
      .default(1)
      .meta({
        description: 'Processes that share the port, or `auto`. More than one needs `session.redis`.',
        examples: [1, 'auto'],
      }),
    rate_limit: z
      .strictObject({
        sign_in: text()
          .default('30/1m')
          .meta({
            description:
              'count/duration per client address and source, for signin, callback, canary and signout; 429 beyond.',
            examples: ['30/1m'],
          }),
      })
      .prefault({})
      .meta({ description: 'Bounds on what one client address may ask for.' }),
  })
  .meta({ description: 'The side that faces the browsers.' });

const operations = z
  .strictObject({
    listen: text()
      .default('127.0.0.1:9464')
      .meta({
        description:
          'Where /livez, /readyz and /metrics are served, apart from the users. Same syntax as `server.listen`. The image and the manifests set 0.0.0.0.',
        examples: ['127.0.0.1:9464'],
      }),
    readiness_requires: z
      .array(z.enum(['redis']))
      .default([])
      .meta({
        description:
          '`[redis]` fails /readyz while Redis is down. By default /readyz stays ready, but says "degraded".',
        examples: [['redis']],
      }),
    control_socket: text()
      .optional()
      .meta({
        description:
          'Unix socket for `sallyport reload --actor`. Without it: SIGHUP and changes of the file.',
        examples: ['/run/sallyport/control.sock'],
      }),
  })
  .prefault({})
  .meta({ description: 'The side that faces the operators.' });

const identityHeader = z
  .strictObject({
    header: text().meta({ description: 'Name of the request header.', examples: ['X-WEBAUTH-USER'] }),
    claim: text().meta({
      description: 'What it carries, e.g. `username`, `email`, `name`, `groups`, `sub`.',
      examples: ['username'],
    }),
  })
  .meta({ description: 'One identity header.' });

const username = z
  .strictObject({
    claim: text()
      .default('preferred_username')
      .meta({
        description: 'Claim of the user name; the email where the claim is absent.',
        examples: ['preferred_username', 'upn'],
      }),
    format: z
      .enum(['local_part', 'as_is'])
      .default('local_part')
      .meta({ description: '`local_part` cuts at the `@`; `as_is` does not.', examples: ['local_part'] }),
    pattern: text()
      .optional()
      .meta({
        description:
          "Regular expression that the whole name must match; a name that does not is refused. Default: the forge's rules with its preset.",
        examples: ['[a-z0-9][a-z0-9._-]{0,38}'],
      }),
    reserved: texts()
      .optional()
      .meta({
        description:
          "Names that no sign-in may take. Default: the forge's system and admin names with its preset.",
        examples: [['admin', 'root']],
      }),
    bind: z
      .boolean()
      .default(true)
      .meta({
        description: 'Whether an upstream user name belongs to one (issuer, subject) for good.',
        examples: [true],
      }),
  })
  .prefault({})
  .meta({ description: 'How the upstream user name is made.' });

const upstream = z
  .strictObject({
    url: text().meta({
      description: 'The app behind: `http://host:port`, `https://host:port`, or `unix:/path`. No path.',
      examples: ['http://127.0.0.1:3000', 'unix:/run/forgejo/http.sock'],
    }),
    preset: z
      .enum(['forgejo', 'gitea', 'grafana', 'oauth2_proxy', 'authelia', 'generic'])
      .default('generic')
      .meta({
        description:
          'Identity headers, routes and user-name rules for a known app; each key below overrides it.',
        examples: ['forgejo'],
      }),
    identity_headers: z
      .array(identityHeader)
      .optional()
      .meta({
        description: "Replaces the preset's identity headers. `X-Sallyport-Assertion` is always set.",
        examples: [[{ header: 'X-WEBAUTH-USER', claim: 'username' }]],
      }),
    bound_cookies: texts()
      .optional()
      .meta({
        description: "Cookies of the app that are tied to the session that made them. Default: the preset's.",
        examples: [['session']],
      }),
    username,
    pass_host: z
      .boolean()
      .default(true)
      .meta({ description: 'Whether the upstream sees the Host that the browser sent.', examples: [true] }),
    pass_access_token: z
      .boolean()
      .default(false)
      .meta({
        description: 'Adds `X-Forwarded-Access-Token`. The upstream can then act as the user at the IdP.',
        examples: [false],
      }),
    connect_timeout: duration()
      .prefault('5s')
      .meta({ description: 'For a connection to the upstream; 502 beyond.', examples: ['5s'] }),
    response_timeout: duration()
      .prefault('5m')
      .meta({
        description: "From the request's last byte to the response's first; 504 beyond.",
        examples: ['5m'],
      }),
    idle_timeout: duration()
      .prefault('5m')
      .meta({ description: 'Between two bytes of a body.', examples: ['5m'] }),
    tls: z
      .strictObject({
        ca_file: file()
          .optional()
          .meta({
            description: 'PEM certificates that are trusted instead of the system ones.',
            examples: ['/run/tls/ca.crt'],
          }),
        server_name: text()
          .optional()
          .meta({
            description: "Name to ask for and to verify, where it is not the URL's host.",
            examples: ['forge.internal'],
          }),
        client_cert_file: file()
          .optional()
          .meta({ description: 'PEM client certificate.', examples: ['/run/tls/client.crt'] }),
        client_key_file: file()
          .optional()
          .meta({ description: 'PEM key of the client certificate.', examples: ['/run/tls/client.key'] }),
      })
      .prefault({})
      .meta({ description: 'TLS towards an https upstream. Verification is on, always.' }),
  })
  .meta({ description: 'The app behind.' });

const redisTls = z
  .strictObject({
    ca_file: file()
      .optional()
      .meta({
        description: 'PEM certificates that are trusted instead of the system ones.',
        examples: ['/run/tls/ca.crt'],
      }),
    client_cert_file: file()
      .optional()
      .meta({ description: 'PEM client certificate.', examples: ['/run/tls/client.crt'] }),
    client_key_file: file()
      .optional()
      .meta({ description: 'PEM key of the client certificate.', examples: ['/run/tls/client.key'] }),
  })
  .optional()
  .meta({
    description: 'TLS towards Redis; needs a rediss:// URL.',
    examples: [{ ca_file: '/run/tls/ca.crt' }],
  });

const redis = z
  .strictObject({
    url: text()
      .optional()
      .meta({
        description: '`redis://host:port/db` or `rediss://…`.',
        examples: ['redis://redis:6379/0', 'rediss://redis.example.com:6380/0'],
      }),
    username: text()
      .optional()
      .meta({ description: 'ACL user of Redis.', examples: ['sallyport'] }),
    password: secret()
      .optional()
      .meta({ description: 'Password of Redis; better in a file.', examples: ['${REDIS_PASSWORD}'] }),
    password_file: file()
      .optional()
      .meta({
        description: 'File with the password; one trailing newline is dropped.',
        examples: ['/run/secrets/redis'],
      }),
    tls: redisTls,
    key_prefix: text()
      .default('sallyport:')
      .meta({ description: 'Every key in Redis begins with it.', examples: ['sallyport:'] }),
    sentinel: z
      .strictObject({
        name: text().meta({ description: 'Name of the master.', examples: ['mymaster'] }),
        nodes: texts()
          .min(1)
          .meta({ description: 'host:port of the sentinels.', examples: [['sentinel-0:26379']] }),
      })
      .optional()
      .meta({
        description: 'Redis behind Sentinel, instead of `url`.',
        examples: [{ name: 'mymaster', nodes: ['sentinel-0:26379'] }],
      }),
    cluster: z
      .strictObject({
        nodes: texts()
          .min(1)
          .meta({ description: 'host:port of some nodes.', examples: [['redis-0:6379']] }),
      })
      .optional()
      .meta({
        description: 'Redis Cluster, instead of `url`.',
        examples: [{ nodes: ['redis-0:6379'] }],
      }),
  })
  .optional()
  .meta({
    description: 'Where sessions are kept. Absent: in memory, one process, lost at restart, with a warning.',
    examples: [{ url: 'redis://redis:6379/0' }],
  });

const session = z
  .strictObject({
    secrets: z
      .array(secret())
      .optional()
      .meta({
        description:
          'Sealing secrets, 32 bytes or more each, taken as they are; the first seals, all open, so that a new one put in front rotates without signing anyone out. Required, here or as `secret_files`.',
        examples: [['${SALLYPORT_SECRET}']],
      }),
    secret_files: z
      .array(file())
      .optional()
      .meta({
        description:
          'The same, one secret in each file (`openssl rand -base64 32`); one trailing newline is dropped.',
        examples: [['/run/secrets/sallyport']],
      }),
    redis,
    idle_timeout: duration()
      .prefault('8h')
      .meta({ description: 'A session not used for so long ends.', examples: ['8h'] }),
    absolute_timeout: duration()
      .prefault('24h')
      .meta({
        description:
          'A session ends so long after the sign-in; nothing extends it, a token refresh included.',
        examples: ['24h'],
      }),
    cache: duration()
      .prefault('5s')
      .meta({
        description:
          'How long an opened session may be served from memory without asking Redis; the worst case for a sign-out to reach every replica. `0s`: never from memory.',
        examples: ['5s', '0s'],
      }),
    outage_grace: duration()
      .prefault('0s')
      .meta({
        description:
          'How long sessions in memory outlive a Redis outage. `0s`: fail closed at once. Revocations do not arrive meanwhile.',
        examples: ['0s', '5m'],
      }),
    cookie_name: text()
      .default('__Host-sallyport')
      .meta({
        description:
          'Name of the session cookie. `Secure` and the `__Host-` prefix are left out on an http loopback origin.',
        examples: ['__Host-sallyport'],
      }),
    assertion_key_file: file()
      .optional()
      .meta({
        description:
          'Private key (JWK or PEM; EC P-256 or Ed25519) that signs `X-Sallyport-Assertion`. Absent: made once and kept sealed in Redis.',
        examples: ['/run/secrets/assertion.pem'],
      }),
    assertion_audience: text()
      .optional()
      .meta({
        description: '`aud` of the assertion. Default: `upstream.url` as written.',
        examples: ['https://forge.internal'],
      }),
  })
  .meta({ description: 'How long a sign-in lasts and where it is kept.' });

const claimsRequest = z.record(text(), z.record(text(), z.union([z.null(), z.record(text(), z.unknown())])));

const mfa = z
  .strictObject({
    mode: z
      .enum(['enforce', 'report_only', 'carry_over', 'trust_idp'])
      .default('enforce')
      .meta({
        description:
          'What happens to a sign-in without MFA evidence: `enforce` refuses it; `report_only` lets it in and reports; `carry_over` only records; `trust_idp` takes the IdP at its word (to be retired).',
        examples: ['enforce', 'report_only'],
      }),
    report_only_until: text()
      .optional()
      .meta({
        description:
          'A date (`2027-01-31`, meaning its first moment in UTC, or an RFC 3339 time) from which report_only becomes enforce. Only beside `mode: report_only`.',
        examples: ['2027-01-31', '2027-01-31T08:00:00Z'],
      }),
    enforce_for: z
      .strictObject({
        groups: texts()
          .default([])
          .meta({ description: "Values of the source's `groups_claim`.", examples: [['forge-admins']] }),
        emails: texts()
          .default([])
          .meta({ description: 'Verified email addresses.', examples: [['admin@example.com']] }),
      })
      .optional()
      .meta({
        description:
          'Staged roll-out: enforce for these, report_only for the others. Who cannot be told apart (unverified email, groups absent) is enforced. Only beside `mode: report_only`.',
        examples: [{ groups: ['forge-admins'] }],
      }),
    preset: text()
      .default('generic')
      .meta({
        description:
          'What is asked for and accepted at a known vendor: entra_c2, entra_c3, okta_phr, okta_phrh, okta_2fa, google_mfa, auth0, keycloak, authentik, authelia, zitadel, ping, login_gov, refeds_mfa, generic, custom.',
        examples: ['entra_c2', 'generic'],
      }),
    acr_values: z
      .union([text(), z.array(text())])
      .optional()
      .meta({
        description:
          "Sent as `acr_values`; replaces the preset's. `[]` sends none. Not beside an essential `acr` in `requested_claims`: providers drop the essential one.",
        examples: [['urn:example:mfa'], 'urn:example:mfa'],
      }),
    requested_claims: claimsRequest.optional().meta({
      description:
        "The `claims` request parameter (OIDC Core 5.5); replaces the preset's. `{}` sends none. Outside enforce `essential` is sent as false.",
      examples: [{ id_token: { acrs: { essential: true, value: 'c1' } } }],
    }),
    aal2_acr_values: texts()
      .optional()
      .meta({
        description:
          "Values of `acr` that are evidence; compared exactly; replaces the preset's. `[]` accepts none.",
        examples: [['gold']],
      }),
    aal2_amr_values: z
      .union([z.enum(['standard', 'strict']), z.array(z.union([text(), texts().min(1)]))])
      .optional()
      .meta({
        description:
          'Values of `amr` that are evidence: `standard` (18 values, wide), `strict` (`mfa`, or two factor kinds), or a list whose elements are a value, or a list of values that must all be there. `[]` accepts none.',
        examples: ['strict', ['mfa', ['pwd', 'otp']]],
      }),
    aal2_claims: z
      .record(text(), texts())
      .optional()
      .meta({
        description: 'Other claims of the ID token that carry evidence, with the values that count.',
        examples: [{ acrs: ['c2'] }],
      }),
    accept: z
      .enum(['any', 'amr', 'acr', 'both'])
      .optional()
      .meta({
        description: 'Where the evidence may be: `any`; `amr`; `acr` (or `aal2_claims`); `both` amr and acr.',
        examples: ['any'],
      }),
    max_auth_age: duration()
      .optional()
      .meta({
        description:
          'How old the authentication at the IdP may be at sign-in. Sends `max_age`; requires and checks `auth_time`.',
        examples: ['12h'],
      }),
    allow_unsupported_issuer: z
      .boolean()
      .default(false)
      .meta({
        description: 'Start although this issuer is known never to emit MFA evidence.',
        examples: [false],
      }),
  })
  .prefault({})
  .meta({ description: 'What counts as MFA, and what happens without it.' });

const source = z
  .strictObject({
    id: z
      .string()
      .regex(/^[a-z0-9-]+$/)
      .max(64)
      .meta({
        title: 'lower-case letters, digits and hyphens, at most 64',
        description: 'Name of the source; its redirect URI is `<public_url><path_prefix>/callback/<id>`.',
        examples: ['entra'],
      }),
    display_name: text()
      .optional()
      .meta({ description: 'Shown to users; the id where absent.', examples: ['Example Corp'] }),
    tenant: text()
      .optional()
      .meta({ description: 'Written to the audit trail.', examples: ['example-corp'] }),
    issuer: text().meta({
      description:
        'Issuer identifier, exactly as the IdP writes it in `iss`. https, unless the host is a loopback; no query, no fragment.',
      examples: ['https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0'],
    }),
    client_id: text().meta({ description: 'Client id registered at the IdP.', examples: ['sallyport'] }),
    client_secret: secret()
      .optional()
      .meta({
        description:
          'Client secret; better in a file. Exactly one of `client_secret`, `client_secret_file`, `private_key_jwt` is given: a public client is refused.',
        examples: ['${ENTRA_CLIENT_SECRET}'],
      }),
    client_secret_file: file()
      .optional()
      .meta({
        description: 'File with the client secret; one trailing newline is dropped.',
        examples: ['/run/secrets/entra'],
      }),
    private_key_jwt: z
      .strictObject({
        key_file: file().meta({
          description: 'Private key, JWK or PEM (PKCS #8).',
          examples: ['/run/secrets/client.pem'],
        }),
        kid: text()
          .optional()
          .meta({ description: 'Key id at the IdP.', examples: ['2026-11'] }),
        alg: text()
          .optional()
          .meta({
            description: "Signature algorithm; by default the key's own.",
            examples: ['ES256', 'PS256'],
          }),
      })
      .optional()
      .meta({
        description: 'Client authentication by a signed JWT (RFC 7523) instead of a secret.',
        examples: [{ key_file: '/run/secrets/client.pem', kid: '2026-11', alg: 'ES256' }],
      }),
    scopes: texts()
      .default(['openid', 'profile', 'email'])
      .meta({
        description: 'Requested scopes; must contain `openid`.',
        examples: [['openid', 'profile', 'email', 'groups']],
      }),
    authorization_params: z
      .record(text(), z.string())
      .default({})
      .meta({
        description:
          'Further parameters of the authorization request (prompt, domain_hint, kc_idp_hint, …); not those that Sallyport sets.',
        examples: [{ domain_hint: 'example.com' }],
      }),
    pushed_authorization_requests: z
      .enum(['auto', 'always', 'never'])
      .default('auto')
      .meta({ description: 'PAR (RFC 9126); `auto`: where the IdP offers it.', examples: ['auto'] }),
    id_token_signed_response_alg: text()
      .optional()
      .meta({
        description: 'Pins the signature algorithm. Default: the asymmetric ones that discovery lists.',
        examples: ['RS256'],
      }),
    additional_audiences: texts()
      .default([])
      .meta({
        description: 'Further `aud` values that may stand beside the client id.',
        examples: [['https://api.example.com']],
      }),
    claims_source: z
      .enum(['id_token', 'userinfo'])
      .default('id_token')
      .meta({
        description:
          "Where profile claims come from; `userinfo` is fetched and merged under the ID token's. MFA evidence is never read from userinfo.",
        examples: ['id_token'],
      }),
    groups_claim: text()
      .default('groups')
      .meta({ description: "Claim that lists the user's groups.", examples: ['groups', 'roles'] }),
    email_trusted: z
      .boolean()
      .default(false)
      .meta({
        description:
          'Take the email for verified where the IdP sends no `email_verified` (single-tenant Entra). Only where users cannot choose their own address.',
        examples: [false],
      }),
    email_domains: texts()
      .default([])
      .meta({
        description:
          'Who may sign in through this source: exact domain of a verified email. Empty: everyone whom the IdP lets in.',
        examples: [['example.com']],
      }),
    allowed_groups: texts()
      .default([])
      .meta({
        description: 'Who may sign in through this source: members of one of these groups. Empty: all.',
        examples: [['forge-users']],
      }),
    tls: z
      .strictObject({
        ca_file: file()
          .optional()
          .meta({
            description: 'PEM certificates that are trusted instead of the system ones.',
            examples: ['/run/tls/idp-ca.crt'],
          }),
      })
      .prefault({})
      .meta({ description: 'TLS towards the IdP. Verification is on, always.' }),
    proxy: text()
      .optional()
      .meta({
        description: 'Outbound HTTP proxy towards the IdP.',
        examples: ['http://proxy.example.com:3128'],
      }),
    mfa_setup_url: text()
      .optional()
      .meta({
        description: 'Where a user adds a second factor; shown on the refusal page.',
        examples: ['https://aka.ms/mfasetup'],
      }),
    mfa,
  })
  .meta({ description: 'One identity provider client.' });

const route = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-zA-Z0-9_-]+$/)
      .max(64)
      .meta({
        title: 'letters, digits, hyphens and underscores, at most 64',
        description: 'Label of the rule in log and metrics; unique.',
        examples: ['admin'],
      }),
    path: text().meta({
      description: 'Pattern of the path: `*` is one segment, `**` any number, none included.',
      examples: ['/-/admin/**'],
    }),
    methods: texts()
      .optional()
      .meta({ description: 'HTTP methods, in capitals. Absent: all.', examples: [['GET', 'HEAD']] }),
    access: z
      .enum(['session', 'credentials', 'bearer', 'public', 'upstream', 'deny'])
      .default('session')
      .meta({ description: 'Who passes.', examples: ['session', 'public', 'deny'] }),
    require_aal: z
      .enum(['aal1', 'aal2'])
      .optional()
      .meta({ description: 'Least assurance of the session.', examples: ['aal2'] }),
    max_auth_age: duration()
      .optional()
      .meta({
        description: 'How old the authentication at the IdP may be at the moment of the request.',
        examples: ['15m'],
      }),
    accept_attested: z
      .boolean()
      .default(false)
      .meta({
        description: 'Whether a session of a `trust_idp` source satisfies `require_aal: aal2`.',
        examples: [false],
      }),
    sources: texts()
      .optional()
      .meta({ description: 'Only sessions of these sources. Absent: all.', examples: [['entra']] }),
    groups: texts()
      .optional()
      .meta({
        description: 'Only members of one of these groups (or one of `emails`).',
        examples: [['forge-admins']],
      }),
    emails: texts()
      .optional()
      .meta({
        description: 'Only these verified email addresses (or members of `groups`).',
        examples: [['admin@example.com']],
      }),
    credential_headers: texts()
      .optional()
      .meta({
        description: 'Headers that count as a credential on an `access: credentials` route.',
        examples: [['X-NuGet-ApiKey']],
      }),
    source: text()
      .optional()
      .meta({
        description:
          'Whose `groups` and `emails` are meant; required beside them as soon as there is more than one source.',
        examples: ['entra'],
      }),
  })
  .meta({ description: 'One rule of the access policy.' });

const operator = z
  .strictObject({
    source: text()
      .optional()
      .meta({
        description:
          'Whose `groups` and `emails` are meant; required as soon as there is more than one source.',
        examples: ['entra'],
      }),
    emails: texts()
      .optional()
      .meta({ description: 'Verified email addresses.', examples: [['admin@example.com']] }),
    groups: texts()
      .optional()
      .meta({ description: "Values of the source's `groups_claim`.", examples: [['forge-admins']] }),
  })
  .meta({ description: 'Some operators.' });

/** The whole file. */
export const configSchema = z.strictObject({
  server,
  operations,
  upstream,
  session,
  sources: z
    .array(source)
    .min(1)
    .meta({ description: 'The identity providers through which users sign in; at least one.' }),
  routes: z
    .array(route)
    .default([])
    .meta({
      description:
        "Access rules, tried in order before the preset's; the first match wins; what matches none needs a session.",
      examples: [[{ name: 'admin', path: '/-/admin/**', require_aal: 'aal2', max_auth_age: '15m' }]],
    }),
  bearer: z
    .strictObject({
      audiences: texts()
        .default([])
        .meta({
          description: '`aud` values of access tokens that pass `access: bearer` routes; never a client id.',
          examples: [['https://forge.example.com/api']],
        }),
      typ: texts()
        .default(['at+jwt'])
        .meta({ description: 'Accepted `typ` headers of those tokens.', examples: [['at+jwt']] }),
    })
    .prefault({})
    .meta({ description: 'JWT access tokens as credentials.' }),
  operators: z
    .array(operator)
    .default([])
    .meta({
      description: 'Who sees the status page and the canary; at AAL2 always.',
      examples: [[{ source: 'entra', groups: ['forge-admins'] }]],
    }),
  canary: z
    .enum(['operators', 'anyone', 'off'])
    .default('operators')
    .meta({ description: 'Who may use the canary sign-in.', examples: ['operators'] }),
  branding: z
    .strictObject({
      product_name: text()
        .default('Sallyport')
        .meta({ description: 'Name on the pages.', examples: ['Example Forge'] }),
      logo_file: file()
        .optional()
        .meta({ description: 'Image on the pages.', examples: ['/etc/sallyport/logo.svg'] }),
      support_url: text()
        .optional()
        .meta({
          description: 'Where users find help: http, https or mailto.',
          examples: ['https://help.example.com', 'mailto:help@example.com'],
        }),
    })
    .prefault({})
    .meta({ description: 'How the pages look.' }),
  audit: z
    .strictObject({
      file: text()
        .optional()
        .meta({
          description: 'File to which audit lines are appended. Default: standard output.',
          examples: ['/var/log/sallyport/audit.jsonl'],
        }),
    })
    .prefault({})
    .meta({ description: 'The audit trail.' }),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info')
        .meta({ description: 'Least level of application lines.', examples: ['info'] }),
      format: z
        .enum(['json', 'pretty'])
        .default('json')
        .meta({ description: 'JSON lines, or text for a terminal.', examples: ['json'] }),
      access: z
        .boolean()
        .default(true)
        .meta({ description: 'Whether each request writes a line.', examples: [true] }),
    })
    .prefault({})
    .meta({ description: 'The log.' }),
  change: z
    .strictObject({
      actor: text()
        .optional()
        .meta({ description: 'Who made this version of the file.', examples: ['alice@example.com'] }),
      ref: text()
        .optional()
        .meta({ description: 'Which commit it is.', examples: ['4f1c2a9'] }),
    })
    .prefault({})
    .meta({ description: 'Filled in by CI, recorded by the audit trail.' }),
});

/** The configuration as parsed: snake_case keys as in the file, defaults filled in, durations in ms, sizes in bytes. */
export type Config = z.output<typeof configSchema>;
/** The configuration as written in the file. */
export type ConfigInput = z.input<typeof configSchema>;
export type ServerConfig = Config['server'];
export type UpstreamConfig = Config['upstream'];
export type SessionConfig = Config['session'];
export type SourceConfig = Config['sources'][number];
export type MfaConfig = SourceConfig['mfa'];
export type RouteConfig = Config['routes'][number];
