/* node tests/web/screenshots.mjs ADDRESS FOLDER: pictures of the pages for the documentation. */

import {getJson, withPage} from './browser.mjs';

const [,, base, folder] = process.argv;

async function shoot(name, path, options, prepare = () => {}) {
    await withPage(base, options, async page => {
        await page.goto(path);
        await page.locator('main h1').first().waitFor({state: 'attached'});
        await page.locator('.pulse[data-state="live"], .pulse[data-state="polling"]').waitFor();
        await prepare(page);
        await page.waitForFunction(() => [...document.querySelectorAll('main img.still, main .stage-large')].every(i => i.complete));
        await page.evaluate(() => document.fonts.ready);
        await page.screenshot({path: `${folder}/${name}.png`});
    });
}

const pictures = page => page.locator('.still.here').nth(3).waitFor();
let one;
await withPage(base, {}, async page => {
    const {snapshots} = await getJson(page, '/api/v1/snapshots?camera=front-door&person=1&limit=50');
    one = snapshots.sort((a, b) => b.verdict.persons - a.verdict.persons)[0];
    await page.request.post(`${one.links.self}/star`);
});
const boxes = page => page.locator('.stage .box').first().waitFor({state: 'attached'});

await shoot('live', '/', {}, pictures);
await shoot('live-phone-dark', '/', {size: 'phone', dark: true}, pictures);
await shoot('timeline', '/timeline', {}, pictures);
await shoot('timeline-dark', '/timeline?person=1', {dark: true}, pictures);
await shoot('picture', `/snapshots/${one.id}`, {}, boxes);
await shoot('picture-phone', `/snapshots/${one.id}`, {size: 'phone'}, boxes);
await shoot('cameras', '/cameras', {size: 'tablet'}, page => page.locator('.still.here').first().waitFor());
await shoot('system-dark', '/system', {dark: true}, page => page.locator('.chart').first().waitFor());
