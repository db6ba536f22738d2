/* A small picture with the time and the camera below it: a link to the picture's own page.
 * Its `words` say the same to screen readers when it comes by itself; `at` is its time. */

import {h} from '../lib/dom.js';
import {pagePath} from '../lib/snapshot.js';
import {cameraTitle, clockTime} from '../lib/words.js';
import {icon} from './icon.js';
import {badges, described, dropStill, still} from './picture.js';

export function card(item, {width = 320, query = ''} = {}) {
    const marks = badges(item, 1);
    if (item.starred)
        marks.append(h('span', {class: 'badge star'}, icon('star'), h('span', {class: 'unseen'}, 'starred')));
    const element = h('a', {class: 'shot', href: pagePath(item.id, query), data: {id: item.id}},
        h('span', {class: 'frame'}, item.removed ? gone() : still(item, width, ''), marks),
        h('span', {class: 'shot-words'},
          h('time', {datetime: new Date(item.at).toISOString()}, clockTime(item.at)),
          h('span', {}, cameraTitle(item.camera)),
          !marks.childElementCount && h('span', {class: 'unseen'}, described(item))));
    element.at = item.at;
    element.words = `${cameraTitle(item.camera)}, ${clockTime(item.at)}: ${described(item)}`;
    return element;
}

/* Puts a card where its time is among others, newest first, and keeps so many of them. */
export function placeCard(list, element, most) {
    list.insertBefore(element, [...list.children].find(other => other.at <= element.at) ?? null);
    while (list.childElementCount > most)
        dropCard(list.lastElementChild);
}

export const cardOf = (list, id) => list.querySelector(`[data-id="${CSS.escape(id)}"]`);

export function dropCard(element) {
    dropStill(element.querySelector('img'));
    element.remove();
}

const gone = () => h('span', {class: 'still-gone'}, icon('gone'), h('span', {}, 'Tidied away'));
