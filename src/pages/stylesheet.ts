import { createHash } from 'node:crypto';

/** The one stylesheet: light and dark, phone to wide, nothing from elsewhere. */
export const stylesheet = `:root {
  color-scheme: light dark;
  --ground: #eef1f4; --card: #fff; --ink: #16202b; --soft: #4c5a69; --line: #d3dae1;
  --accent: #0b5c8a; --accent-ink: #fff; --accent-deep: #084a70; --wash: #f3f7fa;
  --warn-ground: #fdf1e3; --warn-line: #c47a1c; --ring: #0b5c8a;
  --v-strict: #0b6e4f; --v-weak: #7a8f1a; --v-unverified: #7b8794; --v-would: #b8690f; --v-rejected: #b3261e; --v-failed: #6b4fa0;
  --shadow: 0 1px 2px #10203014, 0 12px 32px #10203014;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f151b; --card: #18212a; --ink: #e8edf2; --soft: #a9b6c3; --line: #33414e;
    --accent: #6cbdec; --accent-ink: #08202f; --accent-deep: #93d0f3; --wash: #1f2a35;
    --warn-ground: #2f2417; --warn-line: #d99a45; --ring: #93d0f3;
    --v-strict: #45c48e; --v-weak: #b7cd4f; --v-unverified: #8996a3; --v-would: #e3a548; --v-rejected: #f2766b; --v-failed: #b59cf0;
    --shadow: 0 12px 32px #0006;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; min-height: 100vh; min-height: 100dvh; padding: clamp(1rem, 5vh, 4rem) 1rem 2rem;
  display: flex; flex-direction: column; align-items: center; gap: 1.25rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}
header, main, footer { width: 100%; max-width: 32rem; }
header { display: flex; align-items: center; gap: .7rem; padding: 0 .25rem; font-weight: 600; letter-spacing: .005em; }
header img { height: 2rem; width: auto; max-width: 10rem; object-fit: contain; }
.mark-wall { fill: var(--accent); }
.mark-gate { fill: var(--ground); }
main {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px; box-shadow: var(--shadow);
  padding: clamp(1.25rem, 5vw, 2.25rem);
}
main > :first-child { margin-top: 0; }
main > :last-child { margin-bottom: 0; }
footer { padding: 0 .25rem; font-size: .9rem; }
h1 { font-size: 1.5rem; line-height: 1.25; letter-spacing: -.012em; margin: 0 0 .75rem; text-wrap: balance; }
h2 { font-size: 1rem; margin: 1.75rem 0 .75rem; }
p { margin: 0 0 1rem; }
a { color: var(--accent); text-underline-offset: .15em; }
ul, ol { list-style: none; margin: 1.25rem 0 0; padding: 0; }
.button, .choices a {
  display: inline-flex; align-items: center; justify-content: center; gap: .35em; min-height: 2.75rem; padding: .5rem 1.1rem;
  border: 1px solid var(--line); border-radius: 9px; background: var(--card); color: var(--ink);
  font: inherit; font-weight: 600; text-decoration: none; text-align: center; cursor: pointer;
  transition: background-color .12s, border-color .12s;
}
.button:hover, .choices a:hover { background: var(--wash); border-color: var(--accent); }
.primary { background: var(--accent); border-color: var(--accent); color: var(--accent-ink); }
.primary:hover { background: var(--accent-deep); border-color: var(--accent-deep); }
.aside { font-weight: 400; }
:focus-visible { outline: 3px solid var(--ring); outline-offset: 2px; border-radius: 9px; }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; }
.choices { display: grid; gap: .65rem; }
.choices a, .choices .off { display: flex; width: 100%; justify-content: space-between; text-align: start; }
.choices a::after { content: ""; flex: none; width: .5em; height: .5em; border: solid; border-width: 2px 2px 0 0; rotate: 45deg; color: var(--soft); }
.choices .off {
  align-items: baseline; flex-wrap: wrap; gap: .1rem .75rem; padding: .65rem 1.1rem;
  border: 1px dashed var(--line); border-radius: 9px; color: var(--soft);
}
.choices em { font-size: .9rem; }
.email { margin-top: 1.75rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
.email label { display: block; font-weight: 600; margin-bottom: .5rem; }
.field { display: flex; flex-wrap: wrap; gap: .6rem; }
.field input {
  flex: 1 1 13rem; min-width: 0; min-height: 2.75rem; padding: .5rem .8rem; font: inherit; color: inherit;
  background: var(--card); border: 1px solid var(--soft); border-radius: 9px;
}
.field .button { flex: 0 1 auto; }
.notice { background: var(--warn-ground); border-inline-start: 3px solid var(--warn-line); border-radius: 4px; padding: .6rem .8rem; margin: 0 0 .75rem; }
.ways { margin-top: 0; display: grid; gap: 1.1rem; }
.ways p { margin: .35rem 0 0; color: var(--soft); font-size: .925rem; }
.ways p:first-child { margin-top: 0; color: inherit; font-size: inherit; }
figure { margin: 0 0 1rem; }
figcaption { color: var(--soft); font-size: .925rem; }
blockquote { margin: .35rem 0 0; padding: .6rem .9rem; background: var(--wash); border-inline-start: 3px solid var(--line); border-radius: 4px; }
blockquote p { margin: 0; }
details { margin-top: 1.75rem; border-top: 1px solid var(--line); padding-top: 1rem; }
summary { cursor: pointer; color: var(--soft); font-size: .925rem; padding: .25rem 0; }
summary:hover { color: var(--ink); }
dl { margin: .75rem 0 0; font-size: .875rem; }
dl div { display: grid; grid-template-columns: minmax(6rem, 9rem) 1fr; gap: .1rem 1rem; padding: .4rem 0; border-top: 1px solid var(--line); }
dl div:first-child { border-top: 0; }
dt { color: var(--soft); }
dd { margin: 0; font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
.wide header, .wide main, .wide footer { max-width: 60rem; }
.wide h2 { font-size: 1.15rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .6rem; }
.soft { color: var(--soft); font-size: .925rem; }
dl + .soft { margin-top: .75rem; }
.notice > :last-child { margin-bottom: 0; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
section { margin-top: 2rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
section h2 { margin-top: 0; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .9em; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 9px; padding: .9rem 1rem; margin: 0 0 1rem; overflow-x: auto; overflow-wrap: normal; }
.facts { margin: .5rem 0 1rem; }
.facts dd { font-family: inherit; }
.state::before { content: ""; display: inline-block; width: .6em; height: .6em; border-radius: 50%; margin-inline-end: .45em; background: var(--v-strict); }
.state.down::before { background: var(--v-rejected); border-radius: 0; }
.verdict { font-weight: 600; border: 1px solid var(--line); border-inline-start: 5px solid var(--v-strict); border-radius: 6px; padding: .7rem 1rem; background: var(--wash); }
.verdict.weak { border-inline-start-color: var(--v-would); }
.verdict.bad { border-inline-start-color: var(--v-rejected); }
.steps { list-style: decimal; padding-inline-start: 1.5rem; display: grid; gap: .8rem; margin-top: 0; }
.steps p { margin: 0; }
.tabs { display: flex; gap: .5rem; margin: 1rem 0 0; }
.tabs a { display: inline-block; padding: .4rem .9rem; border: 1px solid var(--line); border-radius: 999px; color: var(--ink); text-decoration: none; }
.tabs a:hover { border-color: var(--accent); }
.tabs a[aria-current] { background: var(--accent); border-color: var(--accent); color: var(--accent-ink); font-weight: 600; }
.chart { margin: 0; }
.chart svg { display: block; width: 100%; height: 9rem; }
.chart path { fill: none; stroke: var(--line); vector-effect: non-scaling-stroke; }
.chart .base { stroke: var(--soft); }
.most, .axis { color: var(--soft); font-size: .85rem; margin: 0 0 .35rem; }
.axis { display: flex; justify-content: space-between; margin: .3rem 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .6rem 0 0; font-size: .9rem; }
.legend li::before, .refusals span[class]::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-inline-end: .45em; border-radius: 2px; }
rect.v-strict { fill: var(--v-strict); } .v-strict::before { background: var(--v-strict); }
rect.v-weak { fill: var(--v-weak); } .v-weak::before { background: var(--v-weak); }
rect.v-unverified { fill: var(--v-unverified); } .v-unverified::before { background: var(--v-unverified); }
rect.v-would_reject { fill: var(--v-would); } .v-would_reject::before { background: var(--v-would); }
rect.v-rejected { fill: var(--v-rejected); } .v-rejected::before { background: var(--v-rejected); }
rect.v-failed { fill: var(--v-failed); } .v-failed::before { background: var(--v-failed); }
.chart + details { margin-top: .75rem; border: 0; padding: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; min-width: 100%; }
caption { text-align: start; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: start; padding: .4rem .9rem .4rem 0; border-top: 1px solid var(--line); vertical-align: top; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; white-space: nowrap; }
.refusals { margin-top: 0; }
.refusals details { margin: 0; padding: .35rem 0; }
.refusals summary { color: var(--ink); }
@media (max-width: 26rem) {
  .actions .button, .field .button, .ways .button { width: 100%; }
  .actions li, .field .button { flex: 1 1 100%; }
  dl div { grid-template-columns: 1fr; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
@media (forced-colors: active) { .button, .choices a { border: 1px solid; } }
`;

/** Its file name under `assets/`: by content, so that it may be kept for ever. */
export const stylesheetName = `style-${createHash('sha256').update(stylesheet).digest('base64url').slice(0, 12)}.css`;
