/* What happens, as it happens. on('snapshot' | 'verdict' | 'changed' | 'camera' | 'status' | 'reset' |
 * 'connection', listener, signal). Server-sent events bring it; where they are missing or cut off,
 * asking every few seconds brings the same kinds, so that pages need not know. A hidden tab listens
 * to nothing (browsers allow six connections in all) and catches up when it is looked at. */

import {api, get} from './api.js';

const KINDS = ['snapshot', 'verdict', 'changed', 'camera', 'status', 'reset'];
const POLL_MS = 3000;
const EARLY_MAX = 60; /* more than a list shows */
const STREAM_AGAIN_MS = 20000;

const target = new EventTarget();
let source = null;
let lastId = '';
let pollTimer = 0;
let streamTimer = 0;
let listening = 0; /* counts beginnings and ends, so that late answers are dropped */
export let connection = 'starting'; /* live, polling, lost */

export function on(kind, listener, signal) {
    target.addEventListener(kind, event => listener(event.detail), {signal});
}

export function startEvents() {
    document.addEventListener('visibilitychange', follow);
    follow();
}
export function stopEvents() {
    document.removeEventListener('visibilitychange', follow);
    pause();
    become('starting');
}

function follow() {
    if (document.hidden)
        pause();
    else if (!source && !pollTimer)
        stream();
}

function pause() {
    listening++;
    source?.close();
    source = null;
    clearTimeout(pollTimer);
    clearTimeout(streamTimer);
    pollTimer = streamTimer = 0;
}

function stream() {
    source = new EventSource(api('events') + (lastId ? `?last_event_id=${encodeURIComponent(lastId)}` : ''));
    source.onopen = () => {
        clearTimeout(pollTimer);
        pollTimer = 0;
        become('live');
    };
    source.onerror = () => {
        if (source?.readyState !== EventSource.CLOSED)
            return become('lost'); /* the browser tries again by itself */
        source = null;
        streamTimer = setTimeout(stream, STREAM_AGAIN_MS);
        if (!pollTimer)
            poll();
    };
    for (const kind of KINDS)
        source.addEventListener(kind, event => {
            lastId = event.lastEventId || lastId;
            if (kind === 'reset')
                lastId = '';
            tell(kind, parse(event.data));
        });
}

function parse(text) {
    try {
        return JSON.parse(text);
    } catch {
        return {};
    }
}

function tell(kind, detail) {
    target.dispatchEvent(new CustomEvent(kind, {detail}));
}

function become(state) {
    if (state === connection)
        return;
    connection = state;
    tell('connection', state);
}

/* ---- asking instead ---- */

const seen = new Map(); /* id -> state of the newest snapshots */
const conditions = new Map();

async function poll() {
    const mine = listening;
    try {
        const [page, cameras, status] = await Promise.all([
            get(api('snapshots') + '?limit=50'), get(api('cameras')), get(api('status')),
        ]);
        if (mine !== listening)
            return;
        if (source?.readyState !== EventSource.OPEN)
            become('polling');
        compare(page.snapshots);
        for (const camera of cameras.cameras) {
            const now = JSON.stringify([camera.state, camera.failures, camera.enabled, camera.last_error]);
            if (conditions.has(camera.name) && conditions.get(camera.name) !== now)
                tell('camera', camera);
            conditions.set(camera.name, now);
        }
        tell('status', status);
    } catch {
        if (mine !== listening)
            return;
        if (source?.readyState !== EventSource.OPEN)
            become('lost');
    }
    if (source?.readyState !== EventSource.OPEN)
        pollTimer = setTimeout(poll, POLL_MS);
}

function compare(snapshots) {
    const first = seen.size === 0;
    for (const snapshot of [...snapshots].reverse()) {
        const before = seen.get(snapshot.id);
        const now = snapshot.state + snapshot.starred;
        seen.set(snapshot.id, now);
        if (first || before === now)
            continue;
        if (before === undefined)
            tell('snapshot', snapshot);
        if (snapshot.state === 'examined')
            tell('verdict', snapshot);
    }
    for (const id of [...seen.keys()].slice(0, Math.max(0, seen.size - 200)))
        seen.delete(id);
}

/* News that come while a list is asked for, which may not know them: told once more when it is there. */
export function untilListed(told) {
    let early = [];
    return {
        keep(document) {
            if (early?.push(document) > EARLY_MAX)
                early.shift();
        },
        listed() {
            const came = early;
            early = null;
            came.forEach(told);
        },
    };
}
