import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:tls';
import { createSecureContext } from 'node:tls';

/** A certificate chain and its private key, in PEM. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface CertificateFiles {
  readonly cert_file: string;
  readonly key_file: string;
}

/** Reads the pair and makes sure that it is one. @throws Error when a file can't be read or the key is another's */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  const [cert, key] = await Promise.all([readFile(files.cert_file), readFile(files.key_file)]);
  createSecureContext({ cert, key });
  return { cert, key };
}

/**
 * Calls back with each new pair that the files hold; a pair that does not fit (one file written, the other not yet) is
 * reported and left aside. Polls, because secret mounts swap symbolic links, which change events miss.
 *
 * @param intervalMs how often the files are looked at
 * @returns what stops it
 */
export function watchCertificate(
  files: CertificateFiles,
  apply: (certificate: Certificate) => void,
  fail: (error: unknown) => void,
  intervalMs = 1_000,
): () => void {
  let stopped = false;
  const onChange = (): void => {
    readCertificate(files).then((certificate) => {
      if (!stopped) apply(certificate);
    }, fail);
  };
  const paths = [files.cert_file, files.key_file];
  for (const path of paths) watchFile(path, { interval: intervalMs, persistent: false }, onChange);
  return () => {
    stopped = true;
    for (const path of paths) unwatchFile(path, onChange);
  };
}

/**
 * Keeps a server's certificate up with its files. Connections that are open keep what they have; the next handshake gets the
 * new pair.
 */
export function followCertificates(
  server: Pick<Server, 'setSecureContext'>,
  first: CertificateFiles,
  log: (message: string, fields: Readonly<Record<string, unknown>>) => void,
): { follow(files: CertificateFiles): Promise<() => void>; stop(): void } {
  let files = first;
  let stopWatching = watch();

  function watch(): () => void {
    const { cert_file } = files;
    return watchCertificate(
      files,
      (fresh) => {
        take(fresh);
        log('the certificate was replaced', { cert_file });
      },
      (error) => log('the new certificate can not be used', { error: String(error) }),
    );
  }

  function take(fresh: Certificate): void {
    server.setSecureContext({ ...fresh, minVersion: 'TLSv1.2' });
  }

  return {
    async follow(next) {
      const fresh = await readCertificate(next);
      return () => {
        take(fresh);
        if (next.cert_file === files.cert_file && next.key_file === files.key_file) return;
        stopWatching();
        files = next;
        stopWatching = watch();
      };
    },
    stop: () => stopWatching(),
  };
}
