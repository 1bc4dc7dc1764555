"""STYLE: the style sheet of the report page."""

from __future__ import annotations

#: Light and dark scheme; blue and orange stay apart for colour-blind readers.
STYLE = """\
:root {
  --paper: #ffffff; --ink: #1b1f24; --soft: #59636e; --line: #d9dee3;
  --panel: #f5f7f9; --blue: #1f6fd0; --orange: #c2500a; --green: #157a3c;
  --red: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --ink: #e6e9ec; --soft: #9aa5b1; --line: #363d45;
    --panel: #1d2126; --blue: #6aabf7; --orange: #f4a259; --green: #5fcf8a;
    --red: #ff8a80;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.45 system-ui, sans-serif;
}
h1 { margin: .5rem 0; font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .6rem; font-size: 1.1rem; }
main { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
section { padding: 1rem; border: 1px solid var(--line); border-radius: .6rem; }
.cards {
  display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem;
  margin: 0; padding: 0; list-style: none;
}
.cards li { padding: .6rem .8rem; border-radius: .6rem; background: var(--panel); }
.cards li { color: var(--soft); font-size: .9rem; }
.cards strong { display: block; color: var(--ink); font-size: 1.25rem; }
.good, .bad { margin: .8rem 0 1rem; font-weight: 600; }
.good { color: var(--green); }
.bad { color: var(--red); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .5rem; border-top: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; font-variant-numeric: tabular-nums; }
td:last-child { white-space: normal; }
.note { margin: .6rem 0 0; color: var(--soft); font-size: .85rem; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child, .words th, .words td { padding-left: 0; text-align: left; }
tbody th { font-weight: 500; }
.words td { white-space: normal; overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 34rem; margin: 0 auto; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
.grid { fill: var(--panel); stroke: var(--line); stroke-width: .6; }
.axis { stroke: var(--soft); }
.bar { fill: var(--blue); }
.dot { fill: var(--blue); fill-opacity: .45; }
.best { fill: none; stroke: var(--orange); stroke-width: 2; }
.limit { stroke: var(--red); stroke-width: 1.5; stroke-dasharray: 4 3; }
.mark { stroke: var(--paper); stroke-width: 1; }
.mark.before { fill: var(--soft); }
.mark.after { fill: var(--orange); }
.legend {
  display: flex; flex-wrap: wrap; gap: .3rem 1rem; justify-content: center;
  margin: .4rem 0 0; padding: 0; color: var(--soft); font-size: .85rem;
  list-style: none;
}
.key { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; }
.key { border-radius: 50%; vertical-align: -.08rem; background: var(--blue); }
.key.best { height: .2rem; border-radius: 0; background: var(--orange); }
.key.best { vertical-align: .22rem; }
.key.before { background: var(--soft); }
.key.after { background: var(--orange); }
.key.limit { width: 0; border-left: 2px dashed var(--red); border-radius: 0; }
.key.limit { background: none; }
pre {
  margin: 0 0 .8rem; padding: .7rem; border-radius: .6rem; background: var(--panel);
  font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere;
}
@media (max-width: 30rem) {
  section { padding: .75rem; }
  table { font-size: .72rem; }
  th, td { padding: .35rem .2rem; }
}
@media (min-width: 48rem) {
  .cards { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  main { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  section.wide { grid-column: 1 / -1; }
}
"""
