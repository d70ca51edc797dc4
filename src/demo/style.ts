/** The style sheet of the demo identity provider and the demo forge: light and dark, no external resource. */
export const demoCss = `
:root {
  --ground: #f6f7f9; --card: #ffffff; --ink: #1b1f24; --quiet: #57606a; --line: #d7dbe0;
  --accent: #6b3fa0; --accent-ink: #ffffff; --good: #1a7f37; --bad: #b42318; --code: #f0f2f5;
}
body.forge { --accent: #b4501e; }
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1216; --card: #181c22; --ink: #e8ebef; --quiet: #a2abb6; --line: #323943;
    --accent: #b992e8; --accent-ink: #16101f; --good: #57c878; --bad: #ff8f80; --code: #222830;
  }
  body.forge { --accent: #f0945f; --accent-ink: #1d0f06; }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
header {
  display: flex; flex-wrap: wrap; gap: .75rem; align-items: center;
  padding: .8rem clamp(1rem, 4vw, 2rem); border-bottom: 3px solid var(--accent); background: var(--card);
}
.mark {
  display: inline-grid; place-items: center; width: 2.1rem; height: 2.1rem; border-radius: .5rem;
  background: var(--accent); color: var(--accent-ink); font-weight: 700; font-size: .85rem;
}
.place { font-weight: 650; }
.badge {
  margin-left: auto; padding: .1rem .6rem; border: 1px dashed var(--accent); border-radius: 1rem;
  color: var(--quiet); font-size: .85rem;
}
main { max-width: 46rem; margin: 0 auto; padding: clamp(1.25rem, 5vw, 3rem) 1rem 4rem; }
h1 { margin: 0 0 .5rem; font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 2.25rem 0 .6rem; font-size: 1.1rem; }
p { margin: .4rem 0 1rem; }
.quiet { color: var(--quiet); }
ul.people { list-style: none; margin: 1.5rem 0; padding: 0; display: grid; gap: .75rem; }
ul.people button {
  display: grid; grid-template-columns: auto 1fr; gap: .1rem 1rem; width: 100%; padding: 1rem; text-align: left;
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; cursor: pointer;
}
ul.people button:hover { border-color: var(--accent); }
.face {
  grid-row: span 3; display: grid; place-items: center; width: 2.75rem; height: 2.75rem; border-radius: 50%;
  background: var(--code); color: var(--accent); font-weight: 700;
}
.name { font-weight: 650; }
.claims { font-size: .85rem; color: var(--quiet); overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem; margin: 1rem 0; }
.actions { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.25rem 0; }
a { color: var(--accent); text-underline-offset: .15em; }
.button, .actions button {
  display: inline-block; padding: .55rem 1rem; border-radius: .5rem; border: 1px solid var(--accent); font: inherit;
  font-weight: 600; text-decoration: none; cursor: pointer; background: var(--accent); color: var(--accent-ink);
}
.button.second, .actions button.second { background: transparent; color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .93rem; }
th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
td, code, pre { overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  table, tbody, tr, th, td { display: block; }
  thead { display: none; }
  th { padding-bottom: 0; border-bottom: 0; }
}
summary { cursor: pointer; }
code, pre { font: .88em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; background: var(--code); border-radius: .3rem; }
code { padding: .1em .3em; }
pre { margin: 0; padding: .75rem 1rem; white-space: pre-wrap; }
`;
