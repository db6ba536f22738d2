/* All pictures, newest first: filters, search, and a grid that goes on for ever. */

import {api, get} from '../lib/api.js';
import {fill, h, setText} from '../lib/dom.js';
import {on} from '../lib/events.js';
import {CAN, has} from '../lib/features.js';
import {apiFilters, filtersOf, matches, withFilter} from '../lib/filters.js';
import {go, rewrite} from '../lib/router.js';
import {isAdmin} from '../lib/session.js';
import {brief, pagePath} from '../lib/snapshot.js';
import {dropEverywhere, ITEMS_MAX, storeOf} from '../lib/timeline_store.js';
import {number, plural} from '../lib/words.js';
import {activity} from '../part/activity.js';
import {filterBar} from '../part/filter_bar.js';
import {say, titled} from '../part/frame.js';
import {icon} from '../part/icon.js';
import {keys} from '../part/keys.js';
import {PictureGrid} from '../part/picture_grid.js';
import {moveToTrash, setStar} from '../part/snapshot_actions.js';
import {emptiness, trouble} from '../part/trouble.js';

const AT_TOP_PX = 40;
const COUNT_AGAIN_MS = 1500;

export async function open(view, {query, signal}) {
    let filters = filtersOf(query);
    let store = null;
    let newest = 0; /* counts the searches, so that a late answer to an old one is dropped */
    let recount = 0; /* the timer of countAgain() */
    let stale = false; /* things happened that nobody told */

    const {cameras} = await get(api('cameras'), signal);
    const head = h('h1', {});
    const count = h('p', {class: 'count', role: 'status'});
    const place = h('span', {});
    const zip = h('a', {class: 'button', download: '', title: 'All pictures of this search in one zip file'}, icon('download'), h('span', {}, 'Zip'));
    const inTrash = () => filters.get('deleted') === '1';
    const bar = filterBar(filters, cameras.map(c => c.name), change);
    const chart = activity(day => change('to', day), signal);
    const fresh = h('button', {class: 'button strong fresh-pill', type: 'button', hidden: true, onclick: showFresh}, icon('up'), h('span', {}));
    const end = h('div', {class: 'grid-end', 'aria-live': 'polite'});
    const grid = new PictureGrid({onNeed: need, onMove: moved, signal});
    view.append(
        h('div', {class: 'page-head timeline-head'}, head, count, h('div', {class: 'end'}, place, zip)),
        bar.element, chart.element, h('div', {class: 'fresh-place'}, fresh), grid.element, end);

    on('snapshot', arrived, signal);
    on('verdict', arrived, signal);
    on('changed', ({id, what}) => reload(id, what), signal);
    on('reset', missed, signal);
    listenToKeys();
    signal.addEventListener('abort', () => {
        store.scroll = store.wasAt ?? 0;
        store.shown = false;
    });
    await search(false);

    function change(name, value) {
        filters = name === null ? filtersOf(new URLSearchParams()) : withFilter(filters, name, value);
        rewrite('/timeline' + (filters.size ? '?' + filters : ''));
        if (name === null) { /* every field is emptied */
            const emptied = filterBar(filters, cameras.map(c => c.name), change);
            bar.element.replaceWith(emptied.element);
            Object.assign(bar, emptied);
        }
        bar.refresh(filters);
        return search(true);
    }

    async function search(again) {
        const mine = ++newest;
        stale = false;
        if (store)
            store.shown = false;
        store = storeOf(filters, again);
        store.shown = true;
        const from = again ? 0 : store.scroll;
        const asked = apiFilters(filters).toString();
        zip.href = '/api/v1/snapshots.zip' + (asked ? '?' + asked : '');
        fresh.hidden = true;
        showPlace();
        setText(count, '');
        chart.load(filters);
        showCount(mine);
        try {
            if (store.items.length === 0 && !store.complete)
                await store.more();
        } catch (error) {
            if (mine === newest && !signal.aborted)
                trouble(end, error, () => search(true));
            return;
        }
        if (mine !== newest || signal.aborted)
            return;
        if (from < AT_TOP_PX)
            store.settle(); /* what came while the first page did, too */
        grid.use(store, filters.toString());
        scrollTo(0, from);
        grid.render();
        showEnd();
        showWaiting();
        if (!again && store.selected)
            grid.cells.get(store.selected)?.focus({preventScroll: true});
    }

    /* The trash is the timeline of what was deleted: the same search, another heading. */
    function showPlace() {
        const trash = inTrash();
        setText(head, trash ? 'Trash' : 'Timeline');
        titled(head.textContent);
        zip.hidden = trash || !has(CAN.zip);
        fill(place, has(CAN.undelete) && (trash
            ? h('a', {class: 'button', href: '/timeline'}, icon('back'), 'Timeline')
            : h('a', {class: 'button', href: '/timeline?deleted=1', 'aria-label': 'Trash', title: 'What was deleted lately'}, icon('trash'))));
    }

    /* More is wanted; a page may be empty and still not be the last. */
    async function need() {
        const from = store;
        if (from.loading || from.failed)
            return;
        showEnd();
        try {
            await from.more();
        } catch (error) {
            from.failed = true;
            if (from === store && !signal.aborted)
                fill(end, h('p', {}, error.message), h('button', {
                    class: 'button', type: 'button', onclick: () => { from.failed = false; need(); },
                }, 'Go on'));
            return;
        }
        if (from !== store || signal.aborted)
            return;
        grid.changed();
        showEnd();
    }

    function showEnd() {
        if (!store.complete)
            return fill(end, h('p', {class: 'soft'}, store.items.length ? 'Loading more …' : 'Searching …'));
        if (store.items.length)
            return fill(end, h('p', {class: 'soft'}, 'That is all.'));
        fill(end, inTrash() && filters.size === 1
            ? emptiness('trash', 'The trash is empty', 'What is deleted can be brought back from here, until its time is over.')
            : filters.size
            ? emptiness('search', 'No picture is like that', 'Fewer filters find more.',
                        h('button', {class: 'button', type: 'button', onclick: () => change(null)}, 'Clear the filters'))
            : emptiness('camera', 'No pictures yet', 'They appear here as soon as a camera has given one.',
                        cameras.length === 0 && h('a', {class: 'button', href: '/cameras'}, 'Add a camera')));
    }

    async function showCount(mine) {
        if (!has(CAN.count))
            return;
        const asked = apiFilters(filters);
        try {
            const {count: n, exact} = await get(api('snapshots', 'count') + '?' + asked, signal);
            if (mine === newest)
                setText(count, exact ? plural(n, 'picture') : `more than ${number(n)} pictures`);
        } catch { /* it would be nice to know, and that is all */ }
    }

    function countAgain() {
        recount ||= setTimeout(() => {
            recount = 0;
            if (!signal.aborted)
                showCount(newest);
        }, COUNT_AGAIN_MS);
    }

    function arrived(document) {
        if (!store)
            return;
        const item = brief(document);
        if (store.update(item)) {
            if (store.find(item.id) < 0)
                countAgain();
            return grid.changed();
        }
        if (stale || matches(filters, item) !== true)
            return;
        item.fresh = Date.now();
        if (!store.arrive(item))
            return;
        countAgain();
        if (grid.store !== store)
            return; /* its first page is on the way, and takes what waits along */
        if (store.full)
            return missed();
        if (scrollY < AT_TOP_PX)
            return showFresh();
        showWaiting();
    }

    function showWaiting() {
        if (stale)
            return;
        fresh.hidden = store.waiting.length === 0;
        setText(fresh.lastChild, plural(store.waiting.length, 'new picture'));
    }

    function showFresh() {
        if (stale || store.items.length > ITEMS_MAX)
            return search(true);
        const away = scrollY >= AT_TOP_PX;
        store.settle();
        fresh.hidden = true;
        if (away)
            scrollTo(0, 0);
        grid.changed();
        showEnd();
    }

    /* The daemon cannot say what has happened since: at the top all is loaded anew, and further down,
     * where somebody reads, that waits behind the button. */
    function missed() {
        if (scrollY < AT_TOP_PX)
            return search(true);
        stale = true;
        fresh.hidden = false;
        setText(fresh.lastChild, 'Something is new');
    }

    function moved() {
        if (grid.store !== store)
            return;
        store.wasAt = scrollY;
        if (scrollY < AT_TOP_PX && (stale || store.waiting.length))
            showFresh();
    }

    /* Somebody starred or deleted it, here or elsewhere. */
    async function reload(id, what) {
        if (what === (inTrash() ? 'undeleted' : 'deleted'))
            return vanish(id);
        if (store.find(id) < 0 && what !== 'undeleted' && !(what === 'starred' && filters.has('starred')))
            return;
        try {
            arrived(await get(api('snapshots', id), signal));
        } catch { /* it stays as it is shown */ }
    }

    function vanish(id) {
        dropEverywhere(id);
        grid.changed();
        countAgain();
    }

    /* The selection goes on to the picture that has come into this place. */
    function selectAgain(at) {
        grid.changed();
        countAgain();
        if (store.items.length)
            grid.selectAt(Math.min(at, store.items.length - 1));
    }

    function listenToKeys() {
        const step = name => () => tell(grid.select(name));
        const chosen = () => store.items[store.find(store.selected)];
        const changing = [
            [['s'], 'star it, or take the star away', async () => {
                const item = chosen();
                const at = store.find(item?.id);
                if (!item || item.deleted || !await setStar(item.id, !item.starred) || signal.aborted)
                    return;
                if (store.find(item.id) < 0)
                    selectAgain(at);
                else
                    grid.changed();
            }],
            [['x', 'Delete'], 'delete it', async () => {
                const item = chosen();
                const at = store.find(item?.id);
                if (!item || item.deleted || !await moveToTrash(item.id, () => !signal.aborted && search(true)) || signal.aborted)
                    return;
                vanish(item.id);
                selectAgain(at);
            }],
        ];
        keys([
            [['j', 'ArrowRight'], 'next picture', step('next')],
            [['k', 'ArrowLeft'], 'previous picture', step('previous')],
            [['ArrowDown'], 'one row down', step('down')],
            [['ArrowUp'], 'one row up', step('up')],
            [['Enter'], 'open it', event => {
                const item = chosen();
                if (!item || event.target.closest?.('a, button'))
                    return false;
                go(pagePath(item.id, filters.toString()));
            }],
            ...isAdmin() ? changing : [],
            [['/'], 'search', () => bar.focusSearch()],
        ], signal);
    }

    function tell(item) {
        if (item)
            say(grid.cells.get(item.id)?.words ?? '');
    }
}
