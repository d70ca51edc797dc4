import { z } from 'zod';
import { duration, file, text, texts } from '../values.ts';

const identityHeader = z
  .strictObject({
    header: text().meta({ description: 'Name of the request header.', examples: ['X-WEBAUTH-USER'] }),
    claim: text().meta({
      description:
        'What it carries: `username` (the one that is bound), `email` (a verified one), `name`, `groups`, or a claim of the ID token, e.g. `sub`.',
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
        description:
          'Whether an upstream user name belongs to one (issuer, subject) for good; with forgejo and gitea a verified email address too. See docs/user-names.md.',
        examples: [true],
      }),
  })
  .prefault({})
  .meta({ description: 'How the upstream user name is made.' });

/** The app behind. */
export const upstream = z
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
        description:
          'Adds `X-Forwarded-Access-Token`. The upstream can then act as the user at the IdP. It is refreshed where the sign-in brings a refresh token; one that has expired is not sent.',
        examples: [false],
      }),
    connect_timeout: duration()
      .prefault('5s')
      .meta({ description: 'For a connection to the upstream; 504 beyond.', examples: ['5s'] }),
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
