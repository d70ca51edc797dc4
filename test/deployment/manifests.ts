import { readdirSync, readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { parseAllDocuments } from 'yaml';
import { parseConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';

type Json = Record<string, unknown>;

/** A file of config/, as text. */
export function readShipped(path: string): string {
  return readFileSync(new URL(`../../config/${path}`, import.meta.url), 'utf8');
}

/** Every document of every file in config/kubernetes. */
export function readManifests(): readonly { readonly file: string; readonly manifest: Json }[] {
  const folder = new URL('../../config/kubernetes/', import.meta.url);
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((file) =>
      readDocuments(readShipped(`kubernetes/${file}`)).map((manifest) => ({ file, manifest })),
    );
}

/** As Kubernetes reads YAML 1.1: a doubled key or a syntax error throws. */
export function readDocuments(text: string): readonly Json[] {
  const documents = parseAllDocuments(text, { version: '1.1', uniqueKeys: true });
  return [...documents].map((document) => {
    const [fault] = document.errors;
    if (fault !== undefined) throw fault;
    return document.toJS() as Json;
  });
}

const definitions = JSON.parse(
  readFileSync(new URL('../fixtures/kubernetes/definitions.json', import.meta.url), 'utf8'),
) as { definitions: Json; kinds: Json };

const ajv = new Ajv({
  strict: false,
  allErrors: true,
  formats: { int32: true, int64: true, byte: true, 'date-time': true },
});
ajv.addSchema({ $id: 'kubernetes', definitions: definitions.definitions });

/** What Kubernetes' own schema says against a value; an unknown field is a fault. Empty: nothing. */
export function faultsAgainst(definition: string, value: unknown): readonly string[] {
  const validate = ajv.compile({ $ref: `kubernetes#/definitions/${definition}` });
  return validate(value)
    ? []
    : (validate.errors ?? []).map(
        (error) => `${error.instancePath} ${error.message ?? ''} ${JSON.stringify(error.params)}`,
      );
}

/** The same for a whole manifest, by its kind. */
export function faultsOfManifest(manifest: Json): readonly string[] {
  const reference = definitions.kinds[String(manifest['kind'])] as { $ref: string } | undefined;
  if (reference === undefined) return [`kind ${String(manifest['kind'])} is not known here`];
  return faultsAgainst(reference.$ref.replace('#/definitions/', ''), manifest);
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly subPath?: string;
  }[];
  readonly securityContext?: Json & { readonly capabilities?: { readonly drop?: readonly string[] } };
  readonly startupProbe?: Json;
  readonly livenessProbe?: Json;
  readonly readinessProbe?: Json;
  readonly resources?: { readonly requests?: Json; readonly limits?: Json };
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number } } };
}

/** A configuration, its files not looked for; throws with the report where it is not sound. */
export function configOf(text: string, env: Readonly<Record<string, string>> = {}): Config {
  const parsed = parseConfig(text, 'sallyport.yaml', env);
  if (!parsed.ok) throw new Error(parsed.report);
  return parsed.config;
}

/** The settings of config/forgejo/app.ini that decide who is let in, as `section.KEY`. */
export function forgeSettings(): Readonly<Record<string, string>> {
  const settings: Record<string, string> = {};
  let section = '';
  for (const line of readShipped('forgejo/app.ini').split('\n')) {
    section = /^\[(.+)\]$/.exec(line)?.[1] ?? section;
    const [, key, value = ''] = /^([A-Z_]+) = (.*)$/.exec(line) ?? [];
    if (key !== undefined && ['security', 'service', 'openid', 'admin'].includes(section))
      settings[`${section}.${key}`] = value;
  }
  // Nobody is let in by mail; the chart, and Forgejo's own image, lock the installation by themselves.
  delete settings['service.ENABLE_NOTIFY_MAIL'];
  delete settings['security.INSTALL_LOCK'];
  return settings;
}
