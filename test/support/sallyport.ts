import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { stringify } from 'yaml';
import { startApp, type App, type AppOptions } from '../../src/app.ts';
import { loadConfig } from '../../src/config/load.ts';
import { assertAuditLines } from './audit-lines.ts';
import { freePort } from './ports.ts';

type Json = Record<string, unknown>;

/** Collects JSON lines. */
export class LineSink extends Writable {
  #text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#text += chunk.toString('utf8');
    done();
  }

  /** Everything written so far, as it is. */
  get text(): string {
    return this.#text;
  }

  /** The whole lines written so far, parsed. */
  lines(): Json[] {
    return this.#text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Json);
  }
}

export interface TestSource extends Json {
  readonly id: string;
  readonly issuer: string;
}

/** The client that every test source and test OP agree on. */
export const testClient = { client_id: 'forge', client_secret: 'a-client-secret-of-the-tests' };

/** What an OP must know of the client of a Sallyport on `origin`. */
export function clientOf(origin: string, ...sourceIds: string[]) {
  return {
    ...testClient,
    redirect_uris: sourceIds.map((id) => `${origin}/_sallyport/callback/${id}`),
    post_logout_redirect_uris: [`${origin}/_sallyport/signed-out`],
  };
}

export interface TestSallyportOptions {
  /** The origin; its port is where Sallyport listens. Made by {@link loopbackOrigin}. */
  readonly origin: string;
  readonly upstream: string;
  readonly sources: readonly TestSource[];
  /** Merged over the sections (one level deep). */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly app?: Pick<AppOptions, 'clock' | 'randomness'>;
}

export interface TestSallyport extends App {
  readonly log: LineSink;
  readonly audit: LineSink;
}

/** A loopback origin on a port that was free a moment ago. */
export async function loopbackOrigin(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}

/**
 * Writes a real YAML file, loads it as `serve` does, and starts a real Sallyport in this process. Whatever it leaves in the audit
 * trail is held to the schema that ships when it closes.
 */
export async function startSallyport(options: TestSallyportOptions): Promise<TestSallyport> {
  const { host } = new URL(options.origin);
  const base: Json = {
    server: { listen: host, public_url: options.origin, rate_limit: { sign_in: '10000/1m' } },
    operations: { listen: '127.0.0.1:0' },
    upstream: { url: options.upstream },
    session: { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'] },
  };
  for (const [key, value] of Object.entries(options.config ?? {})) {
    base[key] =
      typeof value === 'object' && !Array.isArray(value)
        ? { ...(base[key] as Json | undefined), ...value }
        : value;
  }
  base['sources'] = options.sources.map((source) => ({ ...testClient, ...source }));
  const dir = mkdtempSync(join(tmpdir(), 'sallyport-test-'));
  const file = join(dir, 'sallyport.yaml');
  writeFileSync(file, stringify(base));
  try {
    const loaded = await loadConfig(file, {});
    if (!loaded.ok) throw new Error(loaded.report);
    const log = new LineSink();
    const audit = new LineSink();
    const app = await startApp(loaded.config, { ...options.app, log, audit, warnings: loaded.warnings });
    return {
      ...app,
      log,
      audit,
      async close(patience) {
        await app.close(patience);
        assertAuditLines(audit.lines());
      },
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
