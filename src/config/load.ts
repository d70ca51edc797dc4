import { dirname } from 'node:path';
import { parseOrigin } from './addresses.ts';
import { crossCheck } from './cross-checks.ts';
import { readDocument } from './document.ts';
import type { ConfigDocument } from './document.ts';
import { formatReport, orderFaults } from './faults.ts';
import type { Fault, Finding, KeyPath } from './faults.ts';
import { readBounded, whyUnreadable } from './file-reader.ts';
import { readFiles } from './files.ts';
import type { Environment } from './interpolation.ts';
import { Judge } from './judge.ts';
import type { Config } from './schema.ts';
import { validateStructure } from './structure.ts';

/** A configuration that may be started, or everything that is wrong with it. */
export type LoadedConfig = (
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly report: string; readonly faults: readonly Fault[] }
) & {
  /** The files that it names and that were read or found missing: a change of one of them changes the result. */
  readonly files?: readonly string[];
};

/**
 * Loads the file at `path`: everything that {@link parseConfig} does, and every file that it names is read. The result
 * is deeply frozen, its paths are absolute, and `client_secret`, `redis.password` and `session.secrets` hold what the
 * `*_file` twins brought. Never throws for what is wrong with the files.
 */
export async function loadConfig(path: string, env: Environment): Promise<LoadedConfig> {
  let text: string;
  try {
    text = (await readBounded(path)).toString('utf8');
  } catch (error) {
    const [message, cure] = whyUnreadable(error);
    return refuse(path, [{ code: 'unreadable', file: path, line: 0, column: 0, path: '', message, cure }]);
  }
  const examined = examine(text, path, env);
  const { document, config, unsound } = examined;
  if (document === undefined || config === undefined) return refuse(path, examined.faults);
  const judge = new Judge(unsound);
  const read = await readFiles(config, dirname(path), (key) => judge.isSound(key));
  const faults = [...examined.faults, ...read.findings.map((finding) => document.locate(finding))];
  return { ...conclude(path, faults, read.config, examined.warnings), files: read.files };
}

/** The same without touching any file: `*_file` keys stay as written and bring nothing. Pure. */
export function parseConfig(text: string, fileName: string, env: Environment): LoadedConfig {
  const { faults, config, warnings } = examine(text, fileName, env);
  return conclude(fileName, faults, config, warnings);
}

interface Examined {
  readonly faults: readonly Fault[];
  readonly warnings: readonly string[];
  readonly document: ConfigDocument | undefined;
  /** With placeholders where {@link unsound} says so. */
  readonly config: Config | undefined;
  readonly unsound: readonly KeyPath[];
}

function examine(text: string, fileName: string, env: Environment): Examined {
  const { document, faults } = readDocument(text, fileName, env);
  if (document === undefined) return { faults, warnings: [], document, config: undefined, unsound: [] };
  const { findings, config: parsed, unsound } = validateStructure(document);
  const config = parsed === undefined ? undefined : withImageDefaults(parsed, document, env);
  const locate = (finding: Finding) => document.locate(finding);
  const found = [...faults, ...findings.map(locate)];
  if (config === undefined) return { faults: found, warnings: [], document, config, unsound };
  const checked = crossCheck(config, unsound);
  return {
    faults: [...found, ...checked.findings.map(locate)],
    warnings: checked.warnings,
    document,
    config: withOrigins(config),
    unsound,
  };
}

/**
 * The container image sets where the operations listener is, for files that do not say: in a container, loopback would hide
 * health and metrics from everybody. What the file says always wins.
 */
function withImageDefaults(config: Config, document: ConfigDocument, env: Environment): Config {
  const listen = env['SALLYPORT_OPERATIONS_LISTEN'];
  const written = document.value as { operations?: { listen?: unknown } | null } | null;
  if (listen === undefined || listen === '' || written?.operations?.listen !== undefined) return config;
  return { ...config, operations: { ...config.operations, listen } };
}

/** Public URLs in their serialised form: `https://Forge.example.com:443/` is `https://forge.example.com`. */
function withOrigins(config: Config): Config {
  const origins = config.server.public_url.map((url) => parseOrigin(url) ?? url);
  return { ...config, server: { ...config.server, public_url: origins } };
}

function conclude(
  fileName: string,
  faults: readonly Fault[],
  config: Config | undefined,
  warnings: readonly string[],
): LoadedConfig {
  if (faults.length > 0 || config === undefined) return refuse(fileName, faults);
  return { ok: true, config: freeze(config), warnings };
}

function refuse(fileName: string, faults: readonly Fault[]): LoadedConfig {
  const ordered = orderFaults(faults);
  return { ok: false, faults: ordered, report: formatReport(fileName, ordered) };
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}
