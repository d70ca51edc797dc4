import { bounded, html, type Insertable, type Markup } from './html.ts';
import { texts } from './texts.ts';

/** How the operator's house looks (`branding`), with the addresses of what we serve for it. */
export interface Branding {
  readonly productName: string;
  /** A path on our own origin. */
  readonly stylesheetUrl: string;
  /** A path on our own origin. */
  readonly iconUrl: string;
  /** A path on our own origin; without it our own mark stands there. */
  readonly logoUrl: string | undefined;
  readonly supportUrl: string | undefined;
}

/** A page before it has its frame. */
export interface PageParts {
  readonly title: string;
  readonly main: Insertable;
  /** A path on our own origin to go on to at once (a page that only hands over). */
  readonly continueTo?: string;
  /** A page with charts and tables: as wide as the screen allows, within reason. */
  readonly wide?: boolean;
}

/** One line of what to send to support. */
export interface Detail {
  readonly label: string;
  readonly value: string;
}

/** Somewhere to go from a page; `newTab` keeps what stands in this one. */
export interface Action {
  readonly label: string;
  readonly href: string;
  readonly primary?: boolean;
  readonly newTab?: boolean;
}

/** A whole HTML document in our one frame. */
export function renderPage(branding: Branding, parts: PageParts): string {
  const name = bounded(branding.productName, 60);
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        ${parts.continueTo !== undefined && html`<meta http-equiv="refresh" content="0;url=${parts.continueTo}" />`}
        <title>${parts.title} · ${name}</title>
        <link rel="icon" href="${branding.iconUrl}" />
        <link rel="stylesheet" href="${branding.stylesheetUrl}" />
      </head>
      <body${parts.wide === true && html` class="wide"`}>
        <header>
          ${branding.logoUrl === undefined ? mark : html`<img src="${branding.logoUrl}" alt="" height="32" />`}<span
            >${name}</span
          >
        </header>
        <main>${parts.main}</main>
        ${isWebUrl(branding.supportUrl) && html`<footer><a href="${branding.supportUrl}">${texts.support}</a></footer>`}
      </body>
    </html> `.toString();
}

/** Whether a text is an http(s) or mailto address; anything else (`javascript:`) never becomes a link. */
export function isWebUrl(value: string | undefined): value is string {
  return value !== undefined && /^(https?:\/\/|mailto:)[^\s]+$/i.test(value);
}

/** Links to go on with, the first one most prominent. */
export function actionList(actions: readonly Action[]): Insertable {
  if (actions.length === 0) return undefined;
  return html`<ul class="actions">
    ${actions.map(
      (action) =>
        html`<li>
          <a
            class="${action.primary === true ? 'button primary' : 'button'}"
            href="${action.href}"
            ${action.newTab === true && html` target="_blank" rel="noopener"`}
            >${bounded(action.label, 120)}${action.newTab === true && html`<span class="aside"> ${texts.newTab}</span>`}</a
          >
        </li>`,
    )}
  </ul>`;
}

/** What to send to support, folded. */
export function detailList(details: readonly Detail[]): Insertable {
  if (details.length === 0) return undefined;
  return html`<details>
    <summary>${texts.detailsSummary}</summary>
    <dl>
      ${details.map(
        ({ label, value }) =>
          html`<div>
            <dt>${label}</dt>
            <dd>${bounded(value, 400)}</dd>
          </div>`,
      )}
    </dl>
  </details>`;
}

const mark: Markup = html`<svg
  viewBox="0 0 32 32"
  width="32"
  height="32"
  aria-hidden="true"
  focusable="false"
>
  <path class="mark-wall" d="M4 29V11a2 2 0 0 1 2-2h1V5h4v4h3V5h4v4h3V5h4v4h1a2 2 0 0 1 2 2v18z" />
  <path class="mark-gate" d="M11 29v-8a5 5 0 0 1 10 0v8z" />
</svg>`;
