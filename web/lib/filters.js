/* The filters of the timeline. They live in the address: a link to a search is a link. */

const TEXT = ['q', 'camera', 'label', 'from', 'to', 'confidence', 'source', 'state', 'person', 'starred', 'deleted'];

/* Only what is a filter, in one order, so that equal filters make equal addresses. */
export function filtersOf(query) {
    const filters = new URLSearchParams();
    for (const name of TEXT)
        for (const value of query.getAll(name))
            if (value !== '')
                filters.append(name, value);
    return filters;
}

/* For the API: the dates of the page are days of this place, those of the API are of UTC. */
export function apiFilters(filters) {
    const query = new URLSearchParams(filters);
    for (const [name, days] of [['from', 0], ['to', 1]]) {
        const day = /^(\d{4})-(\d{2})-(\d{2})$/.exec(query.get(name) ?? '');
        if (day) /* `to` means until the end of that day */
            query.set(name, new Date(day[1], day[2] - 1, Number(day[3]) + days).toISOString());
    }
    return query;
}

export function withFilter(filters, name, value) {
    const changed = new URLSearchParams(filters);
    if (value === null || value === '')
        changed.delete(name);
    else
        changed.set(name, value);
    return filtersOf(changed);
}

/* Whether a snapshot that has just come belongs on a page with these filters. Null: only the
 * daemon can tell. */
export function matches(filters, item) {
    if (filters.has('q') || filters.has('confidence') || filters.has('source') || filters.has('deleted'))
        return null;
    const cameras = filters.getAll('camera');
    const labels = filters.getAll('label');
    const api = apiFilters(filters);
    return (!cameras.length || cameras.includes(item.camera)) &&
        (!labels.length || labels.some(l => l === 'person' ? item.persons > 0 : item.labels.includes(l))) &&
        fits(filters.get('person'), item.persons > 0) &&
        fits(filters.get('starred'), item.starred) &&
        (!filters.has('state') || (filters.get('state') === 'stored') === item.waiting) &&
        (!api.has('from') || item.at >= Date.parse(api.get('from'))) &&
        (!api.has('to') || item.at < Date.parse(api.get('to')));
}

const fits = (wanted, is) => wanted === null || (wanted === '1') === is;
