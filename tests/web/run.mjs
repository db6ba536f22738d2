/* node tests/web/run.mjs NAME ADDRESS [JSON]: runs one scenario; exit code 0 when it passed. */

import * as access from './access.mjs';
import * as look from './look.mjs';
import * as newcomer from './newcomer.mjs';
import * as pages from './pages.mjs';
import * as scrolling from './scrolling.mjs';

const all = {...pages, ...look, ...scrolling, ...access, ...newcomer};
const [,, name, base, json = '{}'] = process.argv;
if (!name) {
    console.log(Object.keys(all).join('\n'));
} else {
    try {
        const said = await all[name](base, JSON.parse(json));
        if (said)
            console.log(said);
    } catch (error) {
        console.error(error.stack ?? error);
        process.exitCode = 1;
    }
}
