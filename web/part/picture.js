/* A picture in a place of fixed proportions, so that nothing moves when it arrives. */

import {h} from '../lib/dom.js';
import {pictureUrl, wholeUrl} from '../lib/snapshot.js';
import {icon} from './icon.js';

const THINGS_SAID = 4;

export function still(item, width, alt) {
    const image = h('img', {class: 'still', alt, decoding: 'async', draggable: 'false'});
    image.addEventListener('load', () => image.classList.add('here'));
    image.addEventListener('error', () => fallBack(image, item));
    image.src = pictureUrl(item, width);
    if (image.complete)
        image.classList.add('here');
    return image;
}

/* Takes an image out of the page and ends its transfer: who scrolls past does not want it. */
export function dropStill(image) {
    if (image && !image.complete)
        image.removeAttribute('src');
}

function fallBack(image, item) {
    if (!image.hasAttribute('src'))
        return;
    const whole = wholeUrl(item.id);
    if (image.getAttribute('src') !== whole) {
        image.src = whole;
        return;
    }
    image.replaceWith(h('span', {class: 'still-gone'}, icon('gone'), h('span', {}, 'Not here any more')));
}

/* What was seen, as badges: persons first, then things; `things` are how many of those there is room
 * for. */
export function badges(item, things = 0) {
    return h('span', {class: 'badges'},
        item.persons > 0 && h('span', {class: 'badge person', title: persons(item.persons)},
            icon('person'), String(item.persons), h('span', {class: 'unseen'}, item.persons === 1 ? ' person' : ' persons')),
        item.labels.slice(0, things).map(label => h('span', {class: 'badge'}, label)));
}

export const persons = n => n === 1 ? '1 person' : `${n} persons`;

/* One sentence that stands for the picture where it cannot be seen. */
export function described(item) {
    const seen = [item.persons > 0 && persons(item.persons), ...item.labels.slice(0, THINGS_SAID)].filter(Boolean);
    return seen.length ? seen.join(', ') : item.waiting ? 'not examined yet' : 'nothing recognised';
}
