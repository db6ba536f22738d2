/* All cameras: how each is, its last picture, and what it can be told to do. */

import {api, get} from '../lib/api.js';
import {fill, h, setText} from '../lib/dom.js';
import {on} from '../lib/events.js';
import {show} from '../lib/router.js';
import {brief, newestOf, pagePath} from '../lib/snapshot.js';
import {ago, cameraCondition, cameraTitle, plural} from '../lib/words.js';
import {cameraActions} from '../part/camera_actions.js';
import {firstSteps} from '../part/first_steps.js';
import {titled} from '../part/frame.js';
import {icon} from '../part/icon.js';
import {badges, described, still} from '../part/picture.js';

const KINDS = {push: 'pushes its pictures', http: 'asked over HTTP'};
export const kindWords = camera => KINDS[camera.kind] ?? `asked as ${camera.kind}`;

export async function open(view, {signal}) {
    titled('Cameras');
    const {cameras} = await get(api('cameras'), signal);
    const list = h('ul', {class: 'cameras'});
    view.append(h('div', {class: 'page-head'}, h('h1', {}, 'Cameras'), h('p', {}, plural(cameras.length, 'camera'))), list);
    if (cameras.length === 0)
        return list.replaceWith(firstSteps(signal));
    const rows = new Map(cameras.map(camera => [camera.name, row(camera, signal)]));
    fill(list, [...rows.values()].map(r => r.element));
    const arrived = shot => rows.get(shot.camera)?.arrived(shot);
    on('snapshot', arrived, signal);
    on('verdict', arrived, signal);
    on('changed', ({id, what, camera}) => rows.get(camera)?.told(id, what), signal);
    on('reset', show, signal);
    on('camera', ({name, ...news}) => rows.get(name)?.changed(news), signal);
    const clock = setInterval(() => rows.forEach(r => r.tick()), 1000);
    signal.addEventListener('abort', () => clearInterval(clock));
    await Promise.all(cameras.map(async camera => {
        const newest = await newestOf(camera.name, signal);
        if (newest)
            arrived(newest);
    }));
}

function row(camera, signal) {
    const page = `/cameras/${encodeURIComponent(camera.name)}`;
    const picture = h('a', {class: 'frame', href: page, tabindex: '-1', 'aria-hidden': 'true'}, h('span', {class: 'still-gone'}, icon('camera')));
    const state = h('span', {class: 'tone'});
    const line = h('p', {class: 'soft'});
    const why = h('p', {class: 'why'});
    const actions = cameraActions(camera, changed, signal);
    const element = h('li', {class: 'camera card', data: {camera: camera.name}}, picture,
        h('div', {class: 'camera-words'},
          h('div', {class: 'camera-head'}, h('h2', {}, h('a', {href: page}, cameraTitle(camera.name))), state), line, why),
        actions.element);
    let latest = null;
    changed({});
    return {element, arrived, told, changed, tick};

    /* A picture went to the trash or came back: another may be the newest. */
    async function told(id, what) {
        if (what !== 'undeleted' && (what !== 'deleted' || latest?.id !== id))
            return;
        if (what === 'deleted')
            latest = null;
        const newest = await newestOf(camera.name, signal).catch(() => undefined);
        if (newest)
            arrived(newest);
        else if (newest === null && !latest) {
            picture.href = page;
            fill(picture, h('span', {class: 'still-gone'}, icon('camera')));
        }
    }

    function arrived(shot) {
        const item = brief(shot);
        if (latest && item.at < latest.at)
            return;
        const same = latest?.id === item.id;
        latest = item;
        camera.last_picture_at = shot.received_at;
        picture.href = pagePath(item.id);
        if (!same)
            fill(picture, still(item, 320, described(item)));
        picture.querySelector('.badges')?.remove();
        picture.append(badges(item, 0));
        tick();
    }

    function changed(news) {
        Object.assign(camera, news);
        actions.refresh();
        tick();
    }

    function tick() {
        const condition = cameraCondition(camera);
        state.dataset.tone = condition.tone;
        setText(state, condition.word);
        const parts = [kindWords(camera), camera.last_ms > 0 && `answers in ${Math.max(1, Math.round(camera.last_ms))} ms`,
            camera.last_picture_at ? `last picture ${ago(Date.parse(camera.last_picture_at))}` : 'no picture yet'];
        setText(line, parts.filter(Boolean).join(' · '));
        why.hidden = !condition.why;
        setText(why, condition.why + (camera.failures > 1 ? ` (${camera.failures} times in a row)` : ''));
    }
}
