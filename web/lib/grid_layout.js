/* Where each picture of the timeline is, from numbers alone: all rows of a width are equally high, so
 * what is loaded later never moves what is there. Pure; tests/web/grid_layout.test.mjs. */

export const HEADING = 60;
const WORDS = 34; /* below a picture */
const RATIO = 3 / 2;

/* Columns and sizes for a width in CSS pixels. */
export function measure(width) {
    const narrow = width < 560;
    const gap = narrow ? 10 : 16;
    const columns = narrow ? 2 : Math.max(2, Math.round((width + gap) / (250 + gap)));
    const cell = (width - gap * (columns - 1)) / columns;
    return {columns, gap, cell, row: Math.round(cell / RATIO) + WORDS + gap};
}

/* Days in order: {from, to (not included), top, height}, by the index of their first picture.
 * `items` are sorted, newest first; dayOf(item) is the same for all of a day. */
export function layOut(items, dayOf, {columns, row}) {
    const days = [];
    let day = null;
    for (let i = 0; i < items.length; i++) {
        const key = dayOf(items[i]);
        if (day?.key !== key) {
            day = {key, from: i, to: i};
            days.push(day);
        }
        day.to = i + 1;
    }
    let top = 0;
    for (day of days) {
        day.top = top;
        day.height = HEADING + Math.ceil((day.to - day.from) / columns) * row;
        top += day.height;
    }
    return {days, height: top};
}

export function placeOf(index, days, {columns, cell, gap, row}) {
    const day = days[dayAt(days, d => d.from <= index)];
    const n = index - day.from;
    return {x: (n % columns) * (cell + gap), y: day.top + HEADING + Math.floor(n / columns) * row};
}

/* The indexes between two heights, whole rows: {from, to}. */
export function visible(days, top, bottom, {columns, row}) {
    if (days.length === 0)
        return {from: 0, to: 0};
    const first = days[dayAt(days, d => d.top <= top)];
    const last = days[dayAt(days, d => d.top <= bottom)];
    const rowsAbove = Math.max(0, Math.floor((top - first.top - HEADING) / row));
    const rowsBelow = Math.max(0, Math.ceil((bottom - last.top - HEADING) / row));
    return {
        from: Math.min(first.to, first.from + rowsAbove * columns),
        to: Math.min(last.to, last.from + rowsBelow * columns),
    };
}

/* One up or down keeps the column, also over the end of a day. */
export function neighbour(index, direction, days, {columns}) {
    const at = dayAt(days, d => d.from <= index);
    const day = days[at];
    const column = (index - day.from) % columns;
    const target = index + direction * columns;
    if (target >= day.from && target < day.to)
        return target;
    if (direction > 0) {
        const lastRow = Math.floor((day.to - 1 - day.from) / columns);
        if (Math.floor((index - day.from) / columns) < lastRow)
            return day.to - 1;
        const next = days[at + 1];
        return next ? Math.min(next.from + column, next.to - 1) : index;
    }
    const before = days[at - 1];
    if (!before)
        return index;
    const lastRow = Math.floor((before.to - 1 - before.from) / columns);
    return Math.min(before.from + lastRow * columns + column, before.to - 1);
}

/* The last day for which a condition holds that holds for the first ones; 0 when for none. */
function dayAt(days, holds) {
    let low = 0, high = days.length - 1;
    while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (holds(days[middle]))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
