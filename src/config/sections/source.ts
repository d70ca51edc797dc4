import { z } from 'zod';
import { file, secret, text, texts } from '../values.ts';
import { mfa } from './mfa.ts';

/** One identity provider client. */
export const source = z
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
