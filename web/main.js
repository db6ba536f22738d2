/* Begins here: the session, the frame around all pages, and which address shows which page. */

import {onLoginRequired} from './lib/api.js';
import {on, startEvents, stopEvents} from './lib/events.js';
import {loadFeatures} from './lib/features.js';
import {go, route, show, startRouter} from './lib/router.js';
import {loadSession, needsLogin, sessionEnded} from './lib/session.js';
import {buildFrame, frameShows, refreshFrame} from './part/frame.js';
import {trouble} from './part/trouble.js';

route('/', 'wall', () => import('./page/wall.js'));
route('/timeline', 'timeline', () => import('./page/timeline.js'));
route('/snapshots/{id}', 'timeline', () => import('./page/picture.js'));
route('/cameras', 'cameras', () => import('./page/cameras.js'));
route('/cameras/{name}', 'cameras', () => import('./page/camera.js'));
route('/system', 'system', () => import('./page/system.js'));
route('/access', 'access', () => import('./page/access.js'));
route('/login', 'login', () => import('./page/login.js'));
route('/lost', 'lost', () => import('./page/lost.js'));

const view = buildFrame();

onLoginRequired(() => {
    stopEvents();
    sessionEnded();
    refreshFrame();
    if (location.pathname !== '/login')
        go('/login?to=' + encodeURIComponent(location.pathname + location.search));
});
addEventListener('logged-in', () => {
    refreshFrame();
    startEvents();
});

/* A page that failed comes by itself as soon as the daemon is back. */
let failed = null;
addEventListener('page-failed', ({detail}) => {
    failed = detail;
    trouble(view, failed, again);
});
on('connection', state => failed && state === 'live' && again());

async function again() {
    if (failed.stale)
        return location.reload();
    await loadSession().then(refreshFrame, () => {}); /* unreachable still: the page says so */
    show();
}

await Promise.all([loadFeatures(), loadSession().catch(() => {})]); /* unreachable: the page says so, with a way to try again */
refreshFrame();
if (needsLogin() && location.pathname !== '/login')
    history.replaceState(null, '', '/login?to=' + encodeURIComponent(location.pathname + location.search));
if (!needsLogin())
    startEvents();
startRouter(view, name => {
    failed = null;
    frameShows(name);
});
