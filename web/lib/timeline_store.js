/* The pictures of one search, as far as they are loaded: newest first, more at the end on demand,
 * new ones in front. Kept while the program is open, so that the way back from a picture leads to
 * the very place. */

import {api, get} from './api.js';
import {on} from './events.js';
import {apiFilters, matches} from './filters.js';
import {brief} from './snapshot.js';

const FIRST_PAGE = 60; /* what a large screen shows, soon */
const NEXT_PAGE = 500;
const STORES_KEPT = 4;
export const WAITING_MAX = 500; /* beyond that a new search is less work than to put them all in their places */
export const ITEMS_MAX = 200_000; /* tens of megabytes */

const stores = new Map();

/* The store of these filters; `fresh` when it is to be loaded anew, as the trash always is. */
export function storeOf(filters, fresh = false) {
    const key = filters.toString();
    if (fresh || !stores.has(key) || filters.has('deleted'))
        stores.set(key, new TimelineStore(filters));
    const store = stores.get(key);
    stores.delete(key);
    stores.set(key, store); /* the last used last */
    for (const old of [...stores.keys()].slice(0, -STORES_KEPT))
        stores.delete(old);
    return store;
}

/* What happens while no timeline is open. */
on('snapshot', hear);
on('verdict', hear);
on('reset', forget);
on('changed', ({id, what}) => {
    if (what === 'deleted')
        hidden().forEach(store => store.drop(id));
    if (what === 'undeleted')
        forget();
});

const hidden = () => [...stores.values()].filter(store => !store.shown);

function hear(document) {
    const item = brief(document);
    for (const store of hidden())
        if (!store.update(item) && matches(store.filters, item) === true && store.arrive(item) && store.full)
            stores.delete(store.filters.toString());
}

/* The lists that no page shows: they are loaded anew when they are wanted. */
export function forget() {
    for (const [key, store] of [...stores])
        if (!store.shown)
            stores.delete(key);
}

export const keptStore = filters => stores.get(filters.toString());

class TimelineStore {
    constructor(filters) {
        this.filters = filters;
        this.shown = false; /* a page shows it, and tells it the news */
        this.items = [];
        this.waiting = []; /* arrived while somebody was looking further down */
        this.known = new Set();
        this.scroll = 0;
        this.selected = null;
        this.loading = null;
        this.next = api('snapshots') + '?' + new URLSearchParams([...apiFilters(filters), ['limit', FIRST_PAGE]]);
    }

    get complete() {
        return this.next === null;
    }

    /* More waits than is worth keeping. */
    get full() {
        return this.waiting.length > WAITING_MAX;
    }

    /* Loads the next page; several callers share one transfer. */
    more(signal) {
        this.loading ??= this.load(signal).finally(() => { this.loading = null; });
        return this.loading;
    }

    async load(signal) {
        const page = await get(this.next, signal);
        for (const document of page.snapshots)
            if (!this.known.has(document.id)) {
                this.known.add(document.id);
                this.items.push(brief(document));
            }
        this.next = page.next?.replace(/([?&]limit=)\d+/, `$1${NEXT_PAGE}`) ?? null;
    }

    /* A new picture: waits until somebody wants to see it. */
    arrive(item) {
        if (this.known.has(item.id))
            return false;
        this.known.add(item.id);
        this.waiting.push(item);
        return true;
    }

    /* Puts what waits in its place by time: a slow camera's picture may be older than the newest. */
    settle() {
        for (const item of this.waiting) {
            let at = 0;
            while (at < this.items.length && this.items[at].at > item.at)
                at++;
            if (at < this.items.length || this.complete)
                this.items.splice(at, 0, item);
            else
                this.known.delete(item.id); /* a later page brings it */
        }
        this.waiting = [];
    }

    find(id) {
        return this.items.findIndex(item => item.id === id);
    }

    /* What is known of a picture that is here; one that is not like the search any more goes. */
    update(item) {
        if (this.known.has(item.id) && matches(this.filters, item) === false) {
            this.drop(item.id);
            return true;
        }
        for (const list of [this.items, this.waiting]) {
            const at = list.findIndex(i => i.id === item.id);
            if (at >= 0) {
                list[at] = item;
                return true;
            }
        }
        return false;
    }

    drop(id) {
        this.items = this.items.filter(item => item.id !== id);
        this.waiting = this.waiting.filter(item => item.id !== id);
        this.known.delete(id);
    }
}

/* A picture has changed or gone, whichever list shows it. */
export function updateEverywhere(item) {
    for (const store of stores.values())
        store.update(item);
}
export function dropEverywhere(id) {
    for (const store of stores.values())
        store.drop(id);
}
