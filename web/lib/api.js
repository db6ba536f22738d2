/* The API, as doc/api.md describes it. Every failure is an ApiError with a sentence for people. */

class ApiError extends Error {
    constructor(status, code, message) {
        super(message);
        this.status = status;
        this.code = code;
    }

    /* The daemon does not have this route (yet): pages then leave out what needs it. */
    get missing() {
        return this.code === 'no-such-path' || this.code === 'method-not-allowed';
    }
}

let csrf = '';
let whenLoggedOut = () => {};

/* What changing requests must carry, and who is told that a login is needed. */
export function useCsrf(token) {
    csrf = token ?? '';
}
export function onLoginRequired(listener) {
    whenLoggedOut = listener;
}

export function get(path, signal) {
    return request('GET', path, undefined, signal);
}
export function post(path, body) {
    return request('POST', path, body);
}
export function remove(path) {
    return request('DELETE', path);
}

/* A path of the API from parts, each escaped: api('cameras', name, 'trigger'). */
export function api(...parts) {
    return '/api/v1/' + parts.map(encodeURIComponent).join('/');
}

async function request(method, path, body, signal) {
    const headers = {Accept: 'application/json'};
    if (method !== 'GET' && csrf)
        headers['X-CSRF-Token'] = csrf;
    if (body !== undefined)
        headers['Content-Type'] = 'application/json';
    let answer;
    try {
        answer = await fetch(path, {
            method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch (error) {
        if (error.name === 'AbortError')
            throw error;
        throw new ApiError(0, 'unreachable', 'The daemon cannot be reached. Is it running?');
    }
    const document = await parsed(answer);
    if (answer.ok)
        return document;
    const {code = 'unknown', message = `The daemon answered ${answer.status}.`} = document?.error ?? {};
    if (answer.status === 401 && code === 'login-required')
        whenLoggedOut();
    throw new ApiError(answer.status, code, message);
}

async function parsed(answer) {
    try {
        return await answer.json();
    } catch (error) {
        if (error.name === 'AbortError')
            throw error;
        return null;
    }
}
