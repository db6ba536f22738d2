/* A short message at the bottom, with one way to answer it, also by a key. It goes by itself, but not while
 * the pointer or the keyboard is on it. */

import {h} from '../lib/dom.js';
import {icon} from './icon.js';
import {isForOthers} from './keys.js';

const STAYS_MS = 8000;
const ANSWER_MS = 15000; /* one has to hear of it, and to decide */
const ANSWER_KEY = 'u';
let region = null;

export function toastRegion() {
    document.addEventListener('keydown', event => {
        const answer = [...region.querySelectorAll('.toast-action')].at(-1);
        if (event.key !== ANSWER_KEY || !answer || isForOthers(event))
            return;
        event.preventDefault();
        answer.click();
    });
    region = h('div', {class: 'toasts', role: 'status', 'aria-live': 'polite'});
    return region;
}

/* toast('Deleted', {action: 'Undo', then: f, tone: 'bad'}) */
export function toast(text, {action, then, tone = 'plain'} = {}) {
    const stays = action ? ANSWER_MS : STAYS_MS;
    const box = h('div', {class: 'toast', data: {tone}},
        tone === 'bad' && icon('alert'),
        h('span', {}, text),
        action && h('button', {type: 'button', class: 'toast-action', 'aria-keyshortcuts': ANSWER_KEY, onclick: () => { gone(); then(); }},
            action, h('kbd', {'aria-hidden': 'true'}, ANSWER_KEY), h('span', {class: 'unseen'}, ` by the key ${ANSWER_KEY}`)),
        h('button', {type: 'button', class: 'toast-close', 'aria-label': 'Dismiss', onclick: gone}, icon('close')));
    let timer = setTimeout(gone, stays);
    const hold = () => clearTimeout(timer);
    const release = () => {
        hold();
        timer = setTimeout(gone, stays);
    };
    box.addEventListener('pointerenter', hold);
    box.addEventListener('pointerleave', release);
    box.addEventListener('focusin', hold);
    box.addEventListener('focusout', release);
    while (region.childElementCount > 1)
        region.firstChild.remove();
    region.append(box);

    function gone() {
        clearTimeout(timer);
        box.remove();
    }
}

/* Does something and tells when it failed; true when it did not. */
export async function attempt(work, words = '') {
    try {
        await work();
        if (words)
            toast(words);
        return true;
    } catch (error) {
        toast(error.message, {tone: 'bad'});
        return false;
    }
}
