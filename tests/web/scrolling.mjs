/* The timeline over 100,000 pictures. The list is made up here and the pages cannot tell; it is the
 * page that is tested, not the ledger (bench/ does that). */

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import http from 'node:http';

import {withPage} from './browser.mjs';

const PICTURES = 100_000;
const NOW = Date.UTC(2026, 0, 31, 12);
const EVERY_MS = 40_000;

const id = n => n.toString(16).padStart(32, '0');

function snapshot(n) {
    const self = `/api/v1/snapshots/${id(n)}`;
    const at = new Date(NOW - n * EVERY_MS).toISOString();
    return {
        id: id(n), camera: ['front-door', 'garden'][n % 2], device_key: 'k', device_label: 'l', source: 'fetched', state: 'examined',
        starred: n % 50 === 0, removed: false, deleted_at: null, event_at: at, received_at: at, path: `p/${n}.jpg`, width: 768, height: 576,
        verdict: {outcome: 'examined', persons: n % 3, things: 0, detections: []},
        links: {self, image: self + '/image', thumbnail: self + '/thumbnail'},
    };
}

/* Calls work(address) while a server stands in for the daemon: the list and the pictures are made up,
 * the rest is the daemon's. (Playwright's own interception is slower than any daemon.) */
async function madeUp(base, picture, work) {
    const body = readFileSync(picture);
    const server = http.createServer((request, response) => {
        const url = new URL(request.url, base);
        const json = (status, document) => {
            response.writeHead(status, {'Content-Type': 'application/json'});
            response.end(JSON.stringify(document));
        };
        const one = /^\/api\/v1\/snapshots\/([0-9a-f]{32})(\/\w+)?$/.exec(url.pathname);
        if (url.pathname === '/api/v1/snapshots')
            return json(200, list(url));
        if (url.pathname === '/api/v1/events' || /\/(count|histogram)$/.test(url.pathname))
            return json(404, {error: {code: 'no-such-path', message: 'not here'}});
        if (one?.[2] === '/thumbnail' || one?.[2] === '/image') {
            response.writeHead(200, {'Content-Type': 'image/jpeg', 'Cache-Control': 'no-store'});
            return response.end(body);
        }
        const n = one && parseInt(one[1], 16);
        if (one?.[2] === '/neighbours')
            return json(200, {newer: id(n - 1), older: id(n + 1)});
        if (one)
            return json(200, {...snapshot(n), story: [], sha256: '', format: 'jpeg', size: 1});
        const onward = http.request(new URL(request.url, base), {method: request.method, headers: request.headers}, answer => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        onward.on('error', () => response.destroy());
        request.pipe(onward);
    });
    await new Promise(listening => server.listen(0, '127.0.0.1', listening));
    try {
        return await work(`http://127.0.0.1:${server.address().port}`);
    } finally {
        server.closeAllConnections();
        server.close();
    }
}

function list(url) {
    const query = url.searchParams;
    const from = Number(query.get('cursor') ?? 0), to = Math.min(PICTURES, from + Number(query.get('limit')));
    query.set('cursor', to);
    return {
        snapshots: Array.from({length: to - from}, (_, i) => snapshot(from + i)),
        next: to < PICTURES ? `/api/v1/snapshots?${query}` : null,
    };
}

/* A picture a frame, which is 60 a second where the machine draws 60 frames; in each frame all pictures
 * in sight must be there. */
export const no_blank_at_sixty_pictures_a_second = (base, {picture}) => madeUp(base, picture, made => withPage(made, {motion: 'no-preference'}, async page => {
    await page.goto('/timeline');
    await page.waitForFunction(() => {
        const all = [...document.querySelectorAll('.grid .still')];
        return all.length > 10 && all.every(image => image.complete);
    });
    const {blank, frames, seconds} = await page.evaluate(() => new Promise(done => {
        const cells = [...document.querySelectorAll('.grid .shot')].slice(0, 12).map(c => c.getBoundingClientRect());
        const columns = cells.filter(c => c.top === cells[0].top).length;
        const row = cells[columns].top - cells[0].top;
        const start = performance.now();
        let blank = 0, frames = 0;
        requestAnimationFrame(function step(now) {
            scrollTo(0, ++frames * row / columns);
            for (const frame of document.querySelectorAll('.grid .frame')) {
                const {top, bottom} = frame.getBoundingClientRect();
                const image = frame.querySelector('img');
                if (bottom > 60 && top < innerHeight && !(image?.complete && image.naturalWidth))
                    blank++;
            }
            if (frames < 360)
                requestAnimationFrame(step);
            else
                done({blank, frames, seconds: (now - start) / 1000});
        });
    }));
    assert.equal(blank, 0, `${blank} blanks in ${frames} frames`);
    return `360 pictures in ${seconds.toFixed(1)} s: ${frames} frames, no blank`;
}));

export const nothing_jumps_down_to_the_last_of_100000 = (base, {picture}) => madeUp(base, picture, made => withPage(made, {}, async page => {
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().waitFor();
    /* Where a picture stands does not change with what is loaded after it. */
    const place = () => page.evaluate(() => {
        const cell = [...document.querySelectorAll('.grid .shot')].find(c => c.getBoundingClientRect().top > 200);
        return [cell.dataset.id, Math.round(cell.getBoundingClientRect().top + scrollY)];
    });
    const [first, top] = await place();
    await page.evaluate(async () => {
        const end = () => document.querySelector('.grid-end').textContent.includes('That is all');
        while (!end()) {
            scrollTo(0, document.documentElement.scrollHeight);
            await new Promise(requestAnimationFrame);
        }
        scrollTo(0, document.documentElement.scrollHeight); /* the last page has made it longer */
    });
    await page.locator(`.grid .shot[data-id="${id(PICTURES - 1)}"]`).waitFor();
    const cells = await page.locator('.grid .shot').count();
    assert.ok(cells < 200, `${cells} elements`);
    await page.evaluate(() => scrollTo(0, 0));
    await page.locator(`.grid .shot[data-id="${first}"]`).waitFor();
    assert.deepEqual(await place(), [first, top]);
    /* and the way back from a picture leads to the very place */
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight / 2));
    await page.locator('.grid .still.here').first().waitFor();
    const before = await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(scrollY)))));
    const cell = await page.locator('.grid .shot').evaluateAll(all => all.find(c => c.getBoundingClientRect().top > 200).dataset.id);
    await page.evaluate(one => document.querySelector(`.shot[data-id="${one}"]`).click(), cell);
    await page.locator('.stage-large').waitFor();
    await page.goBack();
    await page.locator(`.grid .shot[data-id="${cell}"]`).waitFor();
    assert.equal(await page.evaluate(() => scrollY), before);
}));
