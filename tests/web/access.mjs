/* Logins and roles. The daemon wants a login from everybody; anna is admin, ben is viewer. */

import assert from 'node:assert/strict';

import {getJson, shownToCopy, withoutClipboard, withPage} from './browser.mjs';

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

export const a_token_is_ended_and_the_page_says_who_did_it = (base, {password}) => withPage(base, {}, async page => {
    await withoutClipboard(page);
    await page.goto('/login?to=/access');
    await logIn(page, 'anna', password);
    const panel = name => page.locator('section', {has: page.getByRole('heading', {name, exact: true})});
    const tokens = panel('Tokens for programs');
    await tokens.getByRole('textbox', {name: 'What for'}).fill('garage');
    await tokens.getByLabel('trigger').check();
    await tokens.getByRole('button', {name: 'Make the token'}).click();
    const token = await tokens.locator('.secret code').innerText();
    await tokens.getByRole('button', {name: 'Copy'}).click();
    assert.equal(await shownToCopy(page), token);
    const asks = () => page.request.fetch(new URL('/api/v1/cameras', base).href, {headers: {Authorization: `Bearer ${token}`, Cookie: ''}});
    assert.equal((await asks()).status(), 200);
    const {id} = (await getJson(page, '/api/v1/tokens')).tokens.find(t => t.name === 'garage');
    const end = tokens.getByRole('button', {name: 'End the token garage'});
    await end.click();
    await tokens.getByRole('textbox', {name: 'What for'}).focus(); /* on second thoughts */
    assert.equal(await tokens.getByText('Sure?').count(), 0);
    await end.click();
    await tokens.getByText('Sure?').click();
    await tokens.getByRole('cell', {name: 'garage', exact: true}).waitFor({state: 'detached'});
    assert.equal((await asks()).status(), 401);
    await page.reload();
    const told = panel('Who did what').locator('tbody tr').filter({hasText: id});
    await told.first().waitFor();
    const rows = await told.allInnerTexts();
    assert.equal(rows.length, 2, `${rows}`); /* newest first */
    for (const row of rows)
        assert.match(row, /anna/);
    assert.match(rows[0], /end|revok|remov|delet/i);
});

export const a_password_is_changed_by_whoever_has_it = (base, {password}) => withPage(base, {}, async page => {
    await page.goto('/login');
    await logIn(page, 'anna', password);
    await page.locator('.tile').first().waitFor();
    const {csrf} = await getJson(page, '/api/v1/session');
    const made = await page.request.post('/api/v1/users', {
        headers: {'X-CSRF-Token': csrf}, data: {name: 'dora', role: 'viewer', password: 'a first long word'}});
    assert.ok(made.ok(), await made.text());
    await page.getByRole('button', {name: /Log out/}).click();
    await page.waitForURL('**/login');
    await logIn(page, 'dora', 'a first long word');
    await page.locator('.tile').first().waitFor();
    await page.getByRole('link', {name: 'Users and tokens'}).click();
    const own = page.locator('section', {has: page.getByRole('heading', {name: 'Your password'})});
    assert.equal(await page.getByRole('heading', {name: 'Tokens for programs'}).count(), 0);
    const change = async (now, next) => {
        await own.getByLabel('Password of now').fill(now);
        await own.getByLabel('The next').fill(next);
        await own.getByRole('button', {name: 'Change it'}).click();
    };
    await change('not this one', 'a second long word');
    await own.getByRole('alert').filter({hasText: /./}).waitFor();
    await change('a first long word', 'a second long word');
    await page.getByText('The password is changed').waitFor();
    await page.getByRole('link', {name: 'Live', exact: true}).click(); /* one stays logged in */
    await page.locator('.tile').first().waitFor();
    await page.getByRole('button', {name: /Log out/}).click();
    await page.waitForURL('**/login');
    await logIn(page, 'dora', 'a first long word');
    await page.getByRole('alert').filter({hasText: /./}).waitFor();
    await logIn(page, 'dora', 'a second long word');
    await page.locator('.tile').first().waitFor();
});

/* What a page does for this session, done beside it. */
async function change(page, path) {
    const {csrf} = await getJson(page, '/api/v1/session');
    const answer = await page.request.post(path, {headers: {'X-CSRF-Token': csrf}});
    assert.equal(answer.status(), 200, path);
    return answer.json();
}

/* The news of this page come by a stream, not by asking. */
async function listens(page) {
    await page.locator('.pulse[data-state="live"]').waitFor();
    await page.locator('.tile[data-camera="front-door"]').waitFor();
    const {id} = await change(page, '/api/v1/cameras/front-door/trigger?wait=60');
    await page.locator(`.tile a.frame[href="/snapshots/${id}"]`).waitFor();
}

async function loginHasPeace(page) {
    await page.waitForURL(/\/login/);
    await page.getByLabel('User').waitFor();
    await page.locator('.lost').waitFor({state: 'hidden'});
}

export const after_a_logout_and_a_login_the_news_come_by_stream_again = (base, {password}) => withPage(base, {}, async page => {
    const refused = [];
    page.on('response', answer => answer.status() === 401 && refused.push(answer.url()));
    await page.goto('/login');
    await logIn(page, 'anna', password);
    await listens(page);
    const isNews = url => new URL(url).pathname === '/api/v1/events';
    const over = Promise.any([ /* the page ends it; else the daemon does, some seconds later, and refuses the next */
        page.waitForEvent('requestfailed', request => isNews(request.url())),
        page.waitForResponse(answer => isNews(answer.url()) && answer.status() === 401),
    ]);
    await page.getByRole('button', {name: /Log out/}).click();
    await page.waitForURL(/\/login/);
    await over;
    await loginHasPeace(page);
    await logIn(page, 'anna', password);
    await listens(page);
    assert.deepEqual(refused, [], 'nobody asks who may not know');
});

export const a_session_that_ends_elsewhere_leads_to_the_login_and_on = (base, {password}) => withPage(base, {}, async page => {
    await page.goto('/login');
    await logIn(page, 'anna', password);
    await listens(page);
    await change(page, '/api/v1/logout');
    await loginHasPeace(page); /* by itself, as soon as the stream has ended */
    const shown = await page.evaluate(() => history.length);
    const asked = [];
    page.on('request', request => asked.push(request.url()));
    await logIn(page, 'anna', password);
    await listens(page);
    assert.equal(await page.evaluate(() => history.length), shown, 'no page was opened in between');
    assert.deepEqual(asked.filter(url => url.endsWith('/api/v1/status')), [], 'nothing is asked for every few seconds');
});

export const a_viewer_sees_and_changes_nothing = (base, {password}) => withPage(base, {}, async page => {
    await page.goto('/login');
    await logIn(page, 'ben', password);
    await page.locator('.tile').first().waitFor();
    assert.equal(await page.locator('.shutter:visible').count(), 0);
    await page.goto('/timeline');
    await page.locator('.grid .shot').first().waitFor();
    for (const key of ['j', 's', 'x', '?'])
        await page.keyboard.press(key);
    await page.getByRole('dialog').getByText('next picture').waitFor();
    assert.equal(await page.getByRole('dialog').getByText(/delete|star/).count(), 0);
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.toast').count(), 0);
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
