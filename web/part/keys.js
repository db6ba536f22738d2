/* Keys of a page: one table gives what they do and the sheet that explains them. */

import {h} from '../lib/dom.js';
import {icon} from './icon.js';

/* keys([[['j', 'ArrowRight'], 'next picture', f], ...], signal). Keys in fields are the fields'. */
export function keys(table, signal) {
    const actions = new Map([[ '?', () => explain(table)]]);
    for (const [names, , action] of table)
        for (const name of names)
            actions.set(name, action);
    document.addEventListener('keydown', event => {
        if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || inField(event.target) ||
            document.querySelector('dialog[open]'))
            return;
        const action = actions.get(event.key);
        if (action && action(event) !== false)
            event.preventDefault();
    }, {signal});
}

function inField(target) {
    return target.matches?.('input, select, textarea, summary') || target.isContentEditable;
}

const NAMES = {
    ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Enter: 'Enter', Escape: 'Esc', Delete: 'Del',
};

function explain(table) {
    const close = h('button', {class: 'tool', type: 'button', 'aria-label': 'Close', onclick: () => dialog.close()}, icon('close'));
    const dialog = h('dialog', {class: 'sheet', 'aria-labelledby': 'keys-head', onclose: () => dialog.remove()},
        h('div', {},
          h('div', {class: 'section-head'}, h('h2', {id: 'keys-head'}, 'Keys'), h('span', {class: 'more'}, close)),
          h('dl', {class: 'keys'}, [...table, [['?'], 'this list']].map(([names, words]) => [
              h('dt', {}, names.map(name => h('kbd', {}, NAMES[name] ?? name))), h('dd', {}, words)]))));
    document.body.append(dialog);
    dialog.showModal();
}
