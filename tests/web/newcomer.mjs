/* What somebody sees who has just installed the program, and who loses it from sight. */

import assert from 'node:assert/strict';

import {shownToCopy, take, withoutClipboard, withPage} from './browser.mjs';

/* `control` is the address of the test's other half, which holds the daemon. */
async function tell(page, control, what) {
    const answer = await page.request.post(control, {data: what, timeout: 0});
    assert.equal(answer.status(), 200, what);
}

export const without_a_camera_the_pages_lead_to_the_first = (base, {control, config}) => withPage(base, {}, async page => {
    await withoutClipboard(page);
    await page.goto('/timeline');
    await page.getByText('No pictures yet').waitFor();
    await page.getByRole('link', {name: 'Add a camera'}).click();
    await page.waitForURL('**/cameras');
    await page.getByText('takes still pictures from your cameras').waitFor();
    await page.goto('/system');
    await page.getByText('No camera is configured yet').waitFor();
    assert.equal(await page.locator('main .why').count(), 0, 'nothing is wrong with what nobody uses');
    await page.goto('/');
    await page.getByText(config).waitFor();
    await page.locator('.sample', {hasText: '[camera:porch]'}).getByRole('button', {name: 'Copy'}).click();
    assert.equal((await shownToCopy(page)).split('\n').length, 5);
    await page.getByText('kill -HUP').waitFor();
    await tell(page, control, 'add the camera');
    await page.locator('.tile[data-camera="porch"]').waitFor();
});

export const a_daemon_that_restarts_is_missed_and_found_again = (base, {control}) => withPage(base, {}, async page => {
    const before = await take(page, 'front-door');
    await page.goto('/');
    await page.locator('.pulse[data-state="live"]').waitFor();
    await page.locator(`.tile a.frame[href="/snapshots/${before.id}"]`).waitFor();
    await tell(page, control, 'stop');
    await page.getByText('The daemon does not answer').waitFor();
    await page.getByRole('link', {name: 'Cameras', exact: true}).click(); /* not loaded before, and now it cannot be */
    await page.getByText('This did not work').waitFor();
    await tell(page, control, 'start');
    await page.locator('.camera[data-camera="front-door"]').waitFor();
    await page.locator('.lost').waitFor({state: 'hidden'});
    await page.locator('.pulse[data-state="live"]').waitFor();
    await page.getByRole('link', {name: 'Live', exact: true}).click();
    const after = await take(page, 'front-door');
    await page.locator(`.tile a.frame[href="/snapshots/${after.id}"]`).waitFor();
});
