/* How the pages look and weigh: light, dark, small, for everybody. */

import assert from 'node:assert/strict';

import {getJson, seriousFindings, take, withPage} from './browser.mjs';

/* Bytes of a first visit, without pictures: what the pages are made of, and with what the API says. */
const ASSETS_MAX = 60_000;
const FIRST_LOAD_MAX = 150_000;

async function allPaths(page) {
    const {snapshots: [shot]} = await getJson(page, '/api/v1/snapshots?limit=1&camera=front-door');
    return ['/', '/timeline', '/timeline?q=nothing-is-like-this', '/timeline?deleted=1', `/snapshots/${shot.id}`, '/cameras', '/cameras/front-door', '/system', '/access', '/nowhere'];
}

/* What lies over a page: how it comes, and what is there then. */
const OVER = [
    ['the keys', page => page.keyboard.press('?'), '.sheet'],
    ['a message with an answer', async page => {
        await page.keyboard.press('j');
        await page.locator('.shot.selected').waitFor();
        await page.keyboard.press('x');
    }, '.toast-action'],
    ['more filters', page => page.locator('.more-filters summary').click(), '.more-panel'],
];

async function overTheTimeline(page, look) {
    for (const [what, open, place] of OVER) {
        await settled(page, '/timeline');
        await page.locator('.grid .shot').first().waitFor();
        await open(page);
        await page.locator(place).waitFor();
        await look(what);
    }
    await page.keyboard.press('Escape');
}

async function settled(page, path) {
    await page.goto(path);
    await page.locator('main h1').first().waitFor({state: 'attached'});
    await page.waitForFunction(() => [...document.querySelectorAll('main img')].every(i => i.complete || i.loading === 'lazy'));
}

async function fitsAPhone(page, what) {
    const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= window, `${what} is ${wide} pixels wide`);
    const places = ':is(main, .toasts, .sheet) :is(button, .button, select, summary):visible';
    const small = await page.locator(places).evaluateAll(all => all
        .map(e => [e.textContent.trim().slice(0, 30), e.getBoundingClientRect()])
        .filter(([, r]) => r.width && (r.height < 36 || r.width < 36)).map(([words]) => words));
    assert.deepEqual(small, [], `${what}: too small for a thumb`);
}

/* Where a login is required: the login itself, and the page of users and tokens with something in all of its tables. */
export const logins_and_their_page_are_for_everybody = (base, {password, dark = false, size = 'desktop'}) => withPage(base, {dark, size}, async page => {
    const look = async what => {
        assert.deepEqual(await seriousFindings(page), [], what);
        if (size === 'phone')
            await fitsAPhone(page, what);
    };
    await settled(page, '/login');
    await page.getByText('No user yet').click();
    await look('the login');
    await page.getByLabel('User').fill('anna');
    await page.getByLabel('Password').fill('not this one');
    await page.getByRole('button', {name: 'Log in'}).click();
    await page.getByRole('alert').filter({hasText: /./}).waitFor();
    await look('a login that failed');
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', {name: 'Log in'}).click();
    await page.locator('.tile').first().waitFor();
    await settled(page, '/access');
    const tokens = page.locator('section', {has: page.getByRole('heading', {name: 'Tokens for programs'})});
    await tokens.getByRole('textbox', {name: 'What for'}).fill('looks');
    await tokens.getByRole('button', {name: 'Make the token'}).click();
    await tokens.locator('.secret code').waitFor();
    await page.getByRole('heading', {name: 'Your password'}).waitFor();
    await page.locator('td time').first().waitFor();
    await look('users and tokens');
    await tokens.getByRole('button', {name: 'End the token looks'}).first().click();
    await look('a token about to end');
    await tokens.getByText('Sure?').click();
    await tokens.getByRole('cell', {name: 'looks', exact: true}).waitFor({state: 'detached'});
});

export const the_first_load_is_small = base => withPage(base, {}, async page => {
    await take(page, 'front-door');
    let bytes = 0, assets = 0;
    const kinds = new Map();
    const client = await page.context().newCDPSession(page);
    await client.send('Network.enable');
    const pictures = new Set();
    client.on('Network.responseReceived', ({requestId, response}) => {
        if (/^image\/(jpeg|webp)/.test(response.mimeType) || response.mimeType === 'text/event-stream')
            pictures.add(requestId);
        kinds.set(requestId, response.mimeType);
    });
    client.on('Network.loadingFinished', ({requestId, encodedDataLength}) => {
        if (!pictures.has(requestId))
            bytes += encodedDataLength;
        if (!pictures.has(requestId) && kinds.get(requestId) !== 'application/json')
            assets += encodedDataLength;
    });
    await settled(page, '/');
    await page.locator('.tile a.frame img').first().waitFor();
    assert.ok(assets < ASSETS_MAX, `${assets} bytes of assets`);
    assert.ok(bytes < FIRST_LOAD_MAX, `${bytes} bytes`);
    return `first load: ${bytes} bytes without pictures, ${assets} of them for the pages themselves`;
});

export const axe_finds_nothing_serious = (base, {dark = false, size = 'desktop'}) => withPage(base, {dark, size}, async page => {
    await take(page, 'front-door');
    await page.request.post('/api/v1/cameras/barn/trigger?wait=5');
    for (const path of await allPaths(page)) {
        await settled(page, path);
        assert.deepEqual(await seriousFindings(page), [], path);
    }
    await overTheTimeline(page, async what => assert.deepEqual(await seriousFindings(page), [], what));
});

export const dark_follows_the_system_and_the_button = base => withPage(base, {dark: true}, async page => {
    await settled(page, '/');
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    assert.ok(Math.max(...dark.match(/\d+/g).slice(0, 3).map(Number)) < 40, dark);
    const button = page.getByRole('button', {name: /^Colours/});
    await button.click(); /* light */
    assert.notEqual(await ground(), dark);
    await page.reload();
    await page.locator('main h1').waitFor();
    assert.notEqual(await ground(), dark, 'the choice is kept');
    await button.click(); /* dark */
    assert.equal(await ground(), dark);
});

export const nothing_is_wider_than_a_phone = base => withPage(base, {size: 'phone'}, async page => {
    await take(page, 'front-door');
    for (const path of await allPaths(page)) {
        await settled(page, path);
        await fitsAPhone(page, path);
    }
    await overTheTimeline(page, what => fitsAPhone(page, what));
    const places = await page.locator('.places').boundingBox();
    assert.ok(places.y > 844 - 80, 'the places are where the thumb is');
});
