/* The wall: the newest picture of each camera as it comes in, and the last pictures with people. */

import {api, get} from '../lib/api.js';
import {fill, h, setText} from '../lib/dom.js';
import {on, untilListed} from '../lib/events.js';
import {CAN, has} from '../lib/features.js';
import {hoursOf} from '../lib/histogram.js';
import {show} from '../lib/router.js';
import {brief} from '../lib/snapshot.js';
import {midnight, number, plural} from '../lib/words.js';
import {card, cardOf, placeCard} from '../part/card.js';
import {firstSteps} from '../part/first_steps.js';
import {say, titled} from '../part/frame.js';
import {tile} from '../part/tile.js';

const SEEN_LATELY = 12;
const CLOCK_MS = 1000;
const TODAY_MS = 30000;

export async function open(view, {signal}) {
    titled('Live');
    const summary = h('p', {});
    const today = h('p', {});
    const wall = h('ul', {class: 'wall'});
    const lately = h('div', {class: 'strip'});
    const people = h('section', {class: 'lately', hidden: true, 'aria-labelledby': 'lately-head'},
        h('div', {class: 'section-head'},
          h('h2', {id: 'lately-head'}, 'People seen lately'),
          h('a', {class: 'more', href: '/timeline?person=1'}, 'All in the timeline')),
        lately);
    view.append(h('div', {class: 'page-head'}, h('h1', {}, 'Live'), summary, today), wall, people);

    const {cameras} = await get(api('cameras'), signal);
    if (cameras.length === 0)
        return wall.replaceWith(firstSteps(signal));
    const tiles = new Map(cameras.map(camera => [camera.name, tile(camera, signal)]));
    wall.dataset.count = Math.min(cameras.length, 9);
    useRatio(wall, keptRatio());
    fill(wall, [...tiles.values()].map(t => t.element));
    summarise(summary, cameras, tiles);

    const early = untilListed(showLately);
    on('snapshot', shot => tiles.get(shot.camera)?.arrived(shot), signal);
    on('verdict', shot => {
        tiles.get(shot.camera)?.arrived(shot);
        showLately(shot);
    }, signal);
    on('camera', ({name, ...news}) => {
        tiles.get(name)?.changed(news);
        summarise(summary, cameras, tiles);
    }, signal);
    on('changed', ({id, what, camera}) => {
        if (what === 'deleted')
            cardOf(lately, id)?.remove();
        tiles.get(camera)?.told(id, what);
    }, signal);
    on('reset', show, signal);
    const clock = setInterval(() => tiles.forEach(t => t.tick()), CLOCK_MS);
    const counting = setInterval(() => !document.hidden && countToday(today, signal), TODAY_MS);
    signal.addEventListener('abort', () => { clearInterval(clock); clearInterval(counting); });
    countToday(today, signal);
    await loadAll();

    async function loadAll() {
        const [, ...shots] = await Promise.all([loadLately(), ...[...tiles.values()].map(t => t.load())]);
        keepRatio(wall, shots.filter(Boolean));
    }

    async function loadLately() {
        const page = await get(api('snapshots') + `?person=1&limit=${SEEN_LATELY}`, signal);
        fill(lately, page.snapshots.map(s => card(brief(s))));
        people.hidden = page.snapshots.length === 0;
        early.listed();
    }

    function showLately(shot) {
        early.keep(shot);
        cardOf(lately, shot.id)?.remove(); /* examined again, it may show somebody, or nobody any more */
        if (!shot.verdict?.persons)
            return;
        people.hidden = false;
        const fresh = card(brief(shot));
        placeCard(lately, fresh, SEEN_LATELY);
        if (lately.firstElementChild === fresh) {
            fresh.classList.add('fresh');
            say(fresh.words);
        }
    }
}

function summarise(place, cameras, tiles) {
    const tones = [...tiles.values()].map(t => t.tone());
    const bad = tones.filter(t => t === 'bad').length;
    fill(place, plural(cameras.length, 'camera'), bad > 0 && [', ',
        h('a', {class: 'alarm', href: '/cameras'}, bad === 1 ? 'one of them failing' : `${bad} of them failing`)]);
}

/* What came of it since midnight. */
async function countToday(place, signal) {
    if (!has(CAN.histogram))
        return;
    const {hours, exact} = await hoursOf({from: new Date(midnight(Date.now())).toISOString()}, signal).catch(() => ({hours: []}));
    const sum = name => hours.reduce((n, hour) => n + hour[name], 0);
    if (sum('count'))
        setText(place, `Today ${exact ? '' : 'at least '}${plural(sum('count'), 'picture')}, ${number(sum('persons'))} with people`);
}

/* All tiles have the proportions that most pictures have, so that little is cut off. The browser
 * remembers them: the next time nothing moves when the pictures come. */
const RATIO_KEY = 'wall-ratio';

function keepRatio(wall, shots) {
    const ratios = shots.filter(s => s.width && s.height).map(s => s.width / s.height).sort((a, b) => a - b);
    if (ratios.length === 0)
        return;
    const ratio = Math.min(16 / 9, Math.max(1, ratios[(ratios.length - 1) >> 1])).toFixed(3);
    useRatio(wall, ratio);
    try {
        localStorage.setItem(RATIO_KEY, ratio);
    } catch { /* then it is found out anew each time */ }
}

function keptRatio() {
    try {
        return Number(localStorage.getItem(RATIO_KEY)) || null;
    } catch {
        return null;
    }
}

function useRatio(wall, ratio) {
    if (ratio)
        wall.style.setProperty('--ratio', ratio);
}
