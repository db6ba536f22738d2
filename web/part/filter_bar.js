/* Search and filters. Each change calls `change(name, value)`; the page owns the filters. */

import {h} from '../lib/dom.js';
import {cameraTitle} from '../lib/words.js';
import {icon} from './icon.js';

const TYPING_MS = 250;
const LABELS = ['person', 'car', 'truck', 'bus', 'motorcycle', 'bicycle', 'dog', 'cat'];

export function filterBar(filters, cameras, change) {
    const search = searchField(filters.get('q') ?? '', text => change('q', text.trim()));
    const people = toggle('person', 'People', 'person', filters.get('person') === '1', on => change('person', on ? '1' : null));
    const stars = toggle('star', 'Starred', 'star', filters.get('starred') === '1', on => change('starred', on ? '1' : null));
    const camera = choice('Camera', 'Any camera', withCurrent(cameras, filters.get('camera')).map(c => [c, cameraTitle(c)]),
                          filters.get('camera'), value => change('camera', value));
    const label = choice('What was seen', 'Anything seen', withCurrent(LABELS, filters.get('label')).map(l => [l, l]),
                         filters.get('label'), value => change('label', value));
    const until = h('input', {
        class: 'input date', type: 'date', 'aria-label': 'Up to this day', title: 'Up to this day',
        value: (filters.get('to') ?? '').slice(0, 10),
    });
    until.classList.toggle('set', Boolean(until.value));
    until.addEventListener('change', () => change('to', until.value));
    const more = moreFilters(filters, change);
    const clear = h('button', {class: 'button quiet clear', type: 'button', onclick: () => change(null)}, 'Clear');
    clear.hidden = filters.size === 0;
    const element = h('form', {class: 'filters', role: 'search', 'aria-label': 'Filters', onsubmit: e => e.preventDefault()},
        search.element, people, stars, camera, label, until, more, clear);
    return {
        element,
        focusSearch: () => search.input.select(),
        /* Shows what may have been chosen elsewhere, and whether there is something to clear. */
        refresh: now => {
            until.value = (now.get('to') ?? '').slice(0, 10);
            until.classList.toggle('set', Boolean(until.value));
            clear.hidden = now.size === 0;
        },
    };
}

function searchField(value, change) {
    const input = h('input', {
        type: 'search', class: 'input', placeholder: 'Search cameras, labels, file names', value,
        'aria-label': 'Search', enterkeyhint: 'search', autocomplete: 'off', spellcheck: 'false',
    });
    let timer = 0;
    input.addEventListener('input', () => {
        clearTimeout(timer);
        timer = setTimeout(() => change(input.value), TYPING_MS);
    });
    input.addEventListener('keydown', event => {
        if (event.key === 'Escape') {
            event.stopPropagation();
            input.blur();
        }
        if (event.key === 'Enter') {
            clearTimeout(timer);
            change(input.value);
            input.blur();
        }
    });
    return {input, element: h('div', {class: 'search'}, icon('search'), input, h('kbd', {'aria-hidden': 'true'}, '/'))};
}

function toggle(picture, word, name, pressed, change) {
    const button = h('button', {class: `button ${name}`, type: 'button', 'aria-pressed': String(pressed)}, icon(picture), word);
    button.addEventListener('click', () => {
        const now = button.getAttribute('aria-pressed') !== 'true';
        button.setAttribute('aria-pressed', String(now));
        change(now);
    });
    return button;
}

function choice(name, any, options, value, change) {
    const select = h('select', {class: 'select', 'aria-label': name},
        h('option', {value: ''}, any), options.map(([v, words]) => h('option', {value: v, selected: v === value}, words)));
    select.classList.toggle('set', Boolean(value));
    select.addEventListener('change', () => {
        select.classList.toggle('set', select.value !== '');
        change(select.value);
    });
    return select;
}

/* What is asked for seldom. */
function moreFilters(filters, change) {
    const day = h('input', {class: 'input', type: 'date', 'aria-label': 'From this day', value: (filters.get('from') ?? '').slice(0, 10)});
    day.addEventListener('change', () => change('from', day.value));
    const row = (words, field) => h('label', {class: 'field'}, words, field);
    const of = (words, name, any, options) => row(words, choice(words, any, options, filters.get(name), value => change(name, value)));
    const set = ['from', 'confidence', 'source', 'state', 'deleted'].some(name => filters.has(name));
    const panel = h('div', {class: 'more-panel card'},
        row('From', day),
        of('At least so sure', 'confidence', 'Any', [['0.5', '50 %'], ['0.7', '70 %'], ['0.9', '90 %']]),
        of('How it came', 'source', 'Any way', [['fetched', 'asked for'], ['pushed', 'pushed by the camera']]),
        of('State', 'state', 'Any', [['stored', 'not examined yet'], ['examined', 'examined']]),
        of('Place', 'deleted', 'Pictures', [['1', 'Trash']]));
    const details = h('details', {class: 'more-filters'},
        h('summary', {class: `button${set ? ' set' : ''}`}, icon('filter'), 'More'), panel);
    details.addEventListener('focusout', event => {
        if (event.relatedTarget && !details.contains(event.relatedTarget))
            details.open = false;
    });
    details.addEventListener('keydown', event => {
        if (event.key === 'Escape' && details.open) {
            event.stopPropagation();
            details.open = false;
            details.firstChild.focus();
        }
    });
    return details;
}

const withCurrent = (list, value) => value && !list.includes(value) ? [...list, value] : list;
