import { bounded, html } from './html.ts';
import { actionList, detailList, isWebUrl, renderPage, type Branding, type Detail } from './layout.ts';
import { texts } from './texts.ts';

/** One way to sign in, as the chooser shows it. */
export interface Choice {
  readonly name: string;
  /** A path on our own origin. */
  readonly href: string;
  readonly available: boolean;
}

/** The chooser: every source by name, and an email field where a typed address can pick one. */
export function chooserPage(
  branding: Branding,
  page: {
    readonly choices: readonly Choice[];
    /** Where the email form goes and what it carries along; absent where no source has `email_domains`. */
    readonly email:
      | {
          readonly action: string;
          readonly hidden: Readonly<Record<string, string>>;
          readonly unknown: string | undefined;
        }
      | undefined;
  },
): string {
  const { email } = page;
  return renderPage(branding, {
    title: texts.chooser.title,
    main: html`<h1>${texts.chooser.title}</h1>
      <p>${texts.chooser.intro}</p>
      <ul class="choices" aria-label="${texts.chooser.listLabel}">
        ${page.choices.map(
          ({ name, href, available }) =>
            html`<li>
              ${
                available
                  ? html`<a href="${href}">${bounded(name, 80)}</a>`
                  : html`<span class="off">${bounded(name, 80)} <em>${texts.chooser.unavailable}</em></span>`
              }
            </li>`,
        )}
      </ul>
      ${
        email !== undefined &&
        html`<form class="email" method="get" action="${email.action}">
          ${Object.entries(email.hidden).map(
            ([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`,
          )}<label for="email">${texts.chooser.emailLabel}</label>
          ${email.unknown !== undefined && html`<p class="notice" id="email-error" role="alert">${texts.chooser.emailUnknown}</p>`}
          <div class="field">
            <input
              id="email"
              name="email"
              type="email"
              required
              maxlength="254"
              autocomplete="email"
              ${
                email.unknown !== undefined &&
                html` value="${bounded(email.unknown, 254)}" aria-invalid="true"
                aria-describedby="email-error"`
              }
            /><button class="button primary">${texts.chooser.emailButton}</button>
          </div>
        </form>`
      }`,
  });
}

/** Hands over to a source without a redirect: Chromium holds a form's redirects to `form-action`, wherever they lead. */
export function continuePage(
  branding: Branding,
  page: { readonly name: string; readonly href: string },
): string {
  const link = texts.continue.link(bounded(page.name, 80));
  return renderPage(branding, {
    title: texts.continue.title,
    continueTo: page.href,
    main: html`<h1>${texts.continue.title}</h1>
      ${actionList([{ label: link, href: page.href, primary: true }])}`,
  });
}

/** "MFA was not asserted": what happened, what the user can do, and, folded, what to send to support (SPEC section 10). */
export function mfaPage(
  branding: Branding,
  page: {
    readonly sourceName: string;
    /** The user has a session; it is one page that needs more. */
    readonly signedIn: boolean;
    /** One sentence on the reason code. */
    readonly reasonText: string | undefined;
    /** What the IdP said by itself, if it did: an error in the place of a sign-in. */
    readonly idpSaid: string | undefined;
    readonly setupUrl: string | undefined;
    readonly tryAgainUrl: string;
    readonly otherAccountUrl: string;
    readonly details: readonly Detail[];
  },
): string {
  const name = bounded(page.sourceName, 80);
  const { leadSignedIn, leadRefused, lead } = texts.mfa;
  const sayWhat = page.signedIn ? leadSignedIn : page.idpSaid === undefined ? lead : leadRefused;
  const setup = isWebUrl(page.setupUrl)
    ? html`<a class="button primary" href="${page.setupUrl}">${texts.mfa.setup}</a>
        <p>${texts.mfa.setupHint}</p>`
    : html`<p>${texts.mfa.setupHintNoLink}</p>`;
  return renderPage(branding, {
    title: texts.mfa.title,
    main: html`<h1>${texts.mfa.title}</h1>
      <p>${sayWhat(name)}</p>
      ${page.reasonText !== undefined && html`<p>${bounded(page.reasonText, 300)}</p>`}
      ${quotation(page.idpSaid)}
      <h2>${texts.mfa.doTitle}</h2>
      <ul class="ways">
        <li>${setup}</li>
        <li>
          <a class="button" href="${page.tryAgainUrl}">${texts.mfa.again}</a>
          <p>${texts.mfa.againHint}</p>
        </li>
        <li>
          <a class="button" href="${page.otherAccountUrl}">${texts.mfa.other}</a>
          <p>${texts.mfa.otherHint}</p>
        </li>
      </ul>
      ${detailList(page.details)}`,
  });
}

/** What an identity provider said, quoted: its words, never ours. */
export function quotation(said: string | undefined): ReturnType<typeof html> | undefined {
  if (said === undefined) return undefined;
  return html`<figure>
    <figcaption>${texts.idpSaid}</figcaption>
    <blockquote><p>${bounded(said, 300)}</p></blockquote>
  </figure>`;
}
