/* A short message at the bottom, with one way to answer it. It goes by itself, but not while the
 * pointer or the keyboard is on it. */

import {h} from '../lib/dom.js';
import {icon} from './icon.js';

const STAYS_MS = 8000;
let region = null;

export function toastRegion() {
    region = h('div', {class: 'toasts', role: 'status', 'aria-live': 'polite'});
    return region;
}

/* toast('Deleted', {action: 'Undo', then: f, tone: 'bad'}) */
export function toast(text, {action, then, tone = 'plain'} = {}) {
    const box = h('div', {class: 'toast', data: {tone}},
        tone === 'bad' && icon('alert'),
        h('span', {}, text),
        action && h('button', {type: 'button', class: 'toast-action', onclick: () => { gone(); then(); }}, action),
        h('button', {type: 'button', class: 'toast-close', 'aria-label': 'Dismiss', onclick: gone}, icon('close')));
    let timer = setTimeout(gone, STAYS_MS);
    const hold = () => clearTimeout(timer);
    const release = () => {
        hold();
        timer = setTimeout(gone, STAYS_MS);
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
