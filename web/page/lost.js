/* An address that leads nowhere. */

import {h} from '../lib/dom.js';
import {titled} from '../part/frame.js';
import {emptiness} from '../part/trouble.js';

export function open(view) {
    titled('Not found');
    view.append(emptiness('gone', 'There is nothing here', 'The address may be mistyped, or what it showed is gone.',
        h('a', {class: 'button', href: '/'}, 'To the live view')));
}
