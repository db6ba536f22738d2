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

/* Rows of section, key, value and source, however deep the document has them. */
function table(document) {
    return h('table', {class: 'table'},
        h('thead', {}, h('tr', {}, ['Key', 'Value', 'From'].map(t => h('th', {scope: 'col'}, t)))),
        h('tbody', {}, rows(document).map(([key, value, from]) =>
            h('tr', {}, h('td', {class: 'mono'}, key), h('td', {class: 'mono'}, value), h('td', {class: 'soft'}, from)))));
}

function rows(node, path = []) {
    if (Array.isArray(node))
        return node.flatMap(n => rows(n, path));
    if (node === null || typeof node !== 'object')
        return [[path.join('.'), String(node ?? ''), '']];
    if ('value' in node) {
        const key = [...path, node.section, node.key ?? node.name].filter(Boolean).join('.');
        return [[key, text(node.value), String(node.from ?? node.source ?? '')]];
    }
    if (Array.isArray(node.keys))
        return rows(node.keys, [...path, node.name ?? node.section].filter(Boolean));
    return Object.entries(node).flatMap(([name, child]) => rows(child, name === 'sections' || name === 'config' ? path : [...path, name]));
}

const text = value => value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
