/* What a page shows in place of itself when it cannot be shown, or has nothing to show. */

import {fill, h} from '../lib/dom.js';
import {icon} from './icon.js';

export function trouble(place, error, again) {
    if (error.status === 404)
        return fill(place, h('div', {class: 'empty', role: 'alert'},
            icon('gone'), h('h1', {}, 'It is not here'), h('p', {}, error.message),
            h('a', {class: 'button', href: '/timeline'}, 'To the timeline')));
    fill(place, h('div', {class: 'empty', role: 'alert'},
        icon('alert'), h('h1', {}, 'This did not work'), h('p', {}, error.message),
        h('button', {class: 'button', type: 'button', onclick: again}, icon('again'), 'Try again')));
}

export function emptiness(picture, title, words, ...more) {
    return h('div', {class: 'empty'}, icon(picture), h('h2', {}, title), h('p', {}, words), more);
}
