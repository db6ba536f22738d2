/* How much happened when: a bar for each day, persons in the accent colour. A click goes to that
 * day, a second one back; with the keyboard the date field does. */

import {fill, h, svg} from '../lib/dom.js';
import {CAN, has} from '../lib/features.js';
import {apiFilters} from '../lib/filters.js';
import {hoursOf} from '../lib/histogram.js';
import {daysBetween, isoDay, longDay, midnight, plural} from '../lib/words.js';

const DAYS = 90;
const HEIGHT = 44;

export function activity(choose, signal) {
    const element = h('div', {class: 'activity', hidden: true});
    let asked = 0;
    return {element, load};

    async function load(filters) {
        const mine = ++asked;
        if (!has(CAN.histogram))
            return;
        const first = midnight(Date.now(), 1 - DAYS);
        const query = apiFilters(filters);
        query.delete('to'); /* what is chosen stays in its surroundings */
        if (!(Date.parse(query.get('from')) > first))
            query.set('from', new Date(first).toISOString());
        try {
            const {hours, exact} = await hoursOf(query, signal); /* days of UTC are no days of this place */
            if (mine === asked)
                draw(daysOf(hours, exact), filters.get('to'));
        } catch {
            element.hidden = true; /* the timeline works without */
        }
    }

    function draw(days, chosen) {
        element.hidden = days.length < 2;
        if (element.hidden)
            return;
        const today = midnight(Date.now());
        const shown = days.map(d => ({...d, age: daysBetween(d.at, today)}));
        const most = Math.max(...shown.map(d => d.count));
        const wide = 1000 / Math.max(14, ...shown.map(d => d.age + 1));
        const high = n => n ? Math.max(2, n / most * (HEIGHT - 2)) : 0;
        fill(element, svg('svg', {viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `Pictures a day, ${plural(shown.length, 'day')} with pictures`},
            shown.map(({at, age, count, persons, whole}) => {
                const x = 1000 - (age + 1) * wide;
                const bar = (n, kind) => svg('rect', {class: kind, x: x + wide * .14, width: wide * .72, y: HEIGHT - high(n), height: high(n)});
                const day = isoDay(at);
                return svg('g', {class: `${day === chosen ? 'chosen' : ''}${whole ? '' : ' in-part'}`, data: {day}, onclick: () => choose(day === chosen ? null : day)},
                    svg('title', {}, `${longDay(at)}: ${whole ? '' : 'at least '}${plural(count, 'picture')}, ${persons} with persons`),
                    svg('rect', {class: 'reach', x, width: wide, y: 0, height: HEIGHT}),
                    bar(count, 'all'), bar(persons, 'people'));
            })));
    }
}

/* Newest first, without the empty ones: {at (its midnight here), count, persons, whole}. */
function daysOf(hours, exact) {
    const days = new Map();
    for (const {from, count, persons} of hours) {
        const at = midnight(Date.parse(from));
        const day = days.get(at) ?? {at, count: 0, persons: 0, whole: true};
        day.count += count;
        day.persons += persons;
        days.set(at, day);
    }
    const all = [...days.values()];
    if (all.length)
        all.at(-1).whole = exact;
    return all;
}
