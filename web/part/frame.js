/* What surrounds every page: the bar with the four places, who is here, whether what is shown is
 * live, and the regions that speak to screen readers. */

import {connection, on, stopEvents} from '../lib/events.js';
import {fill, h, setText} from '../lib/dom.js';
import {CAN, has} from '../lib/features.js';
import {go} from '../lib/router.js';
import {isAdmin, logOut, needsLogin, session} from '../lib/session.js';
import {icon} from './icon.js';
import {applyTheme, nextTheme, themeWord} from './theme.js';
import {toast, toastRegion} from './toast.js';

const PLACES = [
    ['wall', '/', 'Live'],
    ['timeline', '/timeline', 'Timeline'],
    ['cameras', '/cameras', 'Cameras', 'camera'],
    ['system', '/system', 'System'],
];
const CONNECTION_WORDS = {
    starting: 'Connecting', live: 'Live', polling: 'Every few seconds', lost: 'Connection lost',
};

const LOST_MS = 1500; /* a shorter gap is no news */
let lostTimer = 0;

const nav = h('nav', {class: 'places', 'aria-label': 'Pages'});
const tools = h('div', {class: 'bar-tools'});
const pulse = h('span', {class: 'pulse', role: 'status'});
const lost = h('p', {class: 'lost', role: 'alert', hidden: true});
const view = h('main', {id: 'view', tabindex: '-1'});
const voice = h('div', {class: 'unseen', 'aria-live': 'polite', id: 'voice'});

export function buildFrame() {
    applyTheme();
    document.body.replaceChildren(
        h('a', {class: 'skip', href: '#view', onclick: skip}, 'Skip to the content'),
        h('header', {class: 'bar'},
          h('a', {class: 'brand', href: '/'},
            h('img', {src: '/assets/icon.svg', alt: '', width: 26, height: 26}),
            h('span', {}, 'snapshot', h('i', {}, 'processor'))),
          nav, pulse, tools),
        lost, view, toastRegion(), voice);
    on('connection', showConnection);
    showConnection(connection);
    return view;
}

/* The session may have changed: other tools, other places. */
export function refreshFrame() {
    const away = needsLogin();
    document.body.classList.toggle('away', away);
    fill(nav, !away && PLACES.map(([name, path, word, picture]) =>
        h('a', {href: path, data: {place: name}}, icon(picture ?? name), h('span', {}, word))));
    fill(tools, themeButton(),
         !away && (session.user || isAdmin() && has(CAN.users)) &&
             h('a', {class: 'tool', href: '/access', title: 'Users and tokens', 'aria-label': 'Users and tokens'}, icon('access')),
         !away && session.user &&
             h('button', {class: 'tool', type: 'button', title: `Log out ${session.user}`, 'aria-label': `Log out ${session.user}`, onclick: leave},
               icon('out')));
    markPlace(document.body.dataset.page);
}

export function frameShows(name) {
    const first = !document.body.dataset.page;
    document.body.dataset.page = name;
    markPlace(name);
    if (!first) /* the keyboard goes on in the new page; on arrival it begins at the top */
        view.focus({preventScroll: true});
}

/* The title of the page that is open, in the tab and, unless it is drawn, for screen readers. */
export function titled(title) {
    document.title = `${title} · snapshot-processor`;
}

/* Says something to screen readers alone. */
export function say(text) {
    setText(voice, text);
}

function markPlace(name) {
    for (const link of nav.children) {
        if (link.dataset.place === name)
            link.setAttribute('aria-current', 'page');
        else
            link.removeAttribute('aria-current');
    }
}

function showConnection(state) {
    pulse.dataset.state = state;
    fill(pulse, h('i', {}), h('span', {}, CONNECTION_WORDS[state]));
    clearTimeout(lostTimer);
    if (state === 'lost') {
        lostTimer = setTimeout(sayLost, LOST_MS);
    } else if (!lost.hidden) {
        lost.hidden = true;
        if (state !== 'starting')
            toast('The connection is back');
    }
}

/* Words of an alert are spoken when they come. */
function sayLost() {
    lost.hidden = false;
    setText(lost, 'The daemon does not answer. What you see may be old; this page goes on by itself when it is back.');
}

function themeButton() {
    const button = h('button', {class: 'tool', type: 'button'}, icon('theme'));
    const label = () => {
        button.title = `Colours: ${themeWord()}`;
        button.setAttribute('aria-label', button.title);
    };
    button.addEventListener('click', () => {
        nextTheme();
        label();
        say(button.title);
    });
    label();
    return button;
}

async function leave() {
    try {
        await logOut();
        if (needsLogin())
            stopEvents();
        refreshFrame();
        go('/login');
    } catch (error) {
        toast(error.message, {tone: 'bad'});
    }
}

function skip(event) {
    event.preventDefault();
    view.focus();
}
