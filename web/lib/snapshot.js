/* Snapshots as the pages keep them: a timeline may hold 100,000, so only what is drawn is kept. */

import {api, get} from './api.js';

export function brief(document) {
    const verdict = document.verdict;
    return {
        id: document.id,
        camera: document.camera,
        at: Date.parse(document.event_at),
        persons: verdict?.persons ?? 0,
        labels: labelsOf(verdict),
        waiting: document.state === 'stored',
        failed: verdict?.outcome === 'failed',
        starred: document.starred,
        removed: document.removed,
        deleted: Boolean(document.deleted_at),
        small: Boolean(document.links?.thumbnail),
    };
}

/* The small picture for a place of this width in CSS pixels; the whole one where there is none. */
export function pictureUrl(item, width) {
    if (!item.small)
        return wholeUrl(item.id);
    return api('snapshots', item.id, 'thumbnail') + '?width=' +
        (width * Math.min(devicePixelRatio, 2) > 400 ? 960 : 320);
}

export const wholeUrl = id => api('snapshots', id, 'image');
export const pagePath = (id, query = '') => `/snapshots/${encodeURIComponent(id)}${query ? '?' + query : ''}`;

/* The newest snapshot of a camera, or null. */
export async function newestOf(camera, signal) {
    const page = await get(api('snapshots') + '?' + new URLSearchParams({camera, limit: 1}), signal);
    return page.snapshots[0] ?? null;
}

/* Each word once: 'car' and 'truck' for the same box is one thing to people, but both are worth showing. */
function labelsOf(verdict) {
    const labels = new Set();
    for (const {label} of verdict?.detections ?? [])
        if (label !== 'person')
            labels.add(label);
    return [...labels];
}
