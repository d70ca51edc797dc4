import { bounded, html, shown, type Markup } from './html.ts';
import { actionList, renderPage, type Action, type Branding } from './layout.ts';
import { quotation } from './sign-in-pages.ts';
import { texts } from './texts.ts';

/** One step of the decision, as the page shows it. */
export interface CanaryStep {
  readonly subject: string;
  readonly result: string;
  readonly note: string;
  readonly observed: unknown;
  readonly required: unknown;
}

/** The canary page's content. */
export interface CanaryView {
  readonly sourceName: string;
  readonly notice: string | undefined;
  /** `entra_c2, mode report_only`. */
  readonly policy: string;
  readonly required: Readonly<Record<string, unknown>>;
  /** What the IdP said by itself, if it refused. */
  readonly idpSaid: string | undefined;
  /** Why nothing was decided: `token_invalid`, and a narrower code. */
  readonly failure: { readonly result: string; readonly detail: string | undefined } | undefined;
  readonly decision:
    | {
        readonly aal: 'aal1' | 'aal2';
        readonly weak: boolean;
        readonly reason: string | undefined;
        readonly reasonText: string | undefined;
        readonly evidence: string | undefined;
        readonly outcome: string;
        readonly observed: Readonly<Record<string, unknown>>;
        readonly otherClaims: readonly string[];
        readonly steps: readonly CanaryStep[];
        readonly suggestion: { readonly note: string; readonly yaml: string | undefined };
        readonly identity: { readonly code: string; readonly hint: string } | undefined;
      }
    | undefined;
  readonly hint: string | undefined;
  readonly actions: readonly Action[];
}

/** What the IdP sent at a canary sign-in, the verdict, the hint, and the policy that would accept it (SPEC section 8). */
export function canaryPage(branding: Branding, view: CanaryView): string {
  const t = texts.canary;
  const title = t.title(bounded(view.sourceName, 80));
  return renderPage(branding, {
    title,
    wide: true,
    main: html`<h1>${title}</h1>
      <p>${t.lead}</p>
      ${view.notice !== undefined && html`<p class="notice" role="status">${view.notice}</p>`}
      ${verdict(view)} ${view.decision !== undefined && sent(view.decision)}
      ${
        view.hint !== undefined &&
        html`<h2>${t.hintTitle}</h2>
          <p>${bounded(view.hint, 1600)}</p>`
      }
      ${view.decision !== undefined && suggestion(view.decision.suggestion)}
      ${view.decision !== undefined && steps(view.decision.steps)} ${actionList(view.actions)}`,
  });
}

function verdict(view: CanaryView): Markup {
  const t = texts.canary;
  const { decision, failure } = view;
  const proven = decision?.aal === 'aal2';
  const headline =
    decision === undefined
      ? (t.undecided[failure?.result ?? ''] ?? t.unproven)
      : proven
        ? decision.weak
          ? t.provenWeak
          : t.proven
        : t.unproven;
  const mood = proven ? (decision.weak ? 'weak' : 'good') : 'bad';
  return html`<h2>${t.verdictTitle}</h2>
    <p class="verdict ${mood}">${headline}</p>
    ${quotation(view.idpSaid)} ${decision?.reasonText !== undefined && html`<p>${decision.reasonText}</p>`}
    <dl class="facts">
      ${decision !== undefined && line(t.outcome, decision.outcome)}
      ${decision?.evidence !== undefined && line(t.evidence, decision.evidence)}
      ${decision?.reason !== undefined && line(t.reason, decision.reason)}
      ${failure?.detail !== undefined && line(t.reason, failure.detail)} ${line(t.policy, view.policy)}
      ${line(
        t.required,
        Object.entries(view.required)
          .map(([name, value]) => `${name} ${typeof value === 'string' ? value : shown(value, 400)}`)
          .join(', '),
      )}
    </dl>
    ${
      decision?.identity !== undefined &&
      html`<div class="notice">
        <p>
          <b>${t.identity}: <code>${decision.identity.code}</code></b>
        </p>
        <p>${bounded(decision.identity.hint, 600)}</p>
      </div>`
    }`;
}

function line(label: string, value: string): Markup {
  return html`<div>
    <dt>${label}</dt>
    <dd>${bounded(value, 1000)}</dd>
  </div>`;
}

function sent({ observed, otherClaims }: NonNullable<CanaryView['decision']>): Markup {
  const t = texts.canary;
  const claims = [...new Set(['acr', 'amr', 'auth_time', ...Object.keys(observed)])];
  return html`<h2>${t.sentTitle}</h2>
    <p>${t.sentIntro}</p>
    <dl>${claims.map((name) => line(bounded(name, 100), shown(observed[name], 2000)))}</dl>
    <p class="soft">
      ${t.others}:
      ${otherClaims.length === 0 ? t.noOthers : otherClaims.map((name) => bounded(name, 100)).join(', ')}
    </p>`;
}

function suggestion({ note, yaml }: { readonly note: string; readonly yaml: string | undefined }): Markup {
  const t = texts.canary;
  return html`<h2>${t.suggestionTitle}</h2>
    <p>${bounded(note, 1600)}</p>
    ${yaml !== undefined && html`<pre tabindex="0" role="region" aria-label="${t.suggestionTitle}"><code>${yaml}</code></pre>`}`;
}

function steps(taken: readonly CanaryStep[]): Markup {
  const t = texts.canary;
  return html`<h2>${t.stepsTitle}</h2>
    <ol class="steps">
      ${taken.map(
        ({ subject, result, note, observed, required }) =>
          html`<li>
            <p><code>${bounded(subject, 100)}</code>: <b>${result}</b>. ${bounded(note, 600)}</p>
            <p class="soft">
              ${t.found} <code>${observed === undefined ? t.nothing : shown(observed, 400)}</code>,
              ${t.wanted}
              <code>${shown(required, 400)}</code>
            </p>
          </li>`,
      )}
    </ol>`;
}
