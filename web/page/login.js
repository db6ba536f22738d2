/* Who is there? */

import {h, setText} from '../lib/dom.js';
import {go} from '../lib/router.js';
import {logIn, needsLogin} from '../lib/session.js';
import {titled} from '../part/frame.js';

export function open(view, {query}) {
    titled('Log in');
    const to = inside(query.get('to'));
    if (!needsLogin())
        return go(to, {replace: true});
    const failure = h('p', {class: 'form-failure', role: 'alert'});
    const button = h('button', {class: 'button strong', type: 'submit'}, 'Log in');
    const user = h('input', {class: 'input', name: 'user', autocomplete: 'username', required: true, autocapitalize: 'none', spellcheck: 'false'});
    const password = h('input', {class: 'input', name: 'password', type: 'password', autocomplete: 'current-password', required: true});
    view.append(h('form', {class: 'login', onsubmit: submit},
        h('img', {src: '/assets/icon.svg', alt: '', width: 56, height: 56}),
        h('h1', {}, 'Log in'),
        h('label', {class: 'field'}, 'User', user),
        h('label', {class: 'field'}, 'Password', password),
        failure, button,
        h('details', {class: 'login-help'},
          h('summary', {}, 'No user yet, or the password is lost?'),
          h('p', {}, 'There is no user and no password to begin with. Make one on the machine that the daemon runs on:'),
          h('pre', {tabindex: '0'}, 'snapshotd user add anna --role admin'),
          h('p', {}, 'And ', h('code', {}, 'snapshotd user passwd anna'), ' gives her another password.'))));
    user.focus();

    async function submit(event) {
        event.preventDefault();
        button.disabled = true;
        setText(failure, '');
        try {
            await logIn(user.value, password.value);
            dispatchEvent(new Event('logged-in'));
            go(to, {replace: true});
        } catch (error) {
            setText(failure, error.message);
            password.value = '';
            password.focus();
        }
        button.disabled = false;
    }
}

/* Only a path of ours: a link to the login must not lead elsewhere. */
function inside(path) {
    try {
        const url = new URL(path ?? '/', location.origin);
        return url.origin === location.origin && url.pathname !== '/login' ? url.pathname + url.search : '/';
    } catch {
        return '/';
    }
}
