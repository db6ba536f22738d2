/* What the pages do, driven in a browser against the real daemon. Each export is a scenario whose
 * name says what it proves. */

import assert from 'node:assert/strict';
import {createHash} from 'node:crypto';

import {downloaded, getJson, seriousFindings, shownToCopy, take, withoutClipboard, withPage} from './browser.mjs';

const FRONT = 'front-door';
const ids = (page, cards = '.grid .shot') => page.locator(cards).evaluateAll(all => all.map(card => card.dataset.id));
const drawn = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
const isLive = page => page.locator('.pulse[data-state="live"]').waitFor();

export const a_new_picture_appears_on_the_wall_by_itself = base => withPage(base, {}, async page => {
    await page.goto('/');
    const tile = page.locator(`[data-camera="${FRONT}"]`);
    await tile.waitFor();
    await page.locator('.pulse[data-state="live"], .pulse[data-state="polling"]').waitFor();
    const shot = await take(page, FRONT);
    const link = tile.locator(`a.frame[href="/snapshots/${shot.id}"]`);
    await link.waitFor();
    await link.locator('.boxes rect').first().waitFor({state: 'attached'});
    assert.equal(await link.locator('.box.halo').count(), shot.verdict.detections.length);
    assert.equal(await link.locator('.badge.person').textContent(), `${shot.verdict.persons} ${shot.verdict.persons === 1 ? 'person' : 'persons'}`);
    await page.locator(`.lately [data-id="${shot.id}"]`).waitFor();
    await tile.locator('.tone[data-tone="good"]').waitFor();
});

/* From the moment that the page can know of (the event's own time stamp) to the change in the page. */
export const an_event_is_visible_soon_after_the_record = base => withPage(base, {}, async page => {
    await page.goto('/');
    await page.locator('.pulse[data-state="live"]').waitFor();
    await page.locator('[data-camera="front-door"]').waitFor();
    const delays = [];
    for (let i = 0; i < 5; i++) {
        await page.evaluate(() => { window.seen = new Promise(done => {
            const link = document.querySelector('[data-camera="front-door"] a.frame');
            const before = link.getAttribute('href');
            const watch = new MutationObserver(() => {
                if (link.getAttribute('href') !== before) {
                    watch.disconnect();
                    done(Date.now());
                }
            });
            watch.observe(link, {attributes: true});
        }); });
        const shot = await take(page, FRONT);
        const stored = Date.parse(shot.story.find(step => step.what === 'stored').at);
        delays.push(await page.evaluate(() => window.seen) - stored);
    }
    delays.sort((a, b) => a - b);
    assert.ok(delays[2] < 1000, `took ${delays} ms`); /* 100 ms on a machine with nothing else to do */
    return `record to page: ${delays.join(', ')} ms`;
});

export const a_failing_camera_says_so_on_the_wall_and_in_the_list = base => withPage(base, {}, async page => {
    await page.request.post('/api/v1/cameras/barn/trigger?wait=5');
    await page.goto('/');
    const tile = page.locator('[data-camera="barn"]');
    await tile.locator('.tone[data-tone="bad"]').waitFor();
    assert.match(await tile.locator('.tile-why').innerText(), /no connection|refused/i);
    await page.getByRole('link', {name: 'one of them failing'}).click();
    await page.locator('.camera[data-camera="barn"] .why', {hasText: /refused|connection/i}).waitFor();
});

export const filters_are_in_the_address_and_choose_the_pictures = base => withPage(base, {}, async page => {
    await take(page, FRONT);
    await take(page, 'garden');
    await page.goto('/timeline');
    await page.locator('.shot').first().waitFor();
    await page.getByRole('button', {name: 'People'}).click();
    await page.waitForURL('**/timeline?person=1');
    await page.waitForFunction(() => [...document.querySelectorAll('.grid .shot')].length > 0 &&
        [...document.querySelectorAll('.grid .shot')].every(s => s.querySelector('.badge.person')));
    await page.getByLabel('Camera').selectOption('garden');
    await page.waitForURL('**/timeline?camera=garden&person=1');
    await page.getByRole('button', {name: 'Clear'}).first().click();
    await page.waitForURL('**/timeline');
    await page.getByLabel('Camera').selectOption('garden');
    await page.waitForFunction(() => [...document.querySelectorAll('.grid .shot')].length > 0 &&
        [...document.querySelectorAll('.grid .shot-words > span:not(.unseen)')].every(s => s.textContent === 'garden'));
    await page.reload();
    assert.equal(await page.getByLabel('Camera').inputValue(), 'garden');
    await page.waitForFunction(() => document.querySelectorAll('.grid .shot').length > 0);
    const {snapshots} = await getJson(page, '/api/v1/snapshots?camera=garden&limit=1');
    await page.locator(`.grid .shot[data-id="${snapshots[0].id}"]`).waitFor();
});

export const search_finds_words_and_says_when_there_is_nothing = base => withPage(base, {}, async page => {
    await take(page, 'garden');
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('garden');
    await page.waitForURL('**/timeline?q=garden');
    await page.waitForFunction(() => [...document.querySelectorAll('.grid .shot')].length > 0 &&
        [...document.querySelectorAll('.grid .shot-words > span:not(.unseen)')].every(s => s.textContent === 'garden'));
    await page.getByRole('searchbox').fill('no such thing anywhere');
    await page.getByText('No picture is like that').waitFor();
    await page.getByRole('button', {name: 'Clear the filters'}).click();
    await page.locator('.grid .shot').first().waitFor();
    assert.equal(await page.getByRole('searchbox').inputValue(), '');
});

export const a_picture_that_comes_while_one_reads_waits_behind_a_button = base => withPage(base, {size: 'phone'}, async page => {
    for (let i = 0; i < 10; i++)
        await take(page, 'garden');
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().waitFor();
    await page.locator('.pulse[data-state="live"], .pulse[data-state="polling"]').waitFor();
    await page.evaluate(() => scrollTo(0, 400));
    const first = page.locator('.grid .shot').first();
    const before = await first.boundingBox();
    const shot = await take(page, FRONT);
    const pill = page.getByRole('button', {name: 'new picture'});
    await pill.waitFor();
    assert.deepEqual(await first.boundingBox(), before, 'nothing moves under the reader');
    await pill.click();
    await page.locator(`.grid .shot[data-id="${shot.id}"]`).waitFor();
    assert.equal(await page.evaluate(() => scrollY), 0);
});

export const boxes_come_from_the_data_and_can_be_switched_off = base => withPage(base, {}, async page => {
    const shot = await take(page, FRONT);
    await page.goto(`/snapshots/${shot.id}`);
    const rects = page.locator('.stage rect:not(.halo)');
    await rects.first().waitFor();
    const drawn = await rects.evaluateAll(all => all.map(r => ['x', 'y', 'width', 'height'].map(a => Number(r.getAttribute(a)))));
    const wanted = shot.verdict.detections.map(({box: [l, t, r, b]}) => [l, t, r - l, b - t]);
    wanted.forEach((box, i) => box.forEach((v, k) => assert.ok(Math.abs(v - drawn[i][k]) < .01, `${box} is drawn as ${drawn[i]}`)));
    /* and they are where the picture is */
    const [picture, lines] = [await page.locator('.stage-large').boundingBox(), await page.locator('.stage .boxes').boundingBox()];
    assert.deepEqual(lines, picture);
    await page.locator('.detections li').first().hover();
    assert.equal(await page.locator('.stage rect.pointed').count(), 2);
    await page.getByRole('button', {name: 'Boxes'}).click();
    await rects.first().waitFor({state: 'hidden'});
    await page.keyboard.press('b');
    await rects.first().waitFor();
});

export const the_story_tells_all_steps = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.goto(`/snapshots/${id}`);
    const steps = page.locator('.story li');
    await page.locator('.story [data-what="examined"]').waitFor();
    const {story, sha256, path} = await getJson(page, `/api/v1/snapshots/${id}`);
    const shown = await steps.evaluateAll(all => all.map(li => [li.dataset.what, li.querySelector('p')?.textContent ?? '']));
    for (const [i, [what, detail]] of shown.entries())
        assert.deepEqual([what, detail], [story[i].what, story[i].detail]);
    await page.getByText(sha256).waitFor();
    await page.getByText(path).first().waitFor();
});

export const a_star_is_given_and_taken = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.goto(`/snapshots/${id}`);
    const star = page.locator('.button.star');
    await star.click();
    await page.locator('.button.star[aria-pressed="true"]').waitFor();
    assert.equal((await getJson(page, `/api/v1/snapshots/${id}`)).starred, true);
    await page.goto('/timeline?starred=1');
    await page.locator(`.grid .shot[data-id="${id}"] .badge.star`).waitFor();
    await page.goto(`/snapshots/${id}`);
    await page.locator('.button.star[aria-pressed="true"]').waitFor();
    await page.keyboard.press('s');
    await page.locator('.button.star[aria-pressed="false"]').waitFor();
    assert.equal((await getJson(page, `/api/v1/snapshots/${id}`)).starred, false);
});

export const a_deleted_picture_comes_back_by_undo = base => withPage(base, {}, async page => {
    const older = await take(page, FRONT);
    const {id} = await take(page, FRONT);
    await page.goto(`/snapshots/${id}?camera=${FRONT}`);
    await page.getByRole('button', {name: 'Delete'}).click();
    await page.waitForURL(`**/snapshots/${older.id}*`);
    assert.notEqual((await getJson(page, `/api/v1/snapshots/${id}`)).deleted_at, null);
    await page.getByRole('button', {name: 'Undo'}).click();
    await page.waitForURL(`**/snapshots/${id}*`);
    assert.equal((await getJson(page, `/api/v1/snapshots/${id}`)).deleted_at, null);
    /* in the timeline, with a key */
    await page.goto('/timeline');
    await page.locator(`.shot[data-id="${id}"]`).waitFor();
    await page.keyboard.press('j');
    await page.locator(`.shot.selected[data-id="${id}"]`).waitFor();
    await page.keyboard.press('x');
    await page.locator(`.shot[data-id="${id}"]`).waitFor({state: 'detached'});
    await page.goto('/timeline?deleted=1');
    await page.locator(`.shot[data-id="${id}"]`).click();
    await page.getByRole('button', {name: 'Bring it back'}).click();
    await page.getByText('It is back').waitFor();
    await page.getByRole('button', {name: 'Delete'}).waitFor();
});

export const a_picture_is_examined_again = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.goto(`/snapshots/${id}`);
    await page.getByRole('button', {name: 'Examine again'}).click();
    await page.getByText('It is examined again').waitFor();
    await page.locator('.story [data-what="examined again"]').waitFor();
    const {verdict} = await getJson(page, `/api/v1/snapshots/${id}`);
    assert.equal(verdict.outcome, 'examined');
    assert.deepEqual(await page.locator('.detections .detection-label').allTextContents(), verdict.detections.map(d => d.label));
});

export const neighbours_are_those_of_the_search = base => withPage(base, {}, async page => {
    const shots = [];
    for (const camera of [FRONT, 'garden', FRONT])
        shots.push(await take(page, camera));
    await page.goto(`/snapshots/${shots[2].id}?camera=${FRONT}`);
    await page.locator('.beside.older:enabled').waitFor({state: 'attached'});
    await page.keyboard.press('ArrowRight');
    await page.waitForURL(`**/snapshots/${shots[0].id}?camera=${FRONT}`);
    await page.locator('.beside.newer:enabled').waitFor({state: 'attached'});
    await page.keyboard.press('ArrowLeft');
    await page.waitForURL(`**/snapshots/${shots[2].id}?camera=${FRONT}`);
});

export const the_zip_of_a_search_can_be_downloaded = base => withPage(base, {}, async page => {
    await take(page, 'garden');
    await page.goto('/timeline?camera=garden');
    const link = page.getByRole('link', {name: 'Zip'});
    await link.waitFor();
    assert.equal(await link.getAttribute('href'), '/api/v1/snapshots.zip?camera=garden');
    const {snapshots} = await getJson(page, '/api/v1/snapshots?camera=garden&limit=500');
    const zip = await downloaded(page, () => link.click());
    assert.match(zip.name, /\.zip$/);
    assert.deepEqual(entries(zip.bytes).sort(), [...snapshots.map(shot => shot.path), 'manifest.csv', 'manifest.json'].sort());
});

/* The names in the directory at a zip file's end. */
function entries(zip) {
    const names = [];
    for (let at = zip.indexOf('PK\x01\x02'); at >= 0; at = zip.indexOf('PK\x01\x02', at + 46))
        names.push(zip.subarray(at + 46, at + 46 + zip.readUInt16LE(at + 28)).toString());
    return names;
}

export const everything_works_by_keyboard_alone = base => withPage(base, {}, async page => {
    for (let i = 0; i < 3; i++)
        await take(page, FRONT);
    await page.goto('/');
    await page.locator('.tile').first().waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    for (let i = 0; i < 3; i++)
        await page.keyboard.press('Tab');
    await page.keyboard.press('Enter'); /* the second place */
    await page.waitForURL('**/timeline');
    await page.locator('.grid .shot').nth(2).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    await page.keyboard.press('ArrowRight');
    const ids = await page.evaluate(() => [...document.querySelectorAll('.grid .shot')].map(s => s.dataset.id));
    assert.equal(await page.evaluate(() => document.activeElement.dataset.id), ids[1]);
    const ring = await page.locator('.shot.selected .frame').evaluate(e => getComputedStyle(e).boxShadow);
    assert.notEqual(ring, 'none', 'the selection is to be seen');
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/snapshots/${ids[1]}`);
    await page.locator('.stage-large').waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('boxes on or off').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({state: 'detached'});
    await page.keyboard.press('Escape');
    await page.waitForURL('**/timeline');
    await page.waitForFunction(id => document.activeElement?.dataset.id === id, ids[1]);
});

export const what_was_deleted_comes_back_by_keyboard_alone = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.goto('/timeline');
    const shot = page.locator(`.grid .shot[data-id="${id}"]`);
    await shot.waitFor();
    await page.keyboard.press('j');
    await page.locator(`.shot.selected[data-id="${id}"]`).waitFor();
    await page.keyboard.press('x');
    await shot.waitFor({state: 'detached'});
    const undo = page.getByRole('status').getByRole('button', {name: /^Undo\s+by the key u$/}); /* read out with the message */
    assert.equal(await undo.getAttribute('aria-keyshortcuts'), 'u');
    await page.keyboard.press('u');
    await page.getByText('It is back').waitFor();
    await shot.waitFor();
    assert.equal((await getJson(page, `/api/v1/snapshots/${id}`)).deleted_at, null);
    await page.keyboard.press('u'); /* nothing is offered any more */
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('undo, while that is offered').waitFor();
});

export const a_camera_takes_a_picture_and_is_switched_off_and_on = base => withPage(base, {}, async page => {
    await page.goto('/cameras');
    const row = page.locator('.camera[data-camera="garden"]');
    await row.getByRole('button', {name: /Take a picture/}).click();
    await page.getByText('garden: a new picture is there').waitFor();
    await row.getByRole('button', {name: /Switch off/}).click();
    await row.locator('.tone[data-tone="off"]').waitFor();
    assert.equal((await getJson(page, '/api/v1/cameras')).cameras.find(c => c.name === 'garden').enabled, false);
    await row.getByRole('button', {name: /Switch on/}).click();
    await page.getByText('garden is switched on').waitFor();
    assert.equal((await getJson(page, '/api/v1/cameras')).cameras.find(c => c.name === 'garden').enabled, true);
    await row.getByRole('heading').getByRole('link').click();
    await page.waitForURL('**/cameras/garden');
    await page.locator('.shots .shot').first().waitFor();
});

export const the_system_page_shows_stages_and_places = base => withPage(base, {}, async page => {
    await take(page, FRONT);
    await page.goto('/system');
    await page.getByRole('heading', {name: 'Pipeline'}).waitFor();
    await page.locator('td', {hasText: 'detect'}).first().waitFor();
    await page.getByText('is told of events').waitFor();
    await page.getByRole('img', {name: /^Pictures an hour: \d+ pictures?, \d+ with people/}).waitFor();
    await page.getByRole('img', {name: /^Waiting: at most \d+ pictures?, \d+ triggers?, \d+ events?/}).waitFor();
});

/* What strangers may name: cameras, devices, labels, files. `planted` is in all of them. */
export const planted_markup_stays_text = (base, {planted, label, pushed}) => withPage(base, {}, async page => {
    const {snapshots: [shot]} = await getJson(page, '/api/v1/snapshots?limit=1&source=fetched');
    assert.ok(JSON.stringify(shot).includes(JSON.stringify(planted).slice(1, -1)), 'it is planted');
    assert.ok(shot.path.endsWith(label + '.jpg'), 'and is the name of its file');
    const clean = async () => {
        assert.equal(await page.evaluate(() => window.planted), undefined, `a planted script ran on ${page.url()}`);
        assert.equal(await page.locator('img[src="x"], [onerror], script:not([type="module"])').count(), 0, page.url());
    };
    for (const path of ['/', '/timeline', `/snapshots/${shot.id}`, '/cameras', '/system',
        '/timeline?q=' + encodeURIComponent(planted), '/timeline?camera=' + encodeURIComponent(planted) + '&label=' + encodeURIComponent(planted),
        '/cameras/' + encodeURIComponent(planted), '/' + encodeURIComponent(planted), '/login?to=' + encodeURIComponent('javascript:window.planted=1')]) {
        await page.goto(path);
        await page.locator('main > *').first().waitFor();
        await page.waitForFunction(() => !document.querySelector('img:not([src*="icon"])') || [...document.images].some(i => i.complete));
        await clean();
    }
    await page.goto(`/snapshots/${shot.id}`);
    await page.locator('.detections', {hasText: label}).waitFor();
    await page.locator('.facts h1').waitFor();
    await clean();
    const {path} = await getJson(page, `/api/v1/snapshots/${pushed}`);
    await page.goto(`/snapshots/${pushed}`);
    await page.locator('.file-facts', {hasText: path}).waitFor();
    await clean();
    return `a file that was pushed is ${path}`;
});

export const a_picture_that_is_not_there_says_so_and_leads_on = base => withPage(base, {}, async page => {
    await page.goto('/snapshots/019c151abe30c3b1a5e2f49d7781c0de');
    await page.getByRole('heading', {name: 'It is not here'}).waitFor();
    await page.getByRole('link', {name: 'To the timeline'}).click();
    await page.waitForURL('**/timeline');
    const {id} = await take(page, FRONT);
    await page.route(`**/snapshots/${id}/image`, route => route.fulfill({
        status: 503, json: {error: {code: 'refused-for-now', message: 'busy'}}}));
    await page.goto(`/snapshots/${id}`);
    await page.getByText('The picture does not come').waitFor();
    await page.locator('.story [data-what="stored"]').waitFor();
    await page.unroute(`**/snapshots/${id}/image`);
    await page.getByRole('button', {name: 'Try again'}).click();
    await page.waitForFunction(() => document.querySelector('.stage-large')?.naturalWidth > 0);
    await page.locator('.stage .box').first().waitFor({state: 'attached'});
});

/* Takes a picture while the answer of a list is on the way, which does not know it. */
async function takeWhileListing(page, list, go) {
    let answer;
    const asked = new Promise(resolve => {
        page.route(list, async route => {
            const response = await route.fetch();
            resolve();
            await new Promise(goOn => { answer = goOn; });
            await route.fulfill({response});
        }, {times: 1});
    });
    await go();
    await asked;
    await page.evaluate(() => new Promise(resolve => {
        window.heard = [];
        const source = new EventSource('/api/v1/events');
        source.addEventListener('verdict', e => window.heard.push(JSON.parse(e.data).id));
        source.onopen = resolve;
    }));
    const {id} = await take(page, FRONT);
    await page.waitForFunction(wanted => window.heard.includes(wanted), id);
    answer();
    return id;
}

export const a_picture_that_arrives_before_the_list_is_in_it = base => withPage(base, {}, async page => {
    const before = await take(page, FRONT);
    await page.goto('/system');
    await isLive(page);
    const id = await takeWhileListing(page, '**/api/v1/snapshots?*',
        () => page.getByRole('link', {name: 'Timeline', exact: true}).click());
    await page.locator(`.grid .shot[data-id="${before.id}"]`).waitFor();
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor();
    if ((await ids(page))[0] !== id)
        throw new Error('the newest picture is not the first');
    const seen = await takeWhileListing(page, '**/api/v1/snapshots?person=1*',
        () => page.getByRole('link', {name: 'Live', exact: true}).click());
    await page.locator(`.strip .shot[data-id="${id}"]`).waitFor();
    await page.locator(`.strip .shot[data-id="${seen}"]`).waitFor();
    await page.getByRole('link', {name: 'Cameras', exact: true}).click();
    await page.locator('main .camera').first().waitFor();
    const last = await takeWhileListing(page, `**/api/v1/snapshots?camera=${FRONT}*`,
        () => page.locator(`.camera[data-camera="${FRONT}"] h2 a`).click());
    await page.locator(`.shots .shot[data-id="${seen}"]`).waitFor();
    await page.locator(`.shots .shot[data-id="${last}"]`).waitFor();
});

export const the_trash_has_a_way_in_and_a_way_back = base => withPage(base, {}, async page => {
    const {id} = await take(page, 'garden');
    await page.request.delete(`/api/v1/snapshots/${id}`);
    await page.goto(`/snapshots/${id}`);
    await page.locator('.notice', {hasText: /In the trash until about .*\d/}).waitFor();
    await page.goto('/timeline');
    await page.getByRole('link', {name: 'Trash'}).click();
    await page.getByRole('heading', {name: 'Trash', exact: true}).waitFor();
    const shot = page.locator(`.grid .shot[data-id="${id}"]`);
    await shot.waitFor();
    await page.request.post(`/api/v1/snapshots/${id}/undelete`);
    await shot.waitFor({state: 'detached'});
    await page.getByRole('main').getByRole('link', {name: 'Timeline'}).click();
    await page.getByRole('heading', {name: 'Timeline', exact: true}).waitFor();
    await shot.waitFor();
});

/* Days are those of the place where somebody looks: the daemon counts in UTC. `hours` are the event
 * times that are in the ledger, oldest first. */
export const days_are_those_of_the_place = (base, {zone, days}) => withPage(base, {timezoneId: zone}, async page => {
    await page.goto('/timeline');
    await page.locator('.activity [data-day]').first().waitFor({state: 'attached'});
    const bars = await page.locator('.activity [data-day]').evaluateAll(all => all.map(g => [g.dataset.day, Number(/: (\d+) pict/.exec(g.textContent)[1])]));
    assert.deepEqual(Object.fromEntries(bars), days);
    const [day, count] = Object.entries(days).sort()[0];
    await page.locator(`.activity [data-day="${day}"]`).click();
    await page.waitForURL(`**/timeline?to=${day}`);
    /* the address changes before the grid does: its first day alone is there already */
    await page.waitForFunction(count => document.querySelectorAll('.grid .shot').length === count, count);
    assert.match(await page.locator('.grid h2.day').first().innerText(), count === 1 ? /1 picture\b/i : new RegExp(`${count} pictures`, 'i'));
    assert.equal(await page.locator('.grid h2.day').count(), 1);
    assert.equal(await page.locator(`.activity .chosen[data-day="${day}"]`).count(), 1);
    const until = page.getByLabel('Up to this day');
    assert.equal(await until.inputValue(), day, 'what is chosen is to be seen');
    await until.fill('');
    await page.waitForURL('**/timeline');
    await page.locator(`.activity [data-day="${day}"]`).click();
    await page.waitForURL(`**/timeline?to=${day}`);
    await page.locator(`.activity .chosen[data-day="${day}"]`).click(); /* the second click takes it away */
    await page.waitForURL('**/timeline');
    assert.equal(await until.inputValue(), '');
});

const finger = (session, type, ...points) => session.send('Input.dispatchTouchEvent', {type, touchPoints: points.map(([x, y], id) => ({x, y, id}))});

export const fingers_turn_pages_and_come_nearer = base => withPage(base, {size: 'phone'}, async (page, context) => {
    const older = await take(page, FRONT);
    const shot = await take(page, FRONT);
    await page.goto(`/snapshots/${shot.id}?camera=${FRONT}`);
    await page.locator('.beside.older:enabled').waitFor({state: 'attached'});
    const touch = await context.newCDPSession(page);
    const {x, y, width, height} = await page.locator('.stage').boundingBox();
    const [cx, cy] = [x + width / 2, y + height / 2];
    const scale = () => page.locator('.stage').evaluate(e => new DOMMatrix(getComputedStyle(e.querySelector('.boxes')).transform).a);

    /* two fingers go apart */
    await finger(touch, 'touchStart', [cx - 30, cy], [cx + 30, cy]);
    for (const d of [50, 70, 90])
        await finger(touch, 'touchMove', [cx - d, cy], [cx + d, cy]);
    await finger(touch, 'touchEnd');
    assert.ok(Math.abs(await scale() - 3) < .2, `${await scale()}`);
    const parts = await page.locator('.stage > *').evaluateAll(all => new Set(all.map(e => getComputedStyle(e).transform)).size);
    assert.equal(parts, 1, 'the boxes stay on what they show');

    /* near, a finger moves the picture and turns no page */
    await finger(touch, 'touchStart', [cx + 80, cy]);
    for (const d of [40, 0, -80])
        await finger(touch, 'touchMove', [cx + d, cy]);
    await finger(touch, 'touchEnd');
    assert.ok(page.url().includes(shot.id));
    await page.keyboard.press('z');
    assert.equal(await scale(), 1);

    /* a swipe to the left shows what lies on the right */
    await finger(touch, 'touchStart', [cx + 80, cy]);
    for (const d of [40, 0, -80])
        await finger(touch, 'touchMove', [cx + d, cy]);
    await finger(touch, 'touchEnd');
    await page.waitForURL(`**/snapshots/${older.id}?camera=${FRONT}`);
});

export const the_wall_says_what_came_today = base => withPage(base, {}, async page => {
    await take(page, FRONT);
    await page.goto('/');
    await page.getByText(/Today \d+ pictures?, \d+ with people/).waitFor();
});

export const a_timeline_that_was_left_knows_what_came_meanwhile = base => withPage(base, {}, async page => {
    await take(page, FRONT);
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().waitFor();
    await page.getByRole('link', {name: 'Live', exact: true}).click();
    await page.locator('.tile').first().waitFor();
    const {id} = await take(page, 'garden');
    await page.locator(`.tile a.frame[href="/snapshots/${id}"]`).waitFor();
    await page.getByRole('link', {name: 'Timeline', exact: true}).click();
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor();
});

export const a_page_that_is_left_early_leaves_no_trouble = base => withPage(base, {}, async page => {
    await page.route('**/api/v1/snapshots?*', () => {}); /* no answer */
    for (const path of ['/', '/timeline', '/cameras', `/cameras/${FRONT}`, '/system']) {
        await page.goto(path);
        await isLive(page);
        await page.locator('main').locator('.tile, .filters, .camera, .panel').first().waitFor();
        await page.getByRole('link', {name: path === '/system' ? 'Cameras' : 'System', exact: true}).click();
        await page.locator('main').locator('.panel, .camera').first().waitFor();
    }
});

export const what_the_list_knows_beside_a_picture_is_not_forgotten = base => withPage(base, {}, async page => {
    for (let i = 0; i < 3; i++)
        await take(page, FRONT);
    await page.route('**/neighbours*', route => route.fulfill({json: {newer: null, older: null, exact: false}}));
    await page.goto('/timeline');
    await page.locator('.grid .shot').nth(2).waitFor();
    const [newer, one, older] = await ids(page);
    const answered = () => page.waitForEvent('requestfinished', request => request.url().includes('/neighbours'));
    let answer = answered();
    await page.locator(`.grid .shot[data-id="${one}"]`).click();
    await answer;
    await drawn(page);
    answer = answered();
    await page.keyboard.press('ArrowRight');
    await page.waitForURL(`**/snapshots/${older}`);
    await answer;
    await drawn(page);
    for (const id of [one, newer]) {
        await page.keyboard.press('ArrowLeft');
        await page.waitForURL(`**/snapshots/${id}`);
    }
});

export const a_link_is_copied_or_shown_where_nothing_can_be_copied = base => withPage(base, {}, async (page, context) => {
    const {id} = await take(page, FRONT);
    const opens = async url => {
        const answer = await page.request.get(url, {headers: {Cookie: ''}});
        assert.equal(answer.status(), 200, url);
        assert.match(answer.headers()['content-type'], /^image\//);
    };
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], {origin: base});
    await page.goto(`/snapshots/${id}`);
    await page.getByRole('button', {name: 'Copy link'}).click();
    await page.getByText('The link is copied').waitFor();
    await opens(await page.evaluate(() => navigator.clipboard.readText()));

    await withoutClipboard(page);
    await page.reload();
    await page.getByRole('button', {name: 'Copy link'}).click();
    await page.getByRole('dialog').waitFor();
    assert.deepEqual(await seriousFindings(page), []);
    await opens(await shownToCopy(page));
});

/* A daemon that stops counting somewhere says so, and so do the pages. */
export const what_is_counted_in_part_is_not_shown_as_the_whole = base => withPage(base, {}, async page => {
    const hour = ago => new Date((Math.floor(Date.now() / 3600000) - ago) * 3600000).toISOString();
    await page.route('**/snapshots/histogram*', route => route.fulfill({json: {
        by: 'hour', exact: false, buckets: [{from: hour(0), count: 5, persons: 1}, {from: hour(30), count: 7, persons: 2}]}}));
    await page.goto('/');
    await page.getByText(/Today at least \d+ pictures, \d with people/).waitFor();
    await page.goto('/system');
    await page.getByRole('img', {name: /^Pictures an hour: at least 5 pictures, 1 with people/}).waitFor();
    await page.goto('/timeline');
    const bars = page.locator('.activity [data-day] title');
    await bars.first().waitFor({state: 'attached'});
    const [last, ...before] = (await bars.allTextContents()).reverse();
    assert.match(last, /: at least 7 pictures/);
    assert.ok(before.length > 0 && before.every(words => !words.includes('at least')), `${before}`);
});

export const a_picture_examined_again_is_no_new_one = base => withPage(base, {}, async page => {
    const older = await take(page, FRONT), newer = await take(page, FRONT);
    await page.route(/\/api\/v1\/snapshots\?.*limit=(12|24)$/, async route => {
        const document = await (await route.fetch()).json();
        await route.fulfill({json: {...document, snapshots: document.snapshots.filter(shot => shot.id !== older.id)}});
    });
    for (const [path, cards] of [['/', '.lately .shot'], [`/cameras/${FRONT}`, '.shots .shot']]) {
        await page.goto(path);
        await isLive(page);
        await page.locator(`${cards}[data-id="${newer.id}"]`).waitFor();
        await page.request.post(`/api/v1/snapshots/${older.id}/detect`);
        await page.locator(`${cards}[data-id="${older.id}"]`).waitFor();
        assert.deepEqual((await ids(page, cards)).slice(0, 2), [newer.id, older.id], path);
    }
});

export const an_undo_changes_no_page_that_was_left = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.goto('/timeline');
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor();
    await isLive(page);
    await page.keyboard.press('j');
    await page.keyboard.press('x');
    await page.getByText('Moved to the trash').waitFor();
    await page.getByRole('link', {name: 'Live', exact: true}).click();
    await page.locator('.tile').first().waitFor();
    await page.getByRole('button', {name: 'Undo'}).click();
    await page.getByText('It is back').waitFor();
    await drawn(page);
    assert.match(await page.title(), /^Live/);
    const later = await take(page, FRONT);
    await page.locator(`.tile a.frame[href="/snapshots/${later.id}"]`).waitFor();
    await page.getByRole('link', {name: 'Timeline', exact: true}).click();
    for (const one of [id, later.id])
        await page.locator(`.grid .shot[data-id="${one}"]`).waitFor();
});

export const a_deleted_picture_leaves_the_wall = base => withPage(base, {}, async page => {
    const before = await take(page, FRONT), {id} = await take(page, FRONT);
    for (const [path, link] of [['/', `.tile[data-camera="${FRONT}"] a.frame`], ['/cameras', `.camera[data-camera="${FRONT}"] a.frame`],
        [`/cameras/${FRONT}`, '.camera-page .tile a.frame']]) {
        await page.goto(path);
        await isLive(page);
        await page.locator(`${link}[href="/snapshots/${id}"]`).waitFor();
        await page.request.delete(`/api/v1/snapshots/${id}`);
        await page.locator(`${link}[href="/snapshots/${before.id}"]`).waitFor();
        await page.locator(`.shot[data-id="${id}"]`).waitFor({state: 'detached'});
        await page.request.post(`/api/v1/snapshots/${id}/undelete`);
        await page.locator(`${link}[href="/snapshots/${id}"]`).waitFor();
    }
});

export const a_camera_that_is_off_offers_no_shutter = base => withPage(base, {}, async page => {
    await page.goto('/');
    await isLive(page);
    const shutter = page.locator('.tile[data-camera="garden"] .shutter');
    await shutter.waitFor();
    await page.request.post('/api/v1/cameras/garden/disable');
    await shutter.waitFor({state: 'hidden'});
    await page.request.post('/api/v1/cameras/garden/enable');
    await shutter.waitFor();
});

export const what_stops_to_be_like_the_search_leaves_it = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT), other = await take(page, FRONT);
    for (const one of [id, other.id])
        await page.request.post(`/api/v1/snapshots/${one}/star`);
    await page.goto('/timeline?starred=1');
    await isLive(page);
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor();
    await page.request.post(`/api/v1/snapshots/${id}/unstar`);
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor({state: 'detached'});
    await page.request.post(`/api/v1/snapshots/${id}/star`);
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor();
    /* by key, and the selection goes on to the next */
    await page.keyboard.press('j');
    await page.locator(`.shot.selected[data-id="${other.id}"]`).waitFor();
    await page.keyboard.press('s');
    await page.locator(`.grid .shot[data-id="${other.id}"]`).waitFor({state: 'detached'});
    await page.locator(`.shot.selected[data-id="${id}"]`).waitFor();
    await page.keyboard.press('s');
    await page.locator(`.grid .shot[data-id="${id}"]`).waitFor({state: 'detached'});
});

export const in_the_trash_nothing_is_deleted_again = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.request.delete(`/api/v1/snapshots/${id}`);
    const asked = [];
    page.on('request', request => request.method() === 'DELETE' && asked.push(request.url()));
    await page.goto('/timeline?deleted=1');
    const shot = page.locator(`.grid .shot[data-id="${id}"]`);
    await shot.waitFor();
    await page.keyboard.press('j');
    await page.locator(`.shot.selected[data-id="${id}"]`).waitFor();
    await page.keyboard.press('x');
    await page.keyboard.press('Enter');
    await page.getByRole('button', {name: 'Bring it back'}).waitFor();
    await page.keyboard.press('x');
    await page.keyboard.press('Escape');
    await shot.waitFor();
    assert.deepEqual(asked, []);
    await page.request.post(`/api/v1/snapshots/${id}/undelete`);
});

export const a_picture_is_downloaded_by_button_and_by_key = base => withPage(base, {}, async page => {
    const shot = await take(page, FRONT);
    await page.goto(`/snapshots/${shot.id}`);
    const button = page.getByRole('link', {name: 'Download'});
    await button.waitFor();
    for (const act of [() => button.click(), () => page.keyboard.press('d')]) {
        const {name, bytes} = await downloaded(page, act);
        assert.equal(name, shot.path.split('/').pop());
        assert.equal(createHash('sha256').update(bytes).digest('hex'), shot.sha256);
    }
    const answer = await page.request.get(await button.getAttribute('href'));
    assert.match(answer.headers()['content-disposition'], /^attachment/);
});

/* A storage that gives up takes a day; here the story says that one did. */
export const what_a_storage_gave_up_is_uploaded_again = base => withPage(base, {}, async page => {
    const {id} = await take(page, FRONT);
    await page.route(`**/api/v1/snapshots/${id}`, async route => {
        const shot = await (await route.fetch()).json();
        shot.story.push({at: shot.received_at, what: 'not kept', detail: 'attic: no space'});
        await route.fulfill({json: shot});
    });
    const asked = [];
    await page.route('**/upload-again', async route => {
        asked.push(new URL(route.request().url()).pathname);
        await (asked.length === 1 ? route.fulfill({json: {again: 2}}) : route.continue());
    });
    await page.goto(`/snapshots/${id}`);
    await page.locator('.story li.bad', {hasText: 'Not uploaded'}).waitFor();
    await page.getByRole('button', {name: 'Upload again'}).click();
    await page.getByText('2 of its files are tried again').waitFor();
    await page.getByRole('button', {name: 'Upload again'}).click();
    await page.getByText('No storage had given it up').waitFor(); /* what the daemon itself says */
    assert.deepEqual(new Set(asked), new Set([`/api/v1/snapshots/${id}/upload-again`]));
});

export const the_system_page_shows_the_configuration = base => withPage(base, {}, async page => {
    await page.goto('/system');
    await page.getByText('Configuration', {exact: true}).click();
    const row = name => page.getByRole('region', {name: 'Configuration'}).getByRole('row').filter({has: page.getByRole('cell', {name, exact: true})});
    await row('camera:front-door.kind').getByRole('cell', {name: 'http', exact: true}).waitFor();
    await row('web.listen').getByRole('cell', {name: /setting/}).waitFor();
});

/* Each filter by its own field, and what the page then shows is what the API finds. */
export const every_filter_of_the_bar_chooses_the_pictures = base => withPage(base, {timezoneId: 'UTC'}, async page => {
    const {id} = await take(page, FRONT), gone = await take(page, FRONT);
    await take(page, 'garden');
    await page.request.post(`/api/v1/snapshots/${id}/star`);
    await page.request.delete(`/api/v1/snapshots/${gone.id}`);
    const today = new Date().toISOString().slice(0, 10);
    const tomorrow = new Date(Date.now() + 86400000).toISOString().slice(0, 10);
    const bar = page.getByRole('search', {name: 'Filters'});
    const more = () => bar.locator('.more-filters').evaluate(details => { details.open = true; });
    const filters = [
        ['label=person', () => bar.getByLabel('What was seen').selectOption('person')],
        ['starred=1', () => bar.getByRole('button', {name: 'Starred'}).click()],
        [`to=${today}`, () => bar.getByLabel('Up to this day').fill(today), `to=${tomorrow}`],
        [`from=${today}`, () => more().then(() => bar.getByLabel('From this day').fill(today))],
        ['confidence=0.5', () => more().then(() => bar.getByLabel('At least so sure').selectOption('0.5'))],
        ['source=fetched', () => more().then(() => bar.getByLabel('How it came').selectOption('fetched'))],
        ['source=pushed', () => more().then(() => bar.getByLabel('How it came').selectOption('pushed'))],
        ['state=examined', () => more().then(() => bar.getByLabel('State').selectOption('examined'))],
        ['deleted=1', () => more().then(() => bar.getByLabel('Place').selectOption('1'))],
    ];
    for (const [query, choose, asks = query] of filters) {
        await page.goto('/timeline');
        await page.locator('.grid .shot').first().waitFor();
        await choose();
        await page.waitForURL(`**/timeline?${query}`);
        const {snapshots} = await getJson(page, `/api/v1/snapshots?${asks}&limit=5`);
        assert.equal(snapshots.length === 0, query === 'source=pushed', query);
        await page.waitForFunction(wanted => JSON.stringify([...document.querySelectorAll('.grid .shot')].slice(0, 5).map(s => s.dataset.id)) ===
            JSON.stringify(wanted), snapshots.map(s => s.id));
        await page.reload(); /* and the fields say so */
        await bar.getByRole('button', {name: 'Clear'}).waitFor();
        const shown = await bar.evaluate(form => [...form.querySelectorAll('input, select')].map(f => f.value)
            .concat([...form.querySelectorAll('[aria-pressed="true"]')].map(() => '1')).filter(Boolean));
        assert.deepEqual(shown, [query.split('=')[1]], query);
    }
});
