/* A browser for one scenario: what every test of the pages needs, and what none of them may see (errors
 * of scripts, refusals by the Content-Security-Policy). */

import {createRequire} from 'node:module';
import {fileURLToPath} from 'node:url';

const require = createRequire(fileURLToPath(new URL('../../.deps/browser/', import.meta.url)));
const {chromium} = require('playwright-core');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const axePath = require.resolve('axe-core/axe.min.js');

export const SIZES = {phone: [390, 844], tablet: [820, 1180], desktop: [1440, 900]};
export const PATIENCE = 1000 * Number(process.env.SNAPSHOT_PATIENCE ?? 60);

/* Calls work(page, context) with a new page of this base address and returns what that does; throws what went wrong
 * on the page. */
export async function withPage(base, {size = 'desktop', dark = false, motion = 'reduce', ...more}, work) {
    /* Root cannot use Chromium's own sandbox; what it shows here comes from this machine alone. */
    const browser = await chromium.launch({executablePath: CHROMIUM, args: process.getuid() === 0 ? ['--no-sandbox'] : []});
    try {
        const [width, height] = SIZES[size];
        const context = await browser.newContext({
            baseURL: base, viewport: {width, height}, colorScheme: dark ? 'dark' : 'light', reducedMotion: motion,
            isMobile: size === 'phone', hasTouch: size === 'phone', locale: 'en-GB', acceptDownloads: true, ...more,
        });
        context.setDefaultTimeout(PATIENCE);
        const page = await context.newPage();
        const troubles = [];
        page.on('pageerror', error => troubles.push(`script error: ${error.stack ?? error}`));
        page.on('dialog', dialog => {
            troubles.push(`a dialog: ${dialog.message()}`);
            dialog.dismiss();
        });
        page.on('console', message => {
            if (/Content Security Policy|TrustedHTML|Trusted Type/i.test(message.text()))
                troubles.push(message.text());
        });
        let said;
        try {
            said = await work(page, context);
        } catch (error) {
            if (process.env.TRACE_DIR)
                await page.screenshot({path: `${process.env.TRACE_DIR}/failed.png`}).catch(() => {});
            throw troubles.length ? new Error([error.stack, ...troubles].join('\n')) : error;
        }
        if (troubles.length)
            throw new Error(troubles.join('\n'));
        return said;
    } finally {
        await browser.close();
    }
}

/* Serious and critical findings of axe on the page as it is. */
export async function seriousFindings(page) {
    /* A debugger's script: the page's policy does not hold for it, and need not be loosened. */
    const {readFileSync} = await import('node:fs');
    const session = await page.context().newCDPSession(page);
    const run = expression => session.send('Runtime.evaluate', {expression, awaitPromise: true, returnByValue: true});
    await run(readFileSync(axePath, 'utf8') + ';0');
    const {result, exceptionDetails} = await run('axe.run(document, {resultTypes: ["violations"]})' +
        '.then(r => JSON.stringify(r.violations.filter(v => ["serious", "critical"].includes(v.impact))' +
        '.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " " + n.failureSummary).join(" | ")}`)))');
    if (exceptionDetails)
        throw new Error('axe: ' + JSON.stringify(exceptionDetails));
    return JSON.parse(result.value);
}

/* From now on the page is as over plain HTTP from elsewhere, where it can copy nothing. */
export const withoutClipboard = page =>
    page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined}));

/* What is shown to be copied by hand; the dialog is closed again. */
export async function shownToCopy(page) {
    const shown = page.getByRole('dialog').getByRole('textbox');
    const text = await shown.inputValue();
    const selected = await shown.evaluate(field => field === document.activeElement ? field.selectionEnd - field.selectionStart : 0);
    if (selected !== text.length)
        throw new Error(`${selected} letters of ${text} are selected`);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({state: 'detached'});
    return text;
}

/* What a browser keeps after a click or a key: {name, bytes}. */
export async function downloaded(page, act) {
    const [download] = await Promise.all([page.waitForEvent('download'), act()]);
    const {readFile} = await import('node:fs/promises');
    return {name: download.suggestedFilename(), bytes: await readFile(await download.path())};
}

export async function getJson(page, path) {
    const answer = await page.request.get(path);
    if (!answer.ok())
        throw new Error(`${path}: ${answer.status()} ${await answer.text()}`);
    return answer.json();
}

/* A picture of this camera, examined; its document. */
export async function take(page, camera) {
    const answer = await page.request.post(`/api/v1/cameras/${encodeURIComponent(camera)}/trigger?wait=60`, {timeout: PATIENCE});
    if (answer.status() !== 200)
        throw new Error(`trigger ${camera}: ${answer.status()} ${await answer.text()}`);
    return answer.json();
}
