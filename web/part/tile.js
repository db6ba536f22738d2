/* One camera on the wall. A new picture lies over the old one only when it is there whole. */

import {api, post} from '../lib/api.js';
import {fill, h, setText} from '../lib/dom.js';
import {isAdmin} from '../lib/session.js';
import {brief, newestOf, pagePath, pictureUrl, wholeUrl} from '../lib/snapshot.js';
import {ago, cameraCondition, cameraTitle} from '../lib/words.js';
import {boxLines} from './boxes.js';
import {icon} from './icon.js';
import {badges, described} from './picture.js';
import {attempt} from './toast.js';

const TILE_WIDTH = 640;
const canBeAsked = camera => camera.kind !== 'push' && camera.state !== 'off';

export function tile(camera, signal) {
    const title = cameraTitle(camera.name);
    const page = `/cameras/${encodeURIComponent(camera.name)}`;
    const nothing = () => h('span', {class: 'still-gone'}, icon('camera'), h('span', {}, 'No picture yet'));
    const pictures = h('span', {class: 'tile-pictures'}, nothing());
    const lines = h('span', {class: 'tile-boxes'});
    const marks = h('span', {class: 'tile-marks'});
    const link = h('a', {class: 'frame', href: page}, h('span', {class: 'unseen'}, title), pictures, lines, marks);
    const state = h('span', {class: 'tone'});
    const when = h('time', {class: 'soft'});
    const why = h('p', {class: 'tile-why', hidden: true});
    const shutter = h('button', {
        class: 'shutter', type: 'button',
        'aria-label': `Take a picture with ${title} now`, title: 'Take a picture now',
        onclick: take,
    }, icon('shutter'));
    const element = h('li', {class: 'tile', data: {camera: camera.name}}, link,
        h('div', {class: 'tile-words'},
          h('h2', {}, h('a', {href: page}, title)),
          state, when, shutter),
        why);
    let shown = null;
    let tone = '';
    changed({});

    return {element, arrived, told, changed, tick, load, tone: () => tone};

    async function load() {
        const newest = await newestOf(camera.name, signal);
        if (newest)
            arrived(newest);
        return newest;
    }

    /* A picture went to the trash or came back: another may be the newest. */
    async function told(id, what) {
        if (what === 'undeleted')
            return load().catch(() => {}); /* it stays as it is */
        if (what !== 'deleted' || shown?.id !== id)
            return;
        shown = null;
        if (await load().catch(() => true) || shown)
            return; /* or nobody knows better */
        link.href = page;
        fill(pictures, nothing());
        fill(lines);
        fill(marks);
        tick();
    }

    function arrived(shot) {
        const at = Date.parse(shot.event_at);
        if (shown && at < shown.at)
            return;
        const known = shown?.id === shot.id;
        if (known && shown.examined && !shot.verdict)
            return;
        shown = {id: shot.id, at, examined: Boolean(shot.verdict)};
        const item = brief(shot);
        camera.last_picture_at = shot.received_at;
        link.href = pagePath(shot.id);
        if (!known)
            showPicture(item);
        fill(marks, badges(item, 2), h('span', {class: 'unseen'}, ` ${described(item)}`));
        if (shot.verdict || !known)
            fill(lines, shot.verdict && boxLines(shot));
        element.classList.toggle('with-people', item.persons > 0);
        tick();
    }

    function showPicture(item) {
        const image = h('img', {class: 'still', alt: '', decoding: 'async'});
        const ready = () => {
            if (shown?.id !== item.id)
                return image.remove();
            image.classList.add('here');
            const old = [...pictures.children].filter(c => c !== image);
            setTimeout(() => old.forEach(o => o.remove()), 250); /* the time it takes to fade in */
        };
        image.addEventListener('load', ready);
        image.addEventListener('error', () => {
            if (image.getAttribute('src') !== wholeUrl(item.id))
                image.src = wholeUrl(item.id);
            else
                image.remove();
        });
        pictures.append(image);
        image.src = pictureUrl(item, TILE_WIDTH);
    }

    function changed(news) {
        Object.assign(camera, news);
        shutter.hidden = !isAdmin() || !canBeAsked(camera);
        tick();
    }

    /* Time passes: the age of the picture, and whether that is silence. */
    function tick() {
        const condition = cameraCondition(camera);
        tone = condition.tone;
        state.dataset.tone = tone;
        setText(state, condition.word);
        setText(when, shown ? ago(shown.at) : '');
        why.hidden = !condition.why;
        setText(why, condition.why);
        element.dataset.tone = tone;
    }

    async function take() {
        shutter.disabled = true;
        shutter.classList.add('busy');
        await attempt(() => post(api('cameras', camera.name, 'trigger') + '?wait=20'));
        shutter.disabled = false;
        shutter.classList.remove('busy');
    }
}
