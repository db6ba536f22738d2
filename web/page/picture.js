/* One picture: large, with what was found on it, its story, and what can be done with it. Its
 * neighbours are those of the search that one came from. */

import {api, get, post} from '../lib/api.js';
import {fill, h} from '../lib/dom.js';
import {on} from '../lib/events.js';
import {CAN, has} from '../lib/features.js';
import {apiFilters, filtersOf} from '../lib/filters.js';
import {go, rewrite} from '../lib/router.js';
import {isAdmin} from '../lib/session.js';
import {brief, pagePath, pictureUrl, wholeUrl} from '../lib/snapshot.js';
import {keptStore} from '../lib/timeline_store.js';
import {aboutTime, cameraTitle, clockTime, dayName} from '../lib/words.js';
import {boxLabels, boxLines} from '../part/boxes.js';
import {copy} from '../part/copy.js';
import {say, titled} from '../part/frame.js';
import {gestures} from '../part/gestures.js';
import {icon} from '../part/icon.js';
import {keys} from '../part/keys.js';
import {described} from '../part/picture.js';
import {moveToTrash, restore, setStar} from '../part/snapshot_actions.js';
import {seen, story, fileFacts} from '../part/snapshot_facts.js';
import {attempt, toast} from '../part/toast.js';

const BOXES_KEY = 'boxes';

export async function open(view, {params, query, signal}) {
    const filters = filtersOf(query);
    const home = '/timeline' + (filters.size ? '?' + filters : '');
    let shot = await get(api('snapshots', params.id), signal);
    let beside = {newer: null, older: null};
    let shown = 0; /* counts what is shown, so that late answers are dropped */
    let boxesOn = kept();

    const stage = h('div', {class: 'stage'});
    const zoom = gestures(stage, way => step(way < 0 ? 'newer' : 'older'));
    const newer = h('button', {class: 'beside newer', type: 'button', 'aria-label': 'Newer picture', onclick: () => step('newer')}, icon('left'));
    const older = h('button', {class: 'beside older', type: 'button', 'aria-label': 'Older picture', onclick: () => step('older')}, icon('right'));
    const facts = h('div', {class: 'facts'});
    view.append(h('article', {class: 'picture-page'},
        h('div', {class: 'stage-place'},
          h('a', {class: 'button back', href: home}, icon('back'), 'Timeline'), stage, newer, older), facts));
    listenToKeys();
    on('verdict', document => document.id === shot.id && again(), signal);
    on('changed', ({id}) => id === shot.id && again(), signal);
    on('reset', again, signal);
    draw(true);

    /* `whole`: another picture, not only other facts about it. */
    function draw(whole) {
        const title = `${cameraTitle(shot.camera)}, ${clockTime(Date.parse(shot.event_at))}`;
        titled(title);
        if (whole) {
            zoom.reset();
            drawStage();
            say(`${title}: ${described(brief(shot))}`);
            findNeighbours(++shown);
        }
        stage.querySelectorAll('.boxes, .box-labels').forEach(e => e.remove());
        stage.append(boxLines(shot, 'meet'), boxLabels(shot));
        showBoxes();
        const focused = document.activeElement?.dataset?.action;
        fill(facts, head(), actions(), seen(shot, point), story(shot), fileFacts(shot));
        if (focused)
            facts.querySelector(`[data-action="${focused}"]`)?.focus();
    }

    function drawStage() {
        const item = brief(shot);
        const ratio = shot.width && shot.height ? shot.width / shot.height : 4 / 3;
        stage.style.setProperty('--ratio', ratio.toFixed(4));
        if (shot.removed)
            return fill(stage, h('span', {class: 'still-gone'}, icon('gone'),
                h('span', {}, 'The picture was tidied away; what is known of it stays.')));
        const small = item.small && h('img', {class: 'stage-small', alt: '', src: pictureUrl(item, 320)});
        const large = h('img', {
            class: 'stage-large', alt: `${cameraTitle(shot.camera)}: ${described(item)}`, src: wholeUrl(shot.id),
            onerror: () => fill(stage, missing()),
        });
        fill(stage, small, large);
    }

    /* An image does not say why it fails. */
    function missing() {
        return h('span', {class: 'still-gone'}, icon('gone'), h('span', {}, 'The picture does not come: it is gone, or the daemon is busy.'),
            h('button', {class: 'button', type: 'button', onclick: () => { drawStage(); again(); }}, icon('again'), 'Try again'));
    }

    function head() {
        const at = Date.parse(shot.event_at);
        return h('header', {class: 'facts-head'},
            h('h1', {}, h('a', {href: `/cameras/${encodeURIComponent(shot.camera)}`}, cameraTitle(shot.camera))),
            h('p', {class: 'soft'}, `${dayName(at)}, `, h('time', {datetime: shot.event_at}, clockTime(at))),
            shot.deleted_at && h('p', {class: 'notice'}, icon('trash'), inTrash(),
                isAdmin() && h('button', {class: 'button', type: 'button', onclick: () => restore(shot.id, again)}, 'Bring it back')));
    }

    function inTrash() {
        return shot.purge_at ? `In the trash until about ${aboutTime(Date.parse(shot.purge_at))}` : 'In the trash';
    }

    function actions() {
        const button = (name, picture, word, action, more = {}) =>
            h('button', {class: `button ${name}`, type: 'button', data: {action: name}, onclick: action, ...more}, icon(picture), word);
        const admin = isAdmin() && !shot.deleted_at;
        return h('div', {class: 'actions'},
            admin && button('star', 'star', shot.starred ? 'Starred' : 'Star', star, {'aria-pressed': String(shot.starred)}),
            button('boxes-switch', 'boxes', 'Boxes', switchBoxes, {'aria-pressed': String(boxesOn)}),
            h('a', {class: 'button', href: shot.links.image + '?download=1', download: shot.path.split('/').pop()}, icon('download'), 'Download'),
            admin && has(CAN.link) && button('share', 'link', 'Copy link', share, {title: 'A link that works for an hour, without a login'}),
            admin && has(CAN.detect) && button('examine', 'again', 'Examine again', examine),
            admin && gaveUp(shot) && button('upload', 'upload', 'Upload again', upload, {title: 'Tries again what a storage did not get'}),
            admin && has(CAN.delete) && button('danger', 'trash', 'Delete', trash));
    }

    async function star() {
        const document = await setStar(shot.id, !shot.starred);
        if (document?.id === shot.id) {
            shot = {...document, story: document.story ?? shot.story};
            draw(false);
        }
    }

    function switchBoxes() {
        boxesOn = !boxesOn;
        keep(boxesOn);
        facts.querySelector('.boxes-switch').setAttribute('aria-pressed', String(boxesOn));
        showBoxes();
    }
    function showBoxes() {
        stage.classList.toggle('plain', !boxesOn);
    }

    /* One detection, under the pointer in the list; null: none. */
    function point(index) {
        stage.classList.toggle('pointing', index !== null);
        for (const part of stage.querySelectorAll('[data-index]'))
            part.classList.toggle('pointed', Number(part.dataset.index) === index);
    }

    function examine(event) {
        event.currentTarget.classList.add('busy');
        return attempt(() => post(api('snapshots', shot.id, 'detect')), 'It is examined again').then(again);
    }

    function upload() {
        return attempt(async () => {
            const {again: n} = await post(api('snapshots', shot.id, 'upload-again'));
            toast(n ? `${n} of its files are tried again` : 'No storage had given it up');
        });
    }

    function share() {
        return attempt(async () => {
            const {url} = await post(api('snapshots', shot.id, 'link') + '?expires=3600');
            await copy(new URL(url, location.origin).href, {done: 'The link is copied. It works for an hour.', title: 'The link works for an hour'});
        });
    }

    async function trash() {
        const {id} = shot;
        const then = beside.older ?? beside.newer;
        if (!await moveToTrash(id, () => go(pagePath(id, filters.toString()))))
            return;
        if (then)
            showOther(then);
        else
            go(home);
    }

    async function again() {
        try {
            const id = shot.id;
            const document = await get(api('snapshots', id), signal);
            if (id === shot.id) {
                shot = document;
                draw(false);
            }
        } catch { /* what is shown was true a moment ago */ }
    }

    async function findNeighbours(mine) {
        beside = {newer: null, older: null};
        const store = keptStore(filters);
        const at = store ? store.find(shot.id) : -1;
        if (at >= 0)
            beside = {newer: store.items[at - 1]?.id ?? null, older: store.items[at + 1]?.id ?? null};
        markNeighbours();
        if (has(CAN.neighbours))
            try {
                const found = await get(api('snapshots', shot.id, 'neighbours') + '?' + apiFilters(filters), signal);
                if (mine === shown) /* what it has not found in its time the list may know */
                    beside = found.exact === false ? {newer: found.newer ?? beside.newer, older: found.older ?? beside.older} : found;
            } catch { /* then there are those of the list, or none */ }
        if (mine !== shown || signal.aborted)
            return;
        markNeighbours();
        if (store)
            store.selected = shot.id;
        for (const id of [beside.newer, beside.older])
            if (id)
                new Image().src = wholeUrl(id);
    }

    function markNeighbours() {
        newer.disabled = !beside.newer;
        older.disabled = !beside.older;
    }

    function step(side) {
        if (beside[side])
            return showOther(beside[side]);
    }

    async function showOther(id) {
        const mine = ++shown;
        try {
            const document = await get(api('snapshots', id), signal);
            if (mine !== shown)
                return;
            shot = document;
            rewrite(pagePath(id, filters.toString()));
            draw(true);
        } catch (error) {
            if (error.name !== 'AbortError')
                toast(error.message, {tone: 'bad'});
        }
    }

    function listenToKeys() {
        keys([
            [['ArrowRight', 'j'], 'older picture', () => step('older')],
            [['ArrowLeft', 'k'], 'newer picture', () => step('newer')],
            [['b'], 'boxes on or off', switchBoxes],
            [['z'], 'nearer, or whole again', zoom.toggle],
            ...isAdmin() ? [[['s'], 'star it, or take the star away', () => !shot.deleted_at && star()]] : [],
            [['d'], 'download', () => facts.querySelector('a[download]')?.click()],
            ...isAdmin() && has(CAN.delete) ? [[['x', 'Delete'], 'delete it', () => !shot.deleted_at && trash()]] : [],
            [['Escape'], 'back to the timeline', () => go(home)],
        ], signal);
    }
}

/* Whether some storage did not get it in the end. */
const gaveUp = shot => (shot.story ?? []).some(step => step.what === 'not kept');

function kept() {
    try {
        return localStorage.getItem(BOXES_KEY) !== 'off';
    } catch {
        return true;
    }
}
function keep(boxesOn) {
    try {
        localStorage.setItem(BOXES_KEY, boxesOn ? 'on' : 'off');
    } catch { /* then the choice ends with the page */ }
}
