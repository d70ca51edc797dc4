import type { ServerResponse } from 'node:http';
import { demoCss } from './style.ts';

/** HTML that is already escaped. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A template whose substitutions are escaped unless they are {@link Html}, or lists of it. */
export function html(
  strings: TemplateStringsArray,
  ...values: readonly (string | Html | readonly Html[])[]
): Html {
  return new Html(strings.map((part, index) => part + render(values[index])).join(''));
}

function render(value: string | Html | readonly Html[] | undefined): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.text;
  if (typeof value === 'string') return escapeHtml(value);
  return value.map((each) => each.text).join('');
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text made safe for element content and quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '');
}

/** Where the style sheet stands on both demo servers. */
export const stylePath = '/demo.css';

/** A page of the demo. */
export interface DemoPage {
  readonly title: string;
  /** Whose page it is: each has a colour and a mark of its own, so that nobody mistakes one for the other. */
  readonly place: 'idp' | 'forge';
  readonly main: Html;
}

/** A whole document. */
export function renderDocument(page: DemoPage): string {
  const [mark, place] = page.place === 'idp' ? ['ID', 'Demo identity provider'] : ['</>', 'Demo forge'];
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${page.title} · ${place}</title>
        <link rel="stylesheet" href="${stylePath}" />
        <link rel="icon" href="data:," />
      </head>
      <body class="${page.place}">
        <header>
          <span class="mark" aria-hidden="true">${mark}</span> <span class="place">${place}</span>
          <span class="badge">demo: nothing here is real</span>
        </header>
        <main>${page.main}</main>
      </body>
    </html> `.text;
}

/** Headers of every page: no script and nothing from elsewhere may run on it. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  // No form-action here: the demo's sign-in form ends in redirects to Sallyport, on another origin.
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** Writes an HTML answer. */
export function sendPage(response: ServerResponse, page: DemoPage, status = 200): void {
  const body = renderDocument(page);
  response.writeHead(status, { ...pageHeaders, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

/** Writes the style sheet. */
export function sendStyle(response: ServerResponse): void {
  response.writeHead(200, {
    'content-type': 'text/css; charset=utf-8',
    'content-length': Buffer.byteLength(demoCss),
    'cache-control': 'private, max-age=3600',
    'x-content-type-options': 'nosniff',
  });
  response.end(demoCss);
}
