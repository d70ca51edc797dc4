import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startApp, type App } from '../../src/app.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { startSupervisor, type Supervisor } from '../../src/reload/supervisor.ts';
import { assertAuditLines } from '../support/audit-lines.ts';
import { LineSink, loopbackOrigin } from '../support/sallyport.ts';

type Json = Record<string, unknown>;

/** A directory with a configuration in it that changes, and the processes that read it. */
export interface Desk {
  readonly directory: string;
  /** The configuration's file. */
  readonly path: string;
  /** Writes the file as editors do: beside it, then renamed over it. */
  write(config: Json | string): void;
  clear(): void;
}

export function openDesk(): Desk {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-reload-'));
  const path = join(directory, 'sallyport.yaml');
  return {
    directory,
    path,
    write(config) {
      writeFileSync(`${path}.new`, typeof config === 'string' ? config : stringify(config));
      renameSync(`${path}.new`, path);
    },
    clear: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** A process of Sallyport, without the process. */
export interface Replica {
  readonly app: App;
  readonly supervisor: Supervisor;
  readonly log: LineSink;
  readonly audit: LineSink;
  /** The lines of the log with this message. */
  told(message: string | RegExp): readonly Json[];
  /** The lines of the audit trail with this action. */
  audited(action: string): readonly Json[];
  /** The value of a metric's series, as the page shows it. */
  metric(series: string): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Starts from a file as `serve` does, looking at its files often. */
export async function startReplica(
  path: string,
  options: { readonly clock?: Clock; readonly audit?: 'file'; readonly controlSocket?: string } = {},
): Promise<Replica> {
  const loaded = await loadConfig(path, {});
  if (!loaded.ok) throw new Error(loaded.report);
  const log = new LineSink();
  const audit = new LineSink();
  const app = await startApp(loaded.config, {
    log,
    ...(options.audit === 'file' ? {} : { audit }),
    ...(options.clock && { clock: options.clock }),
    warnings: loaded.warnings,
    fileOwner: 'owner',
  });
  const { controlSocket } = options;
  const supervisor = await startSupervisor({ app, path, env: {}, loaded, controlSocket, watchEveryMs: 20 });
  return {
    app,
    supervisor,
    log,
    audit,
    told: (message) =>
      log
        .lines()
        .filter(({ message: text }) =>
          typeof message === 'string' ? text === message : message.test(String(text)),
        ),
    audited: (action) => audit.lines().filter((line) => line['action'] === action),
    async metric(series) {
      const page = await (await fetch(`http://${app.operations}/metrics`)).text();
      const line = page.split('\n').find((each) => each.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length + 1));
    },
    async close() {
      await supervisor.close();
      await app.close();
      // Whatever a test does: the trail is held to the schema that ships.
      assertAuditLines(audit.lines());
    },
  };
}

export const applied = 'a new configuration is in force';
export const refused = /^the new configuration is refused/;

/** A sound configuration on a loopback origin. */
export async function soundConfig(
  upstream: string,
  over: Readonly<Record<string, Json>> = {},
): Promise<{ readonly origin: string; readonly config: Json }> {
  const origin = await loopbackOrigin();
  const base: Record<string, unknown> = {
    server: { listen: new URL(origin).host, public_url: origin, rate_limit: { sign_in: '10000/1m' } },
    operations: { listen: '127.0.0.1:0' },
    upstream: { url: upstream },
    session: { secrets: ['0123456789abcdef0123456789abcdef-of-the-tests'] },
    log: { access: false },
    sources: [{ id: 'idp', issuer: 'http://127.0.0.1:9', client_id: 'forge', client_secret: 'a-secret' }],
  };
  for (const [key, value] of Object.entries(over)) {
    const before = base[key];
    base[key] = Array.isArray(value) || Array.isArray(before) ? value : { ...(before as Json), ...value };
  }
  return { origin, config: base };
}
