import { z } from 'zod';
import { duration, file, size, text, texts } from '../values.ts';

/** Where browsers reach Sallyport, and whose word it takes. */
export const server = z
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
        description:
          'Processes that share the port, or `auto`: one for each core that the process may use. More than one needs `session.redis`. See [operations](operations.md#several-workers). A change needs a restart.',
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

/** The listener for probes and metrics. */
export const operations = z
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
          'Unix socket for `sallyport reload --actor`, which may be opened by the user that runs Sallyport. With it, a changed file is applied by itself only after ten seconds, so that the command comes first; without it, at once.',
        examples: ['/run/sallyport/control.sock'],
      }),
  })
  .prefault({})
  .meta({ description: 'The side that faces the operators.' });
