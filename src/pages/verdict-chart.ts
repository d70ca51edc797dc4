import { html, type Insertable, type Markup } from './html.ts';
import { texts } from './texts.ts';

/** How a sign-in came out, as the chart tells them apart; from the bottom of a bar to its top. */
export const verdictSeries = ['strict', 'weak', 'unverified', 'would_reject', 'rejected', 'failed'] as const;
/** One of {@link verdictSeries}. */
export type VerdictSeries = (typeof verdictSeries)[number];

/** Sign-ins of one stretch of time. */
export interface VerdictBucket {
  /** When it begins, for the reader. */
  readonly label: string;
  readonly counts: Readonly<Record<VerdictSeries, number>>;
}

/** What a chart shows. */
export interface VerdictChart {
  readonly sourceName: string;
  /** `14 days`. */
  readonly span: string;
  /** `in a day`. */
  readonly unit: string;
  readonly buckets: readonly VerdictBucket[];
}

const height = 100;
const step = 10;
const gap = 2;

/**
 * Verdicts over time as stacked bars, drawn here: no script, no style attribute, colours from the stylesheet. It scales in both
 * directions, so it holds no text; every number stands in the table beside it.
 */
export function verdictChart({ sourceName, span, unit, buckets }: VerdictChart): Markup {
  const sums = verdictSeries.map(
    (series) => [series, sum(buckets.map(({ counts }) => counts[series]))] as const,
  );
  const present = sums.filter(([, count]) => count > 0);
  if (present.length === 0) return html`<p class="soft">${texts.status.noSignIns}</p>`;
  const most = Math.max(...buckets.map(({ counts }) => sum(Object.values(counts))));
  const spoken = present.map(([series, count]) => `${texts.status.series[series]} ${count}`).join(', ');
  return html`<figure class="chart">
      <p class="most">${texts.status.most(most, unit)}</p>
      <svg
        role="img"
        aria-label="${texts.status.chartLabel(sourceName, span, spoken)}"
        viewBox="0 0 ${buckets.length * step} ${height}"
        preserveAspectRatio="none"
        focusable="false"
      >
        <path class="grid" d="M0 .5H${buckets.length * step}M0 ${height / 2}H${buckets.length * step}" />
        ${buckets.map((bucket, index) => bar(bucket, index, most))}
        <path class="base" d="M0 ${height - 0.5}H${buckets.length * step}" />
      </svg>
      <p class="axis"><span>${buckets[0]?.label}</span><span>${texts.status.now}</span></p>
      <ul class="legend">
        ${present.map(([series, count]) => html`<li class="v-${series}">${texts.status.series[series]} <b>${count}</b></li>`)}
      </ul>
    </figure>
    ${table(
      buckets,
      present.map(([series]) => series),
      `${sourceName}: ${texts.status.verdictsTitle}`,
    )}`;
}

function bar({ counts }: VerdictBucket, index: number, most: number): Insertable {
  let top = height;
  return verdictSeries.map((series) => {
    const tall = (counts[series] / most) * (height - 2);
    if (tall === 0) return undefined;
    top -= tall;
    return html`<rect
      class="v-${series}"
      x="${index * step + gap / 2}"
      y="${round(top)}"
      width="${step - gap}"
      height="${round(tall)}"
    />`;
  });
}

/** The same numbers, newest first; stretches without a sign-in are left out. */
function table(buckets: readonly VerdictBucket[], shown: readonly VerdictSeries[], caption: string): Markup {
  const rows = buckets.filter(({ counts }) => sum(Object.values(counts)) > 0).reverse();
  return html`<details>
    <summary>${texts.status.asTable}</summary>
    ${scrolling(
      caption,
      html`<table>
        <caption>
          ${caption}
        </caption>
        <thead>
          <tr>
            <th scope="col">${texts.status.from}</th>
            ${shown.map((series) => html`<th scope="col">${texts.status.series[series]}</th>`)}
            <th scope="col">${texts.status.total}</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ label, counts }) =>
              html`<tr>
                <th scope="row">${label}</th>
                ${shown.map((series) => html`<td>${counts[series]}</td>`)}
                <td>${sum(Object.values(counts))}</td>
              </tr>`,
          )}
        </tbody>
      </table>`,
    )}
  </details>`;
}

/** What may be wider than a phone: scrolled by itself, by keyboard too, so that the page need not be. */
export function scrolling(label: string, content: Insertable): Markup {
  return html`<div class="scroll" role="region" aria-label="${label}" tabindex="0">${content}</div>`;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);
const round = (value: number): number => Math.round(value * 100) / 100;
