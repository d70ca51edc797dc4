import { z } from 'zod';
import { operator, route } from './sections/route.ts';
import { operations, server } from './sections/server.ts';
import { session } from './sections/session.ts';
import { source } from './sections/source.ts';
import { upstream } from './sections/upstream.ts';
import { file, text, texts } from './values.ts';

/*
 * The one definition of the configuration (SPEC section 1): the Config type, the validation, the JSON Schema and the
 * reference page all come from here and from sections/. Keys are written as in the file; durations are milliseconds and sizes bytes once parsed.
 * Every key has a description and, unless it is a mapping, at least one valid example (test/config/generated.test.ts).
 */

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
    .meta({
      description:
        'Filled in by CI, recorded by the audit trail. CI writes it into the file: `${NAME}` stands for the environment that the process was started with, which no reload changes.',
    }),
});

/** The configuration as parsed: snake_case keys as in the file, defaults filled in, durations in ms, sizes in bytes. */
export type Config = z.output<typeof configSchema>;
/** The configuration as written in the file. */
export type ConfigInput = z.input<typeof configSchema>;
/** The sections, checked and with their defaults. Durations are in milliseconds, sizes in bytes. */
export type ServerConfig = Config['server'];
export type UpstreamConfig = Config['upstream'];
export type SessionConfig = Config['session'];
export type SourceConfig = Config['sources'][number];
export type MfaConfig = SourceConfig['mfa'];
export type RouteConfig = Config['routes'][number];
