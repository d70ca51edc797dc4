import { z } from 'zod';
import { duration, file, secret, size, text, texts } from './values.ts';

/*
 * The one definition of the configuration (SPEC section 1): the Config type, the validation, the JSON Schema and the
 * reference page all come from here. Keys are written as in the file; durations are milliseconds and sizes bytes once parsed.
 */

const server = z.strictObject({
  listen: text().default('0.0.0.0:4180'),
  public_url: z.union([text(), texts().min(1)]).transform((value) => (typeof value === 'string' ? [value] : value)),
  path_prefix: text().default('/_sallyport'),
  trusted_proxies: texts().default([]),
  tls: z.strictObject({ cert_file: file(), key_file: file() }).optional(),
  max_header_size: size().prefault('32KiB'),
  shutdown_grace: duration().prefault('30s'),
  workers: z.union([z.int().min(1), z.literal('auto')]).default(1),
  rate_limit: z.strictObject({ sign_in: text().default('30/1m') }).prefault({}),
});

const operations = z.strictObject({
  listen: text().default('127.0.0.1:9464'),
  readiness_requires: z.array(z.enum(['redis'])).default([]),
  control_socket: text().optional(),
});

const identityHeader = z.strictObject({ header: text(), claim: text() });

const username = z.strictObject({
  claim: text().default('preferred_username'),
  format: z.enum(['local_part', 'as_is']).default('local_part'),
  pattern: text().optional(),
  reserved: texts().optional(),
  bind: z.boolean().default(true),
});

const upstream = z.strictObject({
  url: text(),
  preset: z.enum(['forgejo', 'gitea', 'grafana', 'oauth2_proxy', 'authelia', 'generic']).default('generic'),
  identity_headers: z.array(identityHeader).optional(),
  bound_cookies: texts().optional(),
  username: username.prefault({}),
  pass_host: z.boolean().default(true),
  pass_access_token: z.boolean().default(false),
  connect_timeout: duration().prefault('5s'),
  response_timeout: duration().prefault('5m'),
  idle_timeout: duration().prefault('5m'),
  tls: z
    .strictObject({
      ca_file: file().optional(),
      server_name: text().optional(),
      client_cert_file: file().optional(),
      client_key_file: file().optional(),
    })
    .prefault({}),
});

const redisTls = z.strictObject({
  ca_file: file().optional(),
  client_cert_file: file().optional(),
  client_key_file: file().optional(),
});

const redis = z.strictObject({
  url: text().optional(),
  username: text().optional(),
  password: secret().optional(),
  password_file: file().optional(),
  tls: redisTls.optional(),
  key_prefix: text().default('sallyport:'),
  sentinel: z.strictObject({ name: text(), nodes: texts().min(1) }).optional(),
  cluster: z.strictObject({ nodes: texts().min(1) }).optional(),
});

const session = z.strictObject({
  secrets: z.array(secret()).optional(),
  secret_files: z.array(file()).optional(),
  redis: redis.optional(),
  idle_timeout: duration().prefault('8h'),
  absolute_timeout: duration().prefault('24h'),
  cache: duration().prefault('5s'),
  outage_grace: duration().prefault('0s'),
  cookie_name: text().default('__Host-sallyport'),
  assertion_key_file: file().optional(),
  assertion_audience: text().optional(),
});

const claimsRequest = z.record(text(), z.record(text(), z.union([z.null(), z.record(text(), z.unknown())])));

const mfa = z.strictObject({
  mode: z.enum(['enforce', 'report_only', 'carry_over', 'trust_idp']).default('enforce'),
  report_only_until: text().optional(),
  enforce_for: z.strictObject({ groups: texts().default([]), emails: texts().default([]) }).optional(),
  preset: text().default('generic'),
  acr_values: z.union([text(), z.array(text())]).optional(),
  requested_claims: claimsRequest.optional(),
  aal2_acr_values: texts().optional(),
  aal2_amr_values: z.union([z.enum(['standard', 'strict']), z.array(z.union([text(), texts().min(1)]))]).optional(),
  aal2_claims: z.record(text(), texts()).optional(),
  accept: z.enum(['any', 'amr', 'acr', 'both']).optional(),
  max_auth_age: duration().optional(),
  allow_unsupported_issuer: z.boolean().default(false),
});

const source = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]+$/, 'expected lower-case letters, digits and hyphens'),
  display_name: text().optional(),
  tenant: text().optional(),
  issuer: text(),
  client_id: text(),
  client_secret: secret().optional(),
  client_secret_file: file().optional(),
  private_key_jwt: z.strictObject({ key_file: file(), kid: text().optional(), alg: text().optional() }).optional(),
  scopes: texts().default(['openid', 'profile', 'email']),
  authorization_params: z.record(text(), z.string()).default({}),
  pushed_authorization_requests: z.enum(['auto', 'always', 'never']).default('auto'),
  id_token_signed_response_alg: text().optional(),
  additional_audiences: texts().default([]),
  claims_source: z.enum(['id_token', 'userinfo']).default('id_token'),
  groups_claim: text().default('groups'),
  email_trusted: z.boolean().default(false),
  email_domains: texts().default([]),
  allowed_groups: texts().default([]),
  tls: z.strictObject({ ca_file: file().optional() }).prefault({}),
  proxy: text().optional(),
  mfa_setup_url: text().optional(),
  mfa: mfa.prefault({}),
});

const route = z.strictObject({
  name: z.string().regex(/^[a-z0-9_-]+$/i).max(64),
  path: text(),
  methods: texts().optional(),
  access: z.enum(['session', 'credentials', 'bearer', 'public', 'upstream', 'deny']).default('session'),
  require_aal: z.enum(['aal1', 'aal2']).optional(),
  max_auth_age: duration().optional(),
  accept_attested: z.boolean().default(false),
  sources: texts().optional(),
  groups: texts().optional(),
  emails: texts().optional(),
  credential_headers: texts().optional(),
  source: text().optional(),
});

const operator = z.strictObject({
  source: text().optional(),
  emails: texts().optional(),
  groups: texts().optional(),
});

/** The whole file. */
export const configSchema = z.strictObject({
  server,
  operations: operations.prefault({}),
  upstream,
  session,
  sources: z.array(source).min(1),
  routes: z.array(route).default([]),
  bearer: z.strictObject({ audiences: texts().default([]), typ: texts().default(['at+jwt']) }).prefault({}),
  operators: z.array(operator).default([]),
  canary: z.enum(['operators', 'anyone', 'off']).default('operators'),
  branding: z
    .strictObject({
      product_name: text().default('Sallyport'),
      logo_file: file().optional(),
      support_url: text().optional(),
    })
    .prefault({}),
  audit: z.strictObject({ file: text().optional() }).prefault({}),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
      format: z.enum(['json', 'pretty']).default('json'),
      access: z.boolean().default(true),
    })
    .prefault({}),
  change: z.strictObject({ actor: text().optional(), ref: text().optional() }).prefault({}),
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
