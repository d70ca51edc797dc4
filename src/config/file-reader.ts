import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Secret } from '../kernel/secret.ts';
import type { Finding, KeyPath } from './faults.ts';

/** No key, certificate or logo is larger; a device or a wrong file must not fill the memory. */
const maxFileBytes = 1024 * 1024;

interface ClientTls {
  readonly ca_file?: string | undefined;
  readonly client_cert_file?: string | undefined;
  readonly client_key_file?: string | undefined;
}

/** Reads the files that keys name, relative to a directory, and notes what is wrong with them. */
export class FileReader {
  readonly findings: Finding[] = [];
  /** Absolute paths of all that was asked for, whether it was there or not. */
  readonly files = new Set<string>();
  readonly #directory: string;
  readonly #isSound: (path: KeyPath) => boolean;
  readonly #certificates = new Map<string, X509Certificate>();
  readonly #keys = new Map<string, KeyObject>();

  constructor(directory: string, isSound: (path: KeyPath) => boolean) {
    this.#directory = directory;
    this.#isSound = isSound;
  }

  note(path: KeyPath, message: string, cure?: string): void {
    this.findings.push({ code: 'unreadable_file', path, message, cure });
  }

  resolve(file: string): string {
    return resolve(this.#directory, file);
  }

  async plain(path: KeyPath, file: string): Promise<string> {
    await this.#read(path, file);
    return this.resolve(file);
  }

  /** A secret: text, one trailing newline dropped, otherwise as it is. */
  async secret(path: KeyPath, file: string): Promise<Secret | undefined> {
    const bytes = await this.#read(path, file);
    if (bytes === undefined) return undefined;
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      // Decoding would fold many different bytes into one replacement character: entropy lost in silence.
      this.note(path, 'the secret in this file is not text', 'write it in base64');
      return undefined;
    }
    const value = text.replace(/\r?\n$/, '');
    if (value !== '') return new Secret(value);
    this.note(path, 'this file is empty', 'write the secret into it');
    return undefined;
  }

  /** `<key>_file` read into `<key>`, the path made absolute. */
  async secretTwin<K extends 'password' | 'client_secret'>(
    path: KeyPath,
    key: K,
    holder: Readonly<Partial<Record<K, Secret | undefined> & Record<`${K}_file`, string | undefined>>>,
  ): Promise<Partial<Record<K, Secret> & Record<`${K}_file`, string>>> {
    const file: string | undefined = holder[`${key}_file`];
    if (file === undefined) return {};
    const secret = await this.secret([...path, `${key}_file`], file);
    return { [`${key}_file`]: this.resolve(file), ...(secret && { [key]: secret }) } as Partial<
      Record<K, Secret> & Record<`${K}_file`, string>
    >;
  }

  /** PEM certificates, all of which can be read; the first one is kept for {@link checkPair}. */
  async certificates(path: KeyPath, file: string): Promise<string> {
    const bytes = await this.#read(path, file);
    if (bytes !== undefined) {
      const blocks = bytes
        .toString('latin1')
        .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
      try {
        const [first] = (blocks ?? []).map((block) => new X509Certificate(block));
        if (first === undefined) this.note(path, 'this file holds no PEM certificate');
        else this.#certificates.set(JSON.stringify(path), first);
      } catch {
        this.note(path, 'a certificate in this file cannot be read');
      }
    }
    return this.resolve(file);
  }

  /** A private key, PEM or JWK; `refuse` says why one of the wrong kind is none. */
  async privateKey(
    path: KeyPath,
    file: string,
    refuse?: (key: KeyObject) => string | undefined,
  ): Promise<string> {
    const bytes = await this.#read(path, file);
    if (bytes !== undefined) {
      const key = parsePrivateKey(bytes);
      if (key === undefined) {
        this.note(path, 'this file holds no private key (PEM without passphrase, or JWK)');
      } else {
        this.#keys.set(JSON.stringify(path), key);
        const why = refuse?.(key);
        if (why !== undefined) this.note(path, why);
      }
    }
    return this.resolve(file);
  }

  async clientTls<T extends ClientTls>(path: KeyPath, tls: T): Promise<T> {
    const { ca_file, client_cert_file, client_key_file } = tls;
    const read: ClientTls = {
      ...(ca_file !== undefined && { ca_file: await this.certificates([...path, 'ca_file'], ca_file) }),
      ...(client_cert_file !== undefined && {
        client_cert_file: await this.certificates([...path, 'client_cert_file'], client_cert_file),
      }),
      ...(client_key_file !== undefined && {
        client_key_file: await this.privateKey([...path, 'client_key_file'], client_key_file),
      }),
    };
    this.checkPair(path, 'client_cert_file', 'client_key_file');
    return { ...tls, ...read };
  }

  /** A certificate beside a key that is another one's is found here, not in the first handshake. */
  checkPair(path: KeyPath, certificateKey: string, keyKey: string): void {
    const certificate = this.#certificates.get(JSON.stringify([...path, certificateKey]));
    const key = this.#keys.get(JSON.stringify([...path, keyKey]));
    if (certificate !== undefined && key !== undefined && !certificate.checkPrivateKey(key)) {
      this.note([...path, keyKey], `this key is not that of the certificate in ${certificateKey}`);
    }
  }

  async #read(path: KeyPath, file: string): Promise<Buffer | undefined> {
    if (!this.#isSound(path)) return undefined;
    this.files.add(this.resolve(file));
    try {
      return await readBounded(this.resolve(file));
    } catch (error) {
      const [message, cure] = whyUnreadable(error);
      this.note(path, message, cure);
      return undefined;
    }
  }
}

function parsePrivateKey(bytes: Buffer): KeyObject | undefined {
  const text = bytes.toString('utf8');
  try {
    if (!text.trimStart().startsWith('{')) return createPrivateKey(text);
    return createPrivateKey({ key: JSON.parse(text) as Record<string, string>, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** The bytes of a file, at most 1 MiB of them. @throws the system's error, or EFBIG */
export async function readBounded(path: string): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    if ((await handle.stat()).isDirectory())
      throw Object.assign(new Error('a directory'), { code: 'EISDIR' });
    const chunks: Buffer[] = [];
    let length = 0;
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(64 * 1024));
      if (bytesRead === 0) return Buffer.concat(chunks);
      length += bytesRead;
      if (length > maxFileBytes) throw Object.assign(new Error('too large'), { code: 'EFBIG' });
      chunks.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

/** What the system's error means to the operator; never the content of the file. */
export function whyUnreadable(error: unknown): readonly [message: string, cure: string | undefined] {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  switch (code) {
    case 'ENOENT':
      return ['this file does not exist', 'create it, or correct the path'];
    case 'EACCES':
    case 'EPERM':
      return ['this file may not be read by this user', 'give the user that runs Sallyport read access'];
    case 'EISDIR':
      return ['this is a directory', 'name a file'];
    case 'ENOTDIR':
      return ['a part of this path is no directory', 'correct the path'];
    case 'EFBIG':
      return ['this file is larger than 1 MiB', 'name another file'];
    default:
      return [`this file cannot be read (${code})`, undefined];
  }
}
