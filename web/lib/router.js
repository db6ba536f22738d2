/* Addresses to pages, without reloading. A page is a module with
 *   open(view, {params, query, signal}): draws into the element `view`; everything that it listens
 *   to or fetches ends with `signal`. */

const routes = [];
let leave = new AbortController();
let view = null;
let afterwards = () => {};

export function route(pattern, name, load) {
    const names = [];
    const expression = pattern.replace(/\{(\w+)\}/g, (_, n) => (names.push(n), '([^/]+)'));
    routes.push({expression: new RegExp(`^${expression}/?$`), names, name, load});
}

/* `shown(name, path)` is called for each page that opens. */
export function startRouter(element, shown) {
    view = element;
    afterwards = shown;
    history.scrollRestoration = 'manual'; /* pages come back to their place themselves */
    addEventListener('popstate', show);
    document.addEventListener('click', followLink);
    return show();
}

export function go(path, {replace = false} = {}) {
    history[replace ? 'replaceState' : 'pushState'](null, '', path);
    return show();
}

/* Only writes the address: for filters and positions of the page that is open. */
export function rewrite(path) {
    history.replaceState(null, '', path);
}

export async function show() {
    leave.abort();
    leave = new AbortController();
    const {signal} = leave;
    const found = find(location.pathname) ?? find('/lost');
    try {
        const page = await loaded(found);
        if (signal.aborted)
            return;
        view.replaceChildren();
        scrollTo(0, 0);
        afterwards(found.name, location.pathname);
        await page.open(view, {
            params: found.params, query: new URLSearchParams(location.search), signal,
        });
    } catch (error) {
        if (error.name !== 'AbortError' && !signal.aborted)
            dispatchEvent(new CustomEvent('page-failed', {detail: error}));
    }
}

/* A browser does not ask twice for a module that it could not get: only a reload brings it. */
async function loaded(found) {
    try {
        return await found.load();
    } catch {
        throw Object.assign(new Error('This page could not be loaded. Is the daemon running?'), {stale: true});
    }
}

function find(path) {
    for (const {expression, names, name, load} of routes) {
        const match = expression.exec(path);
        if (match)
            return {name, load, params: Object.fromEntries(names.map((n, i) => [n, decoded(match[i + 1])]))};
    }
    return null;
}

function decoded(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

/* Links of our own are followed here; with a key held down, or elsewhere, by the browser. */
function followLink(event) {
    const link = event.target.closest?.('a[href]');
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey ||
        event.shiftKey || event.altKey || link.target || link.hasAttribute('download'))
        return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !find(url.pathname))
        return;
    event.preventDefault();
    if (url.href !== location.href)
        go(url.pathname + url.search);
}
