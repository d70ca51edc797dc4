import type { KeyObject } from 'node:crypto';
import type { Finding, KeyPath } from './faults.ts';
import { FileReader } from './file-reader.ts';
import type { Config, SourceConfig } from './schema.ts';

/** What the files of a configuration brought. */
export interface FilesRead {
  /** The configuration with absolute paths and with its secrets filled in. */
  readonly config: Config;
  readonly findings: readonly Finding[];
  /** Every file that was asked for, by its absolute path. */
  readonly files: readonly string[];
}

/**
 * Reads every file that the configuration names, secrets into it; relative paths start at `directory`.
 * Paths for which `isSound` says no are left alone.
 */
export async function readFiles(
  config: Config,
  directory: string,
  isSound: (path: KeyPath) => boolean,
): Promise<FilesRead> {
  const reader = new FileReader(directory, isSound);
  const { server, operations, upstream, session, branding, audit } = config;
  const { control_socket: controlSocket } = operations;

  const tls = server.tls && {
    cert_file: await reader.certificates(['server', 'tls', 'cert_file'], server.tls.cert_file),
    key_file: await reader.privateKey(['server', 'tls', 'key_file'], server.tls.key_file),
  };
  if (tls !== undefined) reader.checkPair(['server', 'tls'], 'cert_file', 'key_file');

  const redisPath: KeyPath = ['session', 'redis'];
  const redis = session.redis && {
    ...session.redis,
    ...(await reader.secretTwin(redisPath, 'password', session.redis)),
    ...(session.redis.sentinel && {
      sentinel: {
        ...session.redis.sentinel,
        ...(await reader.secretTwin([...redisPath, 'sentinel'], 'password', session.redis.sentinel)),
      },
    }),
    ...(session.redis.tls && { tls: await reader.clientTls([...redisPath, 'tls'], session.redis.tls) }),
  };

  const secrets = [...(session.secrets ?? [])];
  const secretFiles: string[] = [];
  for (const [index, file] of (session.secret_files ?? []).entries()) {
    const path: KeyPath = ['session', 'secret_files', index];
    const secret = await reader.secret(path, file);
    secretFiles.push(reader.resolve(file));
    if (secret === undefined) continue;
    secrets.push(secret);
    if (Buffer.byteLength(secret.reveal()) < 32) {
      reader.note(
        path,
        'the secret in this file is shorter than 32 bytes',
        'openssl rand -base64 32 makes one',
      );
    }
  }

  const assertionKey = session.assertion_key_file;
  const assertionPath: KeyPath = ['session', 'assertion_key_file'];
  const sources: SourceConfig[] = [];
  for (const [index, source] of config.sources.entries())
    sources.push(await readSource(reader, index, source));

  return {
    config: {
      ...config,
      server: { ...server, ...(tls && { tls }) },
      upstream: { ...upstream, tls: await reader.clientTls(['upstream', 'tls'], upstream.tls) },
      session: {
        ...session,
        ...(secrets.length > 0 && { secrets }),
        ...(session.secret_files && { secret_files: secretFiles }),
        ...(redis && { redis }),
        ...(assertionKey !== undefined && {
          assertion_key_file: await reader.privateKey(assertionPath, assertionKey, assertionKeyKinds),
        }),
      },
      sources,
      // Written to or listened on, not read; relative like the others.
      operations: {
        ...operations,
        ...(controlSocket !== undefined && { control_socket: reader.resolve(controlSocket) }),
      },
      audit: { ...(audit.file !== undefined && { file: reader.resolve(audit.file) }) },
      branding: {
        ...branding,
        ...(branding.logo_file !== undefined && {
          logo_file: await reader.plain(['branding', 'logo_file'], branding.logo_file),
        }),
      },
    },
    findings: reader.findings,
    files: [...reader.files],
  };
}

async function readSource(reader: FileReader, index: number, source: SourceConfig): Promise<SourceConfig> {
  const path: KeyPath = ['sources', index];
  const key = source.private_key_jwt;
  return {
    ...source,
    ...(await reader.secretTwin(path, 'client_secret', source)),
    ...(key && {
      private_key_jwt: {
        ...key,
        key_file: await reader.privateKey([...path, 'private_key_jwt', 'key_file'], key.key_file),
      },
    }),
    tls: await reader.clientTls([...path, 'tls'], source.tls),
  };
}

/** ES256 and EdDSA (SPEC section 7). */
const assertionKeyKinds = (key: KeyObject): string | undefined => {
  const fits =
    key.asymmetricKeyType === 'ed25519' ||
    (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1');
  return fits ? undefined : 'expected an EC P-256 or Ed25519 key';
};
