/* The configuration in force, masked by the daemon; asked for when somebody wants to see it. */

import {api, get} from '../lib/api.js';
import {fill, h} from '../lib/dom.js';

export function configTable(signal) {
    const body = h('div', {class: 'scroll-x', tabindex: '0', role: 'region', 'aria-label': 'Configuration'});
    const details = h('details', {class: 'card config'}, h('summary', {}, h('h2', {}, 'Configuration')), body);
    details.addEventListener('toggle', async () => {
        if (!details.open || body.childElementCount)
            return;
        try {
            fill(body, table(await get(api('config'), signal)));
        } catch (error) {
            fill(body, h('p', {class: 'why panel-words'}, error.message));
        }
    }, {signal});
    return details;
}

function table({sections}) {
    return h('table', {class: 'table'},
        h('thead', {}, h('tr', {}, ['Key', 'Value', 'From'].map(t => h('th', {scope: 'col'}, t)))),
        h('tbody', {}, sections.flatMap(section => section.keys.map(key => h('tr', {},
            h('td', {class: 'mono', title: key.help}, `${section.name}${section.instance ? `:${section.instance}` : ''}.${key.name}`),
            h('td', {class: 'mono'}, text(key.value)),
            h('td', {class: 'soft'}, [key.origin, key.source].filter(Boolean).join(', ')))))));
}

const text = value => value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
