/* What this daemon can do: the list of paths that `GET /` gives to programs. A page leaves out what
 * needs a route that is not there. */

let paths = null;

export async function loadFeatures() {
    try {
        const answer = await fetch('/', {headers: {Accept: 'text/plain'}});
        const lines = (await answer.text()).matchAll(/^\s*([A-Z]+)\s+(\/\S*)/gm);
        paths = new Set([...lines].map(([, method, path]) => `${method} ${path}`));
    } catch {
        paths = null; /* unknown: everything is offered, and a failure says why */
    }
}

export const has = route => !paths || paths.size === 0 || paths.has(route);

export const CAN = {
    count: 'GET /api/v1/snapshots/count',
    histogram: 'GET /api/v1/snapshots/histogram',
    neighbours: 'GET /api/v1/snapshots/{id}/neighbours',
    zip: 'GET /api/v1/snapshots.zip',
    delete: 'DELETE /api/v1/snapshots/{id}',
    undelete: 'POST /api/v1/snapshots/{id}/undelete',
    detect: 'POST /api/v1/snapshots/{id}/detect',
    link: 'POST /api/v1/snapshots/{id}/link',
    enable: 'POST /api/v1/cameras/{name}/enable',
    queues: 'GET /api/v1/queues',
    config: 'GET /api/v1/config',
    users: 'GET /api/v1/users',
    tokens: 'GET /api/v1/tokens',
    audit: 'GET /api/v1/audit',
    session: 'GET /api/v1/session',
    openapi: 'GET /api/openapi.json',
};
