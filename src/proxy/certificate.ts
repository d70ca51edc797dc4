import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
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
