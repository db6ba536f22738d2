/* Small charts, drawn from numbers; each says in words what it shows. */

import {h, svg} from '../lib/dom.js';
import {clockTime, plural} from '../lib/words.js';

const W = 600, H = 120;
const hour = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'});

/* Bars: how many pictures, and of those how many with persons. [{at, count, persons}], oldest first; unless `exact`
 * there are more. */
export function barChart(title, when, bars, exact) {
    const most = Math.max(1, ...bars.map(b => b.count));
    const wide = W / bars.length;
    const total = bars.reduce((n, b) => n + b.count, 0);
    const people = bars.reduce((n, b) => n + b.persons, 0);
    const high = n => n ? Math.max(2, n / most * (H - 8)) : 0;
    return chart(title, `${exact ? '' : 'at least '}${plural(total, 'picture')}, ${people} with people, in ${when}`,
        bars.map((b, i) => svg('g', {},
            svg('title', {}, `${hour.format(b.at)}: ${plural(b.count, 'picture')}, ${b.persons} with people`),
            svg('rect', {class: 'reach', x: i * wide, y: 0, width: wide, height: H}),
            svg('rect', {class: 'all', x: i * wide + 3, width: wide - 6, y: H - high(b.count), height: high(b.count), rx: 3}),
            svg('rect', {class: 'people', x: i * wide + 3, width: wide - 6, y: H - high(b.persons), height: high(b.persons), rx: 3}))),
        [...bars.filter((_, i) => i % 6 === 0).map(b => hour.format(b.at)), 'now']);
}

/* Lines over time, each the most that there was in a span. spans: [{at, name: number, ...}], oldest first, and
 * none where nobody counted; lines: [[name, 'picture'], ...] */
export function lineChart(title, when, {from, to, span}, spans, lines) {
    const most = Math.max(1, ...spans.flatMap(s => lines.map(([name]) => s[name])));
    const x = at => Math.max(0, Math.min(W, (at - from) / (to - from) * W));
    const y = value => H - 1 - value / most * (H - 9);
    const path = name => spans.map((s, i) =>
        `${i && s.at - spans[i - 1].at === span ? 'L' : 'M'}${x(s.at).toFixed(1)} ${y(s[name]).toFixed(1)}H${x(s.at + span).toFixed(1)}`).join('');
    const highest = lines.map(([name, one]) => [name, plural(Math.max(0, ...spans.map(s => s[name])), one)]);
    return chart(title, `at most ${highest.map(([, words]) => words).join(', ')}, in ${when}`,
        lines.map(([name]) => svg('path', {class: `line ${name}`, d: path(name), 'vector-effect': 'non-scaling-stroke'})),
        [...Array.from({length: 4}, (_, i) => hour.format(from + (to - from) * i / 4)), 'now'],
        ['at most ', highest.map(([name, words]) => h('span', {class: `chart-key ${name}`}, words))]);
}

/* Dots over time with the median as a line. [{at, value}] in ms */
export function dotChart(title, dots) {
    const from = Math.min(...dots.map(d => d.at)), to = Math.max(...dots.map(d => d.at), from + 1);
    const sorted = dots.map(d => d.value).sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    /* A single slow one must not press all others to the floor. */
    const most = Math.max(1, sorted[Math.floor((sorted.length - 1) * .97)] * 1.25);
    const y = value => H - 4 - Math.min(1, value / most) * (H - 12);
    return chart(title, `half of the last ${dots.length} took less than ${Math.round(median)} ms`,
        [svg('line', {class: 'median', x1: 0, x2: W, y1: y(median), y2: y(median)}),
         dots.map(d => svg('circle', {class: 'dot', cx: 4 + (d.at - from) / (to - from) * (W - 8), cy: y(d.value), r: 2.6}, svg('title', {}, `${clockTime(d.at)}: ${Math.round(d.value)} ms`)))],
        [hour.format(from), hour.format(to)]);
}

/* The marks below are text of the page: in the drawing they would shrink with it. */
function chart(title, words, shapes, marks, shown = words) {
    return h('figure', {class: 'chart card'},
        h('figcaption', {}, h('h2', {}, title), h('p', {class: 'soft'}, shown)),
        svg('svg', {viewBox: `0 0 ${W} ${H + 1}`, role: 'img', 'aria-label': `${title}: ${words}`},
            svg('line', {class: 'floor', x1: 0, x2: W, y1: H + .5, y2: H + .5}), shapes),
        h('div', {class: 'chart-marks', 'aria-hidden': 'true'}, marks.map(text => h('span', {}, text))));
}
