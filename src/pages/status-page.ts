import { bounded, html, shown, type Insertable, type Markup } from './html.ts';
import { renderPage, type Branding } from './layout.ts';
import { texts } from './texts.ts';
import { scrolling, verdictChart, type VerdictBucket } from './verdict-chart.ts';

/** The status page's content. */
export interface StatusView {
  readonly generatedAt: string;
  readonly notice: string | undefined;
  readonly range: 'days' | 'hours';
  readonly rangeHrefs: Readonly<Record<'days' | 'hours', string>>;
  readonly sources: readonly StatusSource[];
}

/** One source on the status page. */
export interface StatusSource {
  readonly id: string;
  readonly name: string;
  readonly issuer: string;
  /** `generic, report_only until …`. */
  readonly policy: string;
  readonly required: Readonly<Record<string, unknown>>;
  readonly up: boolean;
  readonly since: string;
  readonly cause: string | undefined;
  readonly canaryHref: string | undefined;
  /** Absent while the store cannot be read. */
  readonly ledger:
    | {
        readonly buckets: readonly VerdictBucket[];
        readonly reasons: readonly StatusReason[];
        readonly refusals: readonly StatusRefusal[];
      }
    | undefined;
}

/** How often a reason was why. */
export interface StatusReason {
  readonly reason: string;
  readonly outcome: 'rejected' | 'would_reject';
  readonly count: number;
}

/** One refusal, or what would have been one. */
export interface StatusRefusal {
  readonly time: string;
  readonly outcome: 'rejected' | 'would_reject';
  readonly user: string | undefined;
  readonly reason: string;
  readonly observed: Readonly<Record<string, unknown>>;
  readonly required: Readonly<Record<string, unknown>>;
  readonly hint: string;
  readonly requestId: string | undefined;
}

/** Each source's policy and state, its sign-ins by verdict over time, and its latest refusals (SPEC section 8). */
export function statusPage(branding: Branding, view: StatusView): string {
  const t = texts.status;
  return renderPage(branding, {
    title: t.title,
    wide: true,
    main: html`<h1>${t.title}</h1>
      <p class="soft">${t.generated(view.generatedAt)}</p>
      ${view.notice !== undefined && html`<p class="notice" role="status">${view.notice}</p>`}
      <nav aria-label="${t.rangeLabel}">
        <ul class="tabs">
          ${(['days', 'hours'] as const).map(
            (range) =>
              html`<li>
                <a href="${view.rangeHrefs[range]}" ${range === view.range && html` aria-current="page"`}
                  >${t.ranges[range]}</a
                >
              </li>`,
          )}
        </ul>
      </nav>
      ${view.sources.map((source) => section(source, view.range))}`,
  });
}

function section(source: StatusSource, range: 'days' | 'hours'): Markup {
  const t = texts.status;
  const name = bounded(source.name, 80);
  const since = source.up ? t.idpUp(source.since) : t.idpDown(source.since);
  return html`<section aria-labelledby="source-${source.id}">
    <h2 id="source-${source.id}">${name}</h2>
    <dl class="facts">
      ${fact(t.policy, source.policy)} ${fact(t.accepts, asText(source.required))}
      ${fact(t.issuer, source.issuer)}
      <div>
        <dt>${t.idp}</dt>
        <dd>
          <span class="${source.up ? 'state up' : 'state down'}">${since}</span
          >${source.cause !== undefined && html`: ${bounded(source.cause, 300)}`}
        </dd>
      </div>
    </dl>
    ${
      source.canaryHref !== undefined &&
      html`<p>
        <a class="button" href="${source.canaryHref}">${t.canary}<span class="hidden">: ${name}</span></a>
      </p>`
    }
    ${source.ledger !== undefined && ledger(name, source.ledger, range)}
  </section>`;
}

function fact(label: string, value: string): Insertable {
  return html`<div>
    <dt>${label}</dt>
    <dd>${bounded(value, 600)}</dd>
  </div>`;
}

function ledger(name: string, kept: NonNullable<StatusSource['ledger']>, range: 'days' | 'hours'): Markup {
  const t = texts.status;
  return html`<h3>${t.verdictsTitle}</h3>
    ${verdictChart({
      sourceName: name,
      span: t.ranges[range],
      unit: range === 'days' ? t.perDay : t.perHour,
      buckets: kept.buckets,
    })}
    ${
      kept.reasons.length > 0 &&
      html`<h3>${t.reasonsTitle}</h3>
        ${scrolling(
          `${name}: ${t.reasonsTitle}`,
          html`<table>
            <thead>
              <tr>
                <th scope="col">${t.reason}</th>
                <th scope="col">${t.outcome}</th>
                <th scope="col">${t.count}</th>
              </tr>
            </thead>
            <tbody>
              ${kept.reasons.map(
                ({ reason, outcome, count }) =>
                  html`<tr>
                    <th scope="row"><code>${bounded(reason, 60)}</code></th>
                    <td>${t.outcomes[outcome]}</td>
                    <td>${count}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`,
        )}`
    }
    <h3>${t.refusalsTitle(kept.refusals.length)}</h3>
    ${
      kept.refusals.length === 0
        ? html`<p class="soft">${t.noRefusals}</p>`
        : html`<ul class="refusals">
            ${kept.refusals.map((refusal) => html`<li>${refusalDetails(refusal)}</li>`)}
          </ul>`
    }`;
}

function refusalDetails(refusal: StatusRefusal): Markup {
  const t = texts.status;
  return html`<details>
    <summary>
      <span class="v-${refusal.outcome}">${refusal.time}</span>
      <b>${bounded(refusal.user ?? t.nobody, 80)}</b>
      <span>${bounded(refusal.reason, 60)}, ${t.outcomes[refusal.outcome]}</span>
    </summary>
    <dl>
      ${fact(t.observed, asText(refusal.observed))} ${fact(t.required, asText(refusal.required))}
      ${refusal.requestId !== undefined && fact(t.requestId, refusal.requestId)}
    </dl>
    <p class="soft">${bounded(refusal.hint, 1200)}</p>
  </details>`;
}

/** `amr ["pwd"], acr not sent`. */
function asText(values: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(values).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? value : shown(value)}`,
  );
  return parts.length === 0 ? texts.canary.nothing : parts.join(', ');
}
