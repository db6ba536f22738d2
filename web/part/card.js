/* A small picture with the time and the camera below it: a link to the picture's own page. */

import {h} from '../lib/dom.js';
import {pagePath} from '../lib/snapshot.js';
import {cameraTitle, clockTime, wholeTime} from '../lib/words.js';
import {icon} from './icon.js';
import {badges, described, dropStill, still} from './picture.js';

export function card(item, {width = 320, query = '', tag = 'a'} = {}) {
    const marks = badges(item, 1);
    if (item.starred)
        marks.append(h('span', {class: 'badge star'}, icon('star')));
    return h(tag, {
        class: 'shot', href: pagePath(item.id, query), data: {id: item.id},
        'aria-label': `${cameraTitle(item.camera)}, ${wholeTime(item.at)}: ${described(item)}${item.starred ? ', starred' : ''}`,
    },
        h('span', {class: 'frame'}, item.removed ? gone() : still(item, width, ''), marks),
        h('span', {class: 'shot-words'},
          h('time', {datetime: new Date(item.at).toISOString()}, clockTime(item.at)),
          h('span', {}, cameraTitle(item.camera))));
}

export function dropCard(element) {
    dropStill(element.querySelector('img'));
    element.remove();
}

const gone = () => h('span', {class: 'still-gone'}, icon('gone'), h('span', {}, 'Tidied away'));
