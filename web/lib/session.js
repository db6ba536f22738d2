/* Who is at the keyboard, and what he may do. */

import {api, get, post, useCsrf} from './api.js';

/* A daemon without logins lets everybody do everything, as on loopback. */
const OPEN = {user: null, role: 'admin', how: 'loopback', login_required: false, csrf: ''};

export let session = OPEN;

export async function loadSession() {
    try {
        take(await get(api('session')));
    } catch (error) {
        if (error.status === 401)
            sessionEnded();
        else if (!error.missing)
            throw error;
    }
    return session;
}

export async function logIn(user, password) {
    take(await post(api('login'), {user, password}));
}

export async function logOut() {
    await post(api('logout'));
    await loadSession();
}

/* The daemon wants a login, whatever we thought. */
export function sessionEnded() {
    take({...OPEN, role: null, how: null, login_required: true});
}

export async function changePassword(password, next) {
    take(await post(api('password'), {password, new: next}));
}

export const isAdmin = () => session.role === 'admin';
export const needsLogin = () => session.login_required && !session.role;

function take(document) {
    session = document;
    useCsrf(document.csrf);
}
