import { z } from 'zod';
import { duration, file, secret, text, texts } from '../values.ts';

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
    description:
      'TLS towards Redis. Beside `url` it needs rediss://; beside `sentinel` or `cluster` it is what turns TLS on, be it empty (`{}`: the system certificates are trusted).',
    examples: [{ ca_file: '/run/tls/ca.crt' }],
  });

const sentinel = z
  .strictObject({
    name: text().meta({
      description: 'The name that the sentinels know the master by (`sentinel monitor <name> …`).',
      examples: ['mymaster'],
    }),
    nodes: texts()
      .min(1)
      .meta({
        description: 'The sentinels, host:port (port 26379 if left out); all of them, better than one.',
        examples: [['sentinel-0:26379', 'sentinel-1:26379', 'sentinel-2:26379']],
      }),
    db: z
      .int()
      .min(0)
      .max(99_999)
      .default(0)
      .meta({ description: 'Database of the master.', examples: [0] }),
    username: text()
      .optional()
      .meta({
        description: 'ACL user of the sentinels; the servers have `session.redis.username`.',
        examples: ['sallyport'],
      }),
    password: secret()
      .optional()
      .meta({
        description: 'Password of the sentinels; better in a file.',
        examples: ['${SENTINEL_PASSWORD}'],
      }),
    password_file: file()
      .optional()
      .meta({
        description: 'File with the password of the sentinels; one trailing newline is dropped.',
        examples: ['/run/secrets/sentinel'],
      }),
    tls: z
      .boolean()
      .optional()
      .meta({
        description:
          'Whether the sentinels speak TLS, with the certificates of `session.redis.tls`. Default: if that key is there.',
        examples: [false],
      }),
  })
  .optional()
  .meta({
    description:
      'Redis behind Sentinel, instead of `url`: the master that the sentinels name is used, and followed when it changes.',
    examples: [{ name: 'mymaster', nodes: ['sentinel-0:26379', 'sentinel-1:26379', 'sentinel-2:26379'] }],
  });

const cluster = z
  .strictObject({
    nodes: texts()
      .min(1)
      .meta({
        description:
          'Some of the nodes, host:port (port 6379 if left out); the others are learned from them.',
        examples: [['redis-0:6379', 'redis-1:6379', 'redis-2:6379']],
      }),
  })
  .optional()
  .meta({
    description: 'Redis Cluster, instead of `url`.',
    examples: [{ nodes: ['redis-0:6379', 'redis-1:6379', 'redis-2:6379'] }],
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
    sentinel,
    cluster,
  })
  .optional()
  .meta({
    description: 'Where sessions are kept. Absent: in memory, one process, lost at restart, with a warning.',
    examples: [{ url: 'redis://redis:6379/0' }],
  });

/** Sessions: secrets, store, limits. */
export const session = z
  .strictObject({
    secrets: z
      .array(secret())
      .optional()
      .meta({
        description:
          'Sealing secrets, 32 bytes or more each, taken as they are; the first seals, all open: add a new one second on every replica, then put it first, and nobody is signed out (docs/operations.md). Required, here or as `secret_files`.',
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
