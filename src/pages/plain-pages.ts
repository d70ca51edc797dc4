import { bounded, html } from './html.ts';
import { actionList, detailList, renderPage, type Action, type Branding, type Detail } from './layout.ts';
import { quotation } from './sign-in-pages.ts';
import { texts } from './texts.ts';

/** A page that says what is wrong and what can be done about it. */
export function errorPage(
  branding: Branding,
  page: {
    readonly title: string;
    readonly message: string;
    readonly idpSaid?: string | undefined;
    readonly actions: readonly Action[];
    readonly details: readonly Detail[];
  },
): string {
  return renderPage(branding, {
    title: page.title,
    main: html`<h1>${page.title}</h1>
      <p>${bounded(page.message, 400)}</p>
      ${quotation(page.idpSaid)} ${actionList(page.actions)} ${detailList(page.details)}`,
  });
}

/** Asks whether to sign out; the form carries a token that only this session's browser knows. */
export function signOutPage(
  branding: Branding,
  page: {
    readonly userName: string;
    readonly action: string;
    readonly csrf: string;
    readonly stayHref: string;
  },
): string {
  return renderPage(branding, {
    title: texts.signOut.title,
    main: html`<h1>${texts.signOut.title}</h1>
      <p>${texts.signOut.question(bounded(page.userName, 80))}</p>
      <form method="post" action="${page.action}">
        <input type="hidden" name="csrf" value="${page.csrf}" />
        <ul class="actions">
          <li><button class="button primary">${texts.signOut.button}</button></li>
          <li><a class="button" href="${page.stayHref}">${texts.signOut.stay}</a></li>
        </ul>
      </form>`,
  });
}

/** Says that the session has ended. */
export function signedOutPage(
  branding: Branding,
  page: {
    readonly signInHref: string;
    /** What a person calls the identity provider, where it has signed them out too. */
    readonly idpName?: string;
  },
): string {
  return renderPage(branding, {
    title: texts.signedOut.title,
    main: html`<h1>${texts.signedOut.title}</h1>
      <p>${texts.signedOut.body}</p>
      ${page.idpName === undefined ? '' : html`<p>${texts.signedOut.atIdp(bounded(page.idpName, 80))}</p>`}
      ${actionList([{ label: texts.signedOut.again, href: page.signInHref, primary: true }])}`,
  });
}
