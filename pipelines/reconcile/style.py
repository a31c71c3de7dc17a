"""How the report looks: light and dark, wide and narrow. Nothing is fetched; fonts are those of the reader."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --panel: #f5f6f8; --text: #1a1d21; --soft: #555c66; --line: #d4d8de; --mark: #fff4d6;
  --ok: #1a7f4b; --warning: #8a5a00; --investigate: #b34700; --escalate: #b3261e; --failed: #6b4fa0;
  --side1: #1d5fa8; --side2: #78b0e4; --side3: #a35200; --side4: #eea558;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --panel: #1e2329; --text: #e8eaed; --soft: #a7aeb8; --line: #3a414a; --mark: #3d3315;
    --ok: #5fd193; --warning: #f0c04a; --investigate: #ff9d57; --escalate: #ff8078; --failed: #bda3f0;
    --side1: #4d94e0; --side2: #a9d0f5; --side3: #d97a1e; --side4: #f8cf9c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 1100px; margin: 0 auto; padding: 0 16px; }
h1 { margin: 24px 0 4px; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 40px 0 8px; font-size: 1.2rem; }
h3 { margin: 24px 0 4px; font-size: 1rem; }
p, ol, ul { margin: 8px 0; overflow-wrap: anywhere; }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
a { color: inherit; }
.soft, caption, figcaption, footer, dt { color: var(--soft); }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0; padding: 0; list-style: none; }
.verdict { margin: 16px 0; padding: 12px 16px; border-left: 6px solid var(--tone); background: var(--panel); }
.verdict strong { color: var(--tone); font-size: 1.25rem; letter-spacing: 0.03em; }
.ok { --tone: var(--ok); } .warning { --tone: var(--warning); } .investigate { --tone: var(--investigate); }
.escalate { --tone: var(--escalate); } .failed, .running { --tone: var(--failed); }
.verdict ol { padding-left: 20px; }
.verdict li code { display: block; width: fit-content; max-width: 100%; }
.verdict li code { padding: 2px 8px; background: var(--ground); border: 1px solid var(--line); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 8px; margin: 8px 0; }
dl div { padding: 8px 12px; background: var(--panel); }
dt { font-size: 0.85rem; }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
dl .long { grid-column: 1 / -1; }
dl .long dd { font-size: 1rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
caption { padding: 4px 0; text-align: left; overflow-wrap: anywhere; }
.scroll caption { position: sticky; left: 0; max-width: calc(100vw - 32px); }
th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 400; }
.number { text-align: right; white-space: nowrap; }
td.text { min-width: 200px; overflow-wrap: anywhere; }
.findings { min-width: 900px; }
.reasons th { max-width: 420px; white-space: normal; overflow-wrap: anywhere; }
.bars { width: 40%; }
tr.differs { background: var(--mark); }
small { display: block; color: var(--soft); }
figure { margin: 8px 0; }
figcaption { font-size: 0.875rem; }
.keys { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0; padding: 0; list-style: none; }
.keys svg { width: 12px; height: 12px; margin-right: 6px; }
.chart { display: block; width: 100%; min-width: 640px; height: auto; max-width: 1100px; }
.chart text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.chart .heading { fill: var(--text); }
.grid { stroke: var(--line); stroke-width: 1; }
.side1 { fill: var(--side1); } .side2 { fill: var(--side2); } .side3 { fill: var(--side3); }
.side4 { fill: var(--side4); }
.mark, .bar { fill: var(--escalate); }
.bars svg { display: block; width: 100%; min-width: 80px; height: 12px; margin-top: 5px; }
.trend { fill: none; stroke: var(--soft); stroke-width: 1.5; }
.at-ok { fill: var(--ok); } .at-warning { fill: var(--warning); } .at-investigate { fill: var(--investigate); }
.at-escalate { fill: var(--escalate); } .at-failed { fill: none; stroke: var(--failed); stroke-width: 2; }
.threshold { stroke-width: 1.5; stroke-dasharray: 6 4; }
.threshold.at-investigate { stroke: var(--investigate); } .threshold.at-escalate { stroke: var(--escalate); }
details > summary { padding: 8px 0; cursor: pointer; }
footer { margin-top: 40px; padding-bottom: 32px; font-size: 0.85rem; }
@media (max-width: 480px) { body { font-size: 15px; } h1 { font-size: 1.25rem; } .number, th { white-space: normal; } }
@media print { .scroll { overflow: visible; } details > * { display: block; } }
"""
