/* One camera: its newest picture large, those before it, and how it is. */

import {api, get} from '../lib/api.js';
import {fill, h} from '../lib/dom.js';
import {on, untilListed} from '../lib/events.js';
import {show} from '../lib/router.js';
import {brief} from '../lib/snapshot.js';
import {ago, cameraCondition, cameraTitle} from '../lib/words.js';
import {cameraActions} from '../part/camera_actions.js';
import {card, cardOf, placeCard} from '../part/card.js';
import {titled} from '../part/frame.js';
import {icon} from '../part/icon.js';
import {tile} from '../part/tile.js';
import {emptiness} from '../part/trouble.js';
import {kindWords} from './cameras.js';

const BEFORE = 24;

export async function open(view, {params, signal}) {
    const title = cameraTitle(params.name);
    titled(title);
    const {cameras} = await get(api('cameras'), signal);
    const camera = cameras.find(c => c.name === params.name);
    if (!camera)
        return view.append(emptiness('camera', 'No such camera', `No camera is called “${params.name}”.`,
            h('a', {class: 'button', href: '/cameras'}, 'All cameras')));
    const large = tile(camera, signal);
    const actions = cameraActions(camera, changed);
    const facts = h('dl', {class: 'file-facts'});
    const shots = h('div', {class: 'shots'});
    view.append(
        h('a', {class: 'button back', href: '/cameras'}, icon('back'), 'Cameras'),
        h('div', {class: 'camera-page'},
          h('ul', {class: 'wall', data: {count: 1}}, large.element),
          h('div', {class: 'facts'}, h('header', {}, h('h1', {}, title)), actions.element, facts)),
        h('section', {class: 'lately', 'aria-labelledby': 'before'},
          h('div', {class: 'section-head'}, h('h2', {id: 'before'}, 'Its last pictures'),
            h('a', {class: 'more', href: `/timeline?camera=${encodeURIComponent(camera.name)}`}, 'All in the timeline')),
          shots));
    const early = untilListed(arrived);
    changed({});
    on('snapshot', arrived, signal);
    on('verdict', arrived, signal);
    on('changed', ({id, what}) => {
        if (what === 'deleted')
            cardOf(shots, id)?.remove();
        large.told(id, what);
    }, signal);
    on('reset', show, signal);
    on('camera', ({name, ...news}) => name === camera.name && changed(news), signal);
    const clock = setInterval(() => { large.tick(); showFacts(); }, 1000);
    signal.addEventListener('abort', () => clearInterval(clock));

    const page = await get(api('snapshots') + '?' + new URLSearchParams({camera: camera.name, limit: BEFORE}), signal);
    fill(shots, page.snapshots.map(s => card(brief(s), {query: `camera=${encodeURIComponent(camera.name)}`})));
    shots.parentElement.hidden = page.snapshots.length === 0;
    early.listed();
    if (page.snapshots[0]) {
        const {width, height} = page.snapshots[0];
        large.element.parentElement.style.setProperty('--ratio', width && height ? String(width / height) : '3 / 2');
        large.arrived(page.snapshots[0]);
    }

    function arrived(shot) {
        if (shot.camera !== camera.name)
            return;
        early.keep(shot);
        large.arrived(shot);
        cardOf(shots, shot.id)?.remove();
        placeCard(shots, card(brief(shot), {query: `camera=${encodeURIComponent(camera.name)}`}), BEFORE);
        shots.parentElement.hidden = false;
    }

    function changed(news) {
        large.changed(news);
        actions.refresh();
        showFacts();
    }

    function showFacts() {
        const condition = cameraCondition(camera);
        const row = (name, value) => value && [h('dt', {}, name), h('dd', {}, value)];
        const now = [condition.word, camera.last_picture_at && ago(Date.parse(camera.last_picture_at)), camera.last_ms, camera.failures].join();
        if (facts.dataset.now === now)
            return;
        facts.dataset.now = now;
        fill(facts,
            row('State', h('span', {class: 'tone', data: {tone: condition.tone}}, condition.word)),
            row('Kind', kindWords(camera)),
            row('Device', camera.device_key),
            row('Answers', camera.last_ms > 0 && `in ${Math.max(1, Math.round(camera.last_ms))} ms`),
            row('Picture', camera.last_picture_at ? ago(Date.parse(camera.last_picture_at)) : 'none yet'),
            row('Failures', camera.failures > 0 && `${camera.failures} in a row`));
    }
}
