/* An address that leads nowhere. */

import {h} from '../lib/dom.js';
import {titled} from '../part/frame.js';
import {icon} from '../part/icon.js';

export function open(view) {
    titled('Not found');
    view.append(h('div', {class: 'empty'}, icon('gone'), h('h1', {}, 'There is nothing here'),
        h('p', {}, 'The address may be mistyped, or what it showed is gone.'),
        h('a', {class: 'button', href: '/'}, 'To the live view')));
}
