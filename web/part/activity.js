/* How much happened when: a bar for each day, persons in the accent colour. A click goes to that
 * day; with the keyboard the date field does. */

import {api, get} from '../lib/api.js';
import {fill, h, svg} from '../lib/dom.js';
import {CAN, has} from '../lib/features.js';
import {apiFilters} from '../lib/filters.js';
import {isoDay, longDay, plural} from '../lib/words.js';

const DAYS = 90;
const DAY_MS = 86400000;
const HEIGHT = 44;

export function activity(choose, signal) {
    const element = h('div', {class: 'activity', hidden: true});
    let asked = 0;
    return {element, load};

    async function load(filters) {
        const mine = ++asked;
        if (!has(CAN.histogram))
            return;
        const query = apiFilters(filters);
        query.delete('to'); /* what is chosen stays in its surroundings */
        query.set('by', 'day');
        try {
            const {buckets} = await get(api('snapshots', 'histogram') + '?' + query, signal);
            if (mine === asked)
                draw(buckets, filters.get('to'));
        } catch {
            element.hidden = true; /* the timeline works without */
        }
    }

    function draw(buckets, chosen) {
        element.hidden = buckets.length < 2;
        if (element.hidden)
            return;
        const last = Date.parse(buckets[0].from);
        const shown = buckets.map(b => ({...b, age: Math.round((last - Date.parse(b.from)) / DAY_MS)})).filter(b => b.age < DAYS);
        const days = Math.max(14, ...shown.map(b => b.age + 1));
        const most = Math.max(...shown.map(b => b.count));
        const wide = 1000 / days;
        fill(element, svg('svg', {viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `Pictures a day, ${plural(shown.length, 'day')} with pictures`},
            shown.map(b => {
                const at = Date.parse(b.from);
                const x = 1000 - (b.age + 1) * wide;
                const bar = (n, kind) => svg('rect', {class: kind, x: x + wide * .14, width: wide * .72, y: HEIGHT - high(n), height: high(n)});
                const high = n => n ? Math.max(2, n / most * (HEIGHT - 2)) : 0;
                return svg('g', {class: isoDay(at) === chosen ? 'chosen' : '', onclick: () => choose(isoDay(at))},
                    svg('title', {}, `${longDay(at)}: ${plural(b.count, 'picture')}, ${b.persons} with persons`),
                    svg('rect', {class: 'reach', x, width: wide, y: 0, height: HEIGHT}),
                    bar(b.count, 'all'), bar(b.persons, 'people'));
            })));
    }
}
