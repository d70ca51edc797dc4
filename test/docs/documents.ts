import { existsSync, readdirSync, readFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);

/** A file of the repository, as text. */
export function readText(path: string): string {
  return readFileSync(new URL(path, root), 'utf8');
}

/** Names of the Markdown files below a folder of the repository. */
export function markdownIn(folder: string): readonly string[] {
  return readdirSync(new URL(folder, root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}${name}`);
}

/** The fenced blocks of a language, as they stand. */
export function fencedBlocks(text: string, language: string): readonly string[] {
  return [...text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([\\s\\S]*?)^\\1\`\`\`$`, 'gm'))].map(
    ([, , body = '']) => body,
  );
}

/** The anchors that GitHub and its like make of a document's headings. */
export function anchorsOf(text: string): ReadonlySet<string> {
  const withoutCode = text.replace(/^( *)```[\s\S]*?^\1```$/gm, '');
  return new Set(
    [...withoutCode.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** What of the document's relative links leads nowhere. */
export function brokenLinks(path: string): readonly string[] {
  const text = readText(path);
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return links.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false;
    const [file = '', anchor] = target.split('#');
    const url = new URL(file === '' ? path : file, new URL(path, root));
    const whole = file === '' ? new URL(path, root) : url;
    if (!existsSync(whole)) return true;
    return anchor !== undefined && !anchorsOf(readFileSync(whole, 'utf8')).has(anchor);
  });
}
