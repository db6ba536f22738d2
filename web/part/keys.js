/* Keys of a page: one table gives what they do and the sheet that explains them. */

import {h} from '../lib/dom.js';
import {sheet} from './sheet.js';

/* keys([[['j', 'ArrowRight'], 'next picture', f], ...], signal). Keys in fields are the fields'. */
export function keys(table, signal) {
    const actions = new Map([[ '?', () => explain(table)]]);
    for (const [names, , action] of table)
        for (const name of names)
            actions.set(name, action);
    document.addEventListener('keydown', event => {
        if (isForOthers(event))
            return;
        const action = actions.get(event.key);
        if (action && action(event) !== false)
            event.preventDefault();
    }, {signal});
}

/* Keys of the browser, of a field, or of a dialog. */
export function isForOthers(event) {
    const {target} = event;
    return event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey ||
        target.matches?.('input, select, textarea, summary') || target.isContentEditable ||
        document.querySelector('dialog[open]') !== null;
}

const NAMES = {
    ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Enter: 'Enter', Escape: 'Esc', Delete: 'Del',
};

function explain(table) {
    sheet('Keys', h('dl', {class: 'keys'}, [...table, [['u'], 'undo, while that is offered'], [['?'], 'this list']].map(([names, words]) => [
        h('dt', {}, names.map(name => h('kbd', {}, NAMES[name] ?? name))), h('dd', {}, words)])));
}
