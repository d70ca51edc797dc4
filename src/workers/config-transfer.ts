import type { Config } from '../config/schema.ts';
import { Secret } from '../kernel/secret.ts';

/** A configuration in a form that may be sent to another process. It holds secrets in the clear: it is never written anywhere. */
export interface PackedConfig {
  /** The configuration with nothing where secrets stand. */
  readonly plain: unknown;
  readonly secrets: readonly { readonly path: readonly (string | number)[]; readonly value: string }[];
}

/** Makes a configuration ready to be sent: secrets, which don't show themselves to any serialisation, go beside it. */
export function packConfig(config: Config): PackedConfig {
  const secrets: { path: readonly (string | number)[]; value: string }[] = [];
  const walk = (value: unknown, path: readonly (string | number)[]): unknown => {
    if (value instanceof Secret) {
      secrets.push({ path, value: value.reveal() });
      return undefined;
    }
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, index]));
    if (!isRecord(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, walk(inner, [...path, key])]),
    );
  };
  return { plain: walk(config, []), secrets };
}

/** The configuration again, frozen as loading it leaves it. */
export function unpackConfig({ plain, secrets }: PackedConfig): Config {
  const whole = structuredClone(plain);
  for (const { path, value } of secrets) {
    const last = path.at(-1);
    let holder = whole as Record<string | number, unknown>;
    for (const key of path.slice(0, -1)) holder = holder[key] as Record<string | number, unknown>;
    if (last !== undefined) holder[last] = new Secret(value);
  }
  return freeze(whole) as Config;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function freeze(value: unknown): unknown {
  if (value instanceof Secret || typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}
