/* The lists of the timeline, told by a stream that is made up. */

import assert from 'node:assert/strict';
import {test} from 'node:test';

let stream = null;
globalThis.document = {hidden: false, addEventListener() {}, removeEventListener() {}};
globalThis.EventSource = class extends EventTarget {
    static CLOSED = 2;
    constructor() {
        super();
        stream = this;
    }
    close() {}
};
const pages = [];
globalThis.fetch = async path => {
    pages.push(path);
    return new Response(JSON.stringify({snapshots: [], next: null}));
};

const {startEvents} = await import('../../web/lib/events.js');
const {keptStore, storeOf, WAITING_MAX} = await import('../../web/lib/timeline_store.js');
startEvents();

const snapshot = (n, labels = [], more = {}) => ({
    id: String(n).padStart(32, '0'), camera: 'porch', event_at: new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString(),
    state: 'examined', starred: false, removed: false, deleted_at: null, links: {},
    verdict: {outcome: 'examined', persons: 0, detections: labels.map(label => ({label}))}, ...more,
});
const tell = (kind, document) => stream.dispatchEvent(Object.assign(new Event(kind), {data: JSON.stringify(document), lastEventId: ''}));
const filters = text => new URLSearchParams(text);

test('a list that no page shows hears what comes', async () => {
    const store = storeOf(filters('camera=porch'));
    await store.more();
    tell('snapshot', snapshot(1));
    store.settle();
    assert.deepEqual(store.items.map(i => i.id), [snapshot(1).id]);
});

test('a list that nobody looks at for long is let go, and loaded anew when it is wanted', async () => {
    const store = storeOf(filters(''));
    await store.more();
    for (let n = 0; n <= WAITING_MAX; n++) {
        assert.equal(keptStore(filters('')), store);
        tell('snapshot', snapshot(1000 + n));
    }
    assert.equal(keptStore(filters('')), undefined);
    const asked = pages.length;
    await storeOf(filters('')).more();
    assert.equal(pages.length, asked + 1);
});

test('all labels of a picture count, not only those that are shown', async () => {
    const store = storeOf(filters('label=kite'));
    await store.more();
    tell('verdict', snapshot(2, ['car', 'truck', 'bus', 'dog', 'kite', 'car']));
    assert.equal(store.waiting.length, 1);
});

test('what is not like the search any more leaves the list', async () => {
    const store = storeOf(filters('state=stored'));
    await store.more();
    tell('snapshot', snapshot(3, [], {state: 'stored', verdict: null}));
    store.settle();
    assert.equal(store.items.length, 1);
    tell('verdict', snapshot(3));
    assert.equal(store.items.length, 0);
});
