// SPDX-License-Identifier: Apache-2.0
#include "html_style.hpp"

namespace bunchtrain::report {

std::string_view page_style_sheet() {
  return R"css(
:root{color-scheme:light dark;--ink:#20242b;--quiet:#5b6470;--rule:#d9dde3;--paper:#fff;--tint:#f5f6f8}
@media (prefers-color-scheme:dark){:root{--ink:#d9dde3;--quiet:#98a2ae;--rule:#343a43;--paper:#15181d;--tint:#1c2026}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:0;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:44px 0 14px;padding-bottom:6px;border-bottom:1px solid var(--rule);font-weight:650}
h3{font-size:.95rem;margin:0 0 6px;font-weight:600}
sub,sup{line-height:0}
.subtitle{color:var(--quiet);margin:6px 0 0}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:18px 28px;margin:28px 0 0}
.numbers dt{color:var(--quiet);font-size:.85rem}
.numbers dd{margin:0;font-size:1.45rem;line-height:1.3;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
.numbers small{font-size:.85rem;font-weight:400;color:var(--quiet)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:5px 22px 5px 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--rule)}
thead th{color:var(--quiet);font-weight:500;white-space:nowrap}
tbody th{font-weight:400}
.number{text-align:right;white-space:nowrap}
.pairs th{color:var(--quiet);white-space:nowrap}
.pairs td{overflow-wrap:anywhere}
tr.best td,tr.best th{font-weight:650}
.columns{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:34px 36px}
figure{margin:0}
figure svg{display:block;width:100%;height:auto}
.columns+figure,.scroll+.columns,.scroll+figure,figure+figure{margin-top:28px}
.columns figure+figure{margin-top:0}
.pictures{display:flex;flex-wrap:wrap;gap:18px 24px}
figcaption{color:var(--quiet);font-size:.85rem;margin-top:4px}
details{margin:12px 0}
summary{cursor:pointer;font-weight:600;font-size:.95rem}
pre{background:var(--tint);border:1px solid var(--rule);border-radius:6px;padding:14px 16px;overflow-x:auto;font:.82rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
footer{margin-top:48px;color:var(--quiet);font-size:.85rem}
@media (max-width:760px){main{padding:24px 16px 48px}.columns{grid-template-columns:minmax(0,1fr)}h1{font-size:1.4rem}}
@media (max-width:560px){
table{font-size:.82rem}th,td{padding:4px 12px 4px 0}thead th{white-space:normal;vertical-align:bottom}
.pairs{line-height:1.35}.pairs th{white-space:normal;width:32%;padding-right:10px}
.stacked thead{display:none}
.stacked,.stacked tbody,.stacked tr,.stacked th,.stacked td{display:block}
.stacked tr{padding:6px 0;border-bottom:1px solid var(--rule)}
.stacked th,.stacked td{display:flex;justify-content:space-between;gap:16px;border:0;padding:1px 0}
.stacked.paired tr{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));column-gap:14px}
.stacked.paired th,.stacked.paired td{flex-wrap:wrap;gap:0 4px}
.stacked [data-label]::before{content:attr(data-label);color:var(--quiet);font-weight:400}
}
.value{position:fixed;z-index:1;pointer-events:none;padding:2px 8px;border:1px solid var(--rule);border-radius:4px;background:var(--paper);font-size:.8rem;font-variant-numeric:tabular-nums;max-width:70vw}
@media print{.value{display:none}main{max-width:none;padding:0}figure,tr{break-inside:avoid}h2{break-after:avoid}}
)css";
}

// Neither "<" nor "&", so that a reader of XML takes the page too.
std::string_view page_script() {
  return R"js(
'use strict';
const tip = document.createElement('div');
tip.className = 'value';
tip.hidden = true;
document.body.append(tip);
const axis = (text, first, last) => {
  const [min, max, scale] = text.split(' ');
  const step = Math.abs(max - min) / 2000;  // finer than a pixel
  const [to, from] =
    scale === 'log' ? [Math.log, Math.exp] : [Number, value => Math.round(value / step) * step];
  return pixel => from(to(min) + (to(max) - to(min)) * (pixel - first) / (last - first));
};
const pointsOf = (series) => {
  const points = [];
  for (const dot of series.querySelectorAll('circle'))
    points.push([Number(dot.getAttribute('cx')), Number(dot.getAttribute('cy'))]);
  if (points.length > 0) return points;
  for (const path of series.querySelectorAll('path.bt-line'))
    for (const [, x, y] of path.getAttribute('d').matchAll(/[ML](-?[0-9.]+) (-?[0-9.]+)/g))
      points.push([Number(x), Number(y)]);
  return points;
};
for (const data of document.querySelectorAll('.bt-data')) {
  const plot = data.ownerSVGElement, box = data.viewBox.baseVal;
  const x = axis(data.dataset.x, box.x, box.x + box.width);
  const y = axis(data.dataset.y, box.y + box.height, box.y);
  const all = [];
  for (const series of data.querySelectorAll('g[data-name]'))
    for (const [px, py] of pointsOf(series)) all.push({px, py, name: series.dataset.name});
  plot.addEventListener('pointermove', event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
    let nearest = null, least = 30;
    for (const point of all) {
      const distance = Math.hypot(point.px - at.x, point.py - at.y);
      if (least > distance) [nearest, least] = [point, distance];
    }
    tip.hidden = nearest === null;
    if (nearest === null) return;
    const shown = value => String(Number(value.toPrecision(3)));
    tip.textContent = (nearest.name ? nearest.name + ': ' : '') + shown(x(nearest.px)) + ', ' + shown(y(nearest.py));
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = Math.max(0, left) + 'px';
    tip.style.top = event.clientY + 14 + 'px';
  });
  plot.addEventListener('pointerleave', () => { tip.hidden = true; });
}
)js";
}

}  // namespace bunchtrain::report
