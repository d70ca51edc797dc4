import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import type { LoadedConfig } from '../../src/config/load.ts';
import type { Environment } from '../../src/config/interpolation.ts';

/** A directory of its own for one test file, gone at its end. */
export class Workshop {
  readonly directory = mkdtempSync(join(tmpdir(), 'sallyport-config-'));

  write(name: string, content: string | Buffer): string {
    const path = join(this.directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  /** Keys, certificates and a logo, where the examples name them below /run and /etc. */
  furnish(): void {
    const certificate = readFixture('tls.crt');
    const key = readFixture('tls.key');
    this.write('run/tls/tls.crt', certificate);
    this.write('run/tls/ca.crt', certificate);
    this.write('run/tls/tls.key', key);
    this.write('run/secrets/login-gov.pem', key);
    this.#provideSecret('redis');
    this.#provideSecret('entra');
    this.write('etc/sallyport/logo.svg', '<svg xmlns="http://www.w3.org/2000/svg"/>');
  }

  /** Loads a text whose files below /run and /etc are looked for in this directory; its secret files are made. */
  async load(text: string, env: Environment = {}): Promise<LoadedConfig> {
    for (const [, name = ''] of text.matchAll(/\/run\/secrets\/([\w-]+)(?![\w.-])/g))
      this.#provideSecret(name);
    const here = text.replace(
      /(?<=[\s"'[])\/(run\/(?:secrets|tls)|etc\/sallyport)\//g,
      `${this.directory}/$1/`,
    );
    return loadConfig(this.write('sallyport.yaml', here), env);
  }

  #provideSecret(name: string): void {
    this.write(`run/secrets/${name}`, `the-secret-of-${name}-which-is-long-enough\n`);
  }

  clear(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A file below test/fixtures/config. */
export function readFixture(name: string): string {
  return readFileSync(new URL(`../fixtures/config/${name}`, import.meta.url), 'utf8');
}

/** A sound file, into which a test writes one mistake. */
export const soundFile = `server:
  public_url: https://forge.example.com
upstream:
  url: http://127.0.0.1:3000
session:
  secrets: ["0123456789abcdef0123456789abcdef"]
  redis: { url: "redis://redis:6379/0" }
sources:
  - id: entra
    issuer: https://idp.example.com
    client_id: sallyport
    client_secret: hush-hush
    mfa: { preset: authentik }
`;

/** `path: message` of every fault in a text, without files. */
export function faultsOf(text: string, env: Environment = {}): readonly string[] {
  const parsed = parseConfig(text, 'sallyport.yaml', env);
  return parsed.ok ? [] : parsed.faults.map(({ path, message }) => `${path}: ${message}`);
}
