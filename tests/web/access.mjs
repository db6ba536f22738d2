/* Logins and roles. The daemon wants a login from everybody; anna is admin, ben is viewer. */

import assert from 'node:assert/strict';

import {withPage} from './browser.mjs';

async function logIn(page, user, password) {
    await page.getByLabel('User').fill(user);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', {name: 'Log in'}).click();
}

export const without_a_login_there_is_only_the_login = (base, {password}) => withPage(base, {}, async page => {
    await page.goto('/timeline?person=1');
    await page.waitForURL('**/login?to=*');
    assert.equal(await page.locator('.places a').count(), 0);
    await logIn(page, 'anna', 'not this one');
    await page.getByRole('alert').filter({hasText: /./}).waitFor();
    assert.equal(await page.getByLabel('Password').inputValue(), '');
    await logIn(page, 'anna', password);
    await page.waitForURL('**/timeline?person=1');
    await page.locator('.grid .shot').first().waitFor();
    await page.getByRole('button', {name: /Log out/}).click();
    await page.waitForURL('**/login');
    await page.goto('/');
    await page.waitForURL('**/login?to=*');
});

export const a_viewer_sees_and_changes_nothing = (base, {password}) => withPage(base, {}, async page => {
    await page.goto('/login');
    await logIn(page, 'ben', password);
    await page.locator('.tile').first().waitFor();
    assert.equal(await page.locator('.shutter:visible').count(), 0);
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().click();
    await page.getByRole('button', {name: 'Boxes'}).waitFor();
    for (const name of ['Star', 'Delete', 'Examine again'])
        assert.equal(await page.getByRole('button', {name}).count(), 0, name);
    const answer = await page.request.post('/api/v1/cameras/front-door/trigger');
    assert.equal(answer.status(), 403);
});

export const an_admin_changes_things_and_makes_users_and_tokens = (base, {password}) => withPage(base, {}, async page => {
    await page.goto('/login');
    await logIn(page, 'anna', password);
    await page.locator('.tile').first().waitFor();
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().click();
    await page.locator('.button.star').click(); /* carries the CSRF token */
    await page.locator('.button.star[aria-pressed="true"]').waitFor();
    await page.getByRole('link', {name: 'Users and tokens'}).click();
    const users = page.locator('section', {has: page.getByRole('heading', {name: 'Users', exact: true})});
    await users.getByRole('textbox', {name: 'Name'}).fill('carla');
    await users.getByRole('textbox', {name: 'Password'}).fill('a long quiet evening');
    await users.getByRole('button', {name: 'Add the user'}).click();
    await users.getByRole('cell', {name: 'carla', exact: true}).waitFor();
    await users.getByRole('button', {name: 'Remove carla'}).click();
    await users.getByText('Sure?').click();
    await users.getByRole('cell', {name: 'carla', exact: true}).waitFor({state: 'detached'});
    const tokens = page.locator('section', {has: page.getByRole('heading', {name: 'Tokens for programs'})});
    await tokens.getByRole('textbox', {name: 'What for'}).fill('doorbell');
    await tokens.getByRole('button', {name: 'Make the token'}).click();
    assert.ok((await tokens.locator('.secret code').innerText()).length > 20);
    await page.reload();
    await tokens.getByRole('cell', {name: 'doorbell', exact: true}).waitFor();
    assert.equal(await tokens.locator('.secret code').count(), 0, 'it is shown once');
    await page.getByRole('heading', {name: 'Who did what'}).waitFor();
});
