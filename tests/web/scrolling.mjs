/* The timeline over 100,000 pictures. The list is made up here and the pages cannot tell; it is the
 * page that is tested, not the ledger (bench/ does that). */

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';

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

async function madeUp(page, picture) {
    const body = readFileSync(picture);
    await page.route(/\/api\/v1\/snapshots(\?|$)/, route => {
        const query = new URL(route.request().url()).searchParams;
        const from = Number(query.get('cursor') ?? 0), to = Math.min(PICTURES, from + Number(query.get('limit')));
        const snapshots = [];
        for (let n = from; n < to; n++)
            snapshots.push(snapshot(n));
        query.set('cursor', to);
        return route.fulfill({json: {snapshots, next: to < PICTURES ? `/api/v1/snapshots?${query}` : null}});
    });
    await page.route(/\/(thumbnail|image)(\?|$)/, route =>
        route.fulfill({body, contentType: 'image/jpeg', headers: {'Cache-Control': 'no-store'}}));
    await page.route(/\/api\/v1\/events/, route => route.abort());
    await page.route(/\/api\/v1\/snapshots\/(count|histogram)/, route => route.fulfill({status: 404, json: {error: {code: 'no-such-path', message: 'no'}}}));
}

/* Row by row at 60 pictures a second; after each step every picture in sight must be there. */
export const no_blank_at_sixty_pictures_a_second = (base, {picture}) => withPage(base, {motion: 'no-preference'}, async page => {
    await madeUp(page, picture);
    await page.goto('/timeline');
    await page.waitForFunction(() => document.querySelectorAll('.grid .still.here').length > 10);
    const {blank, frames, seconds} = await page.evaluate(() => new Promise(done => {
        const cells = [...document.querySelectorAll('.grid .shot')].slice(0, 12).map(c => c.getBoundingClientRect());
        const columns = cells.filter(c => c.top === cells[0].top).length;
        const row = cells[columns].top - cells[0].top;
        const speed = 60 / columns * row / 1000; /* pixels a millisecond */
        const start = performance.now();
        let blank = 0, frames = 0;
        requestAnimationFrame(function step(now) {
            scrollTo(0, (now - start) * speed);
            frames++;
            for (const frame of document.querySelectorAll('.grid .frame')) {
                const {top, bottom} = frame.getBoundingClientRect();
                const image = frame.querySelector('img');
                if (bottom > 60 && top < innerHeight && !(image?.complete && image.naturalWidth))
                    blank++;
            }
            if (now - start < 6000)
                requestAnimationFrame(step);
            else
                done({blank, frames, seconds: (now - start) / 1000});
        });
    }));
    assert.equal(blank, 0, `${blank} blanks in ${frames} frames`);
    return `360 pictures in ${seconds.toFixed(1)} s: ${frames} frames, no blank`;
});

export const nothing_jumps_down_to_the_last_of_100000 = (base, {picture}) => withPage(base, {}, async page => {
    await madeUp(page, picture);
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
    await page.route(/\/api\/v1\/snapshots\/[0-9a-f]{32}(\?|$|\/neighbours)/, route => {
        const n = parseInt(/snapshots\/([0-9a-f]{32})/.exec(route.request().url())[1], 16);
        return route.fulfill({json: route.request().url().includes('neighbours') ? {newer: id(n - 1), older: id(n + 1)} : {...snapshot(n), story: [], sha256: '', format: 'jpeg', size: 1}});
    });
    const cell = await page.locator('.grid .shot').evaluateAll(all => all.find(c => c.getBoundingClientRect().top > 200).dataset.id);
    await page.evaluate(one => document.querySelector(`.shot[data-id="${one}"]`).click(), cell);
    await page.locator('.stage-large').waitFor();
    await page.goBack();
    await page.locator(`.grid .shot[data-id="${cell}"]`).waitFor();
    assert.equal(await page.evaluate(() => scrollY), before);
});
