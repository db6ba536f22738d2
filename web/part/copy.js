/* Text for the clipboard. Browsers give that only to pages over TLS or from the machine itself; over
 * plain HTTP from elsewhere the text is shown, selected, for the hand. */

import {h} from '../lib/dom.js';
import {sheet} from './sheet.js';
import {toast} from './toast.js';

const LINE = 40; /* letters, on a phone */
const LINES_MAX = 8;

/* copy(text, {done: 'The link is copied', title: 'The link'}): what is said then, and above what is shown. */
export async function copy(text, {done = 'Copied', title = 'Copy it from here'} = {}) {
    try {
        await navigator.clipboard.writeText(text);
        toast(done);
    } catch {
        const field = h('textarea', {class: 'input copy', readonly: true, rows: rows(text), 'aria-label': title});
        field.value = text;
        sheet(title, h('p', {class: 'soft'}, 'The browser lets this page copy nothing. Here it is, to be taken by hand.'), field);
        field.focus();
        field.select();
    }
}

const rows = text => Math.min(LINES_MAX, text.split('\n').reduce((n, line) => n + Math.max(1, Math.ceil(line.length / LINE)), 0));
