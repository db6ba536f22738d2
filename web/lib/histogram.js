/* How many pictures came in which hour. */

import {api, get} from './api.js';

const HOUR_MS = 3600000;
const PAGES = 4; /* hours enough for three months of a busy place */

/* The hours in which there are pictures of this search, newest first: {from, count, persons}. Unless `exact` there
 * is more before the last of them, which is counted in part. */
export async function hoursOf(query, signal) {
    const asked = new URLSearchParams(query);
    asked.set('by', 'hour');
    const hours = new Map();
    let whole = false;
    for (let page = 0; page < PAGES && !whole; page++) {
        const {buckets, exact} = await get(api('snapshots', 'histogram') + '?' + asked, signal);
        for (const bucket of buckets)
            hours.set(bucket.from, bucket);
        whole = exact;
        if (buckets.length < 2)
            break; /* asking again would tell no more */
        /* the last one of each answer is asked for again, whole */
        asked.set('to', new Date(Date.parse(buckets.at(-1).from) + HOUR_MS).toISOString());
    }
    return {hours: [...hours.values()], exact: whole};
}
