/* A dialog over the page: a title, a way to close it, and what it is for. It ends when it is closed. */

import {h} from '../lib/dom.js';
import {icon} from './icon.js';

export function sheet(title, ...content) {
    const close = h('button', {class: 'tool', type: 'button', 'aria-label': 'Close', onclick: () => dialog.close()}, icon('close'));
    const dialog = h('dialog', {class: 'sheet', 'aria-labelledby': 'sheet-head', onclose: () => dialog.remove()},
        h('div', {},
          h('div', {class: 'section-head'}, h('h2', {id: 'sheet-head'}, title), h('span', {class: 'more'}, close)),
          content));
    document.body.append(dialog);
    dialog.showModal();
}
