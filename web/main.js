/* Begins here: the session, the frame around all pages, and which address shows which page. */

import {onLoginRequired} from './lib/api.js';
import {startEvents, stopEvents} from './lib/events.js';
import {loadFeatures} from './lib/features.js';
import {go, route, show, startRouter} from './lib/router.js';
import {loadSession, needsLogin} from './lib/session.js';
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
    if (location.pathname !== '/login')
        go('/login?to=' + encodeURIComponent(location.pathname + location.search));
});
addEventListener('logged-in', () => {
    refreshFrame();
    startEvents();
});
addEventListener('page-failed', ({detail}) => trouble(view, detail, show));

await Promise.all([loadFeatures(), loadSession().catch(() => {})]); /* unreachable: the page says so, with a way to try again */
refreshFrame();
if (needsLogin() && location.pathname !== '/login')
    history.replaceState(null, '', '/login?to=' + encodeURIComponent(location.pathname + location.search));
if (!needsLogin())
    startEvents();
startRouter(view, frameShows);
