import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import type { Generation } from '../generation.ts';
import { mark, markName } from '../pages/mark.ts';
import type { Branding } from '../pages/layout.ts';
import { stylesheet, stylesheetName } from '../pages/stylesheet.ts';

/** A file under `assets/`; its name changes with its content. */
export interface Asset {
  readonly body: Buffer;
  readonly contentType: string;
}

/** How the pages of a generation look, and the files that they need. */
export interface Appearance {
  readonly branding: Branding;
  readonly assets: ReadonlyMap<string, Asset>;
}

const logoTypes: Readonly<Record<string, string>> = {
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.webp': 'image/webp',
  '.gif': 'image/gif',
  '.ico': 'image/x-icon',
};

const appearances = new WeakMap<Generation, Appearance>();

/** The appearance of a generation, made once; a logo that cannot be read is left out, since no page may fail for it. */
export function appearanceOf(generation: Generation): Appearance {
  let appearance = appearances.get(generation);
  if (appearance === undefined) {
    appearance = createAppearance(generation);
    appearances.set(generation, appearance);
  }
  return appearance;
}

function createAppearance({ config }: Generation): Appearance {
  const { branding, server } = config;
  const assets = new Map<string, Asset>([
    [stylesheetName, { body: Buffer.from(stylesheet), contentType: 'text/css; charset=utf-8' }],
    [markName, { body: Buffer.from(mark), contentType: 'image/svg+xml' }],
  ]);
  const logo = branding.logo_file === undefined ? undefined : readLogo(branding.logo_file);
  if (logo !== undefined) assets.set(logo.name, logo.asset);
  const urlOf = (name: string): string => `${server.path_prefix}/assets/${name}`;
  return {
    branding: {
      productName: branding.product_name,
      stylesheetUrl: urlOf(stylesheetName),
      iconUrl: urlOf(logo?.name ?? markName),
      logoUrl: logo === undefined ? undefined : urlOf(logo.name),
      supportUrl: branding.support_url,
    },
    assets,
  };
}

function readLogo(file: string): { readonly name: string; readonly asset: Asset } | undefined {
  const extension = extname(file).toLowerCase();
  const contentType = logoTypes[extension];
  if (contentType === undefined) return undefined;
  try {
    const body = readFileSync(file);
    const hash = createHash('sha256').update(body).digest('base64url').slice(0, 12);
    return { name: `logo-${hash}${extension}`, asset: { body, contentType } };
  } catch {
    return undefined;
  }
}
