import { z } from 'zod';
import { duration, text, texts } from '../values.ts';

/** A rule of the access policy. */
export const route = z
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
      .meta({
        description: 'Who passes: docs/routes.md says what each value means.',
        examples: ['session', 'public', 'deny'],
      }),
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
        description: 'Only members of one of these groups. Beside `emails`, both have to hold.',
        examples: [['forge-admins']],
      }),
    emails: texts()
      .optional()
      .meta({
        description: 'Only these verified email addresses. Beside `groups`, both have to hold.',
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

/** Who runs this Sallyport. */
export const operator = z
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
