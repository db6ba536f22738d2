/* Where the pictures of the timeline stand: pure numbers. */

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {HEADING, layOut, measure, neighbour, placeOf, visible} from '../../web/lib/grid_layout.js';

const size = {columns: 3, gap: 10, cell: 100, row: 110};
const lay = (...counts) => layOut(counts.flatMap((n, day) => Array(n).fill({day})), i => i.day, size).days;

test('cells fill the width to the pixel', () => {
    for (const width of [320, 390, 559, 560, 820, 1376, 1920, 3000]) {
        const {columns, gap, cell} = measure(width);
        assert.ok(columns >= 2);
        assert.ok(Math.abs(columns * cell + (columns - 1) * gap - width) < 1e-6);
    }
});

test('more pictures at the end move nothing', () => {
    const before = lay(4, 7), after = lay(4, 9, 30);
    for (let i = 0; i < 11; i++)
        assert.deepEqual(placeOf(i, after, size), placeOf(i, before, size));
});

test('each day begins below the whole rows of the one before', () => {
    const [a, b] = lay(4, 1);
    assert.deepEqual([a.top, a.height, b.top], [0, HEADING + 220, HEADING + 220]);
    assert.deepEqual(placeOf(4, [a, b], size), {x: 0, y: HEADING + 220 + HEADING});
});

test('what is visible is exactly what touches the window', () => {
    const days = lay(5, 1, 8, 3);
    for (let top = -300; top < 1600; top += 7) {
        const bottom = top + 333;
        const {from, to} = visible(days, top, bottom, size);
        for (let i = 0; i < 17; i++) {
            const {y} = placeOf(i, days, size);
            if (y < bottom && y + size.row > top)
                assert.ok(i >= from && i < to, `picture ${i} from ${top}`);
        }
        assert.ok(to - from <= 18);
    }
    assert.deepEqual(visible([], 0, 100, size), {from: 0, to: 0});
});

test('up and down keep the column, over the end of a day, and stop at the ends', () => {
    const days = lay(5, 4);
    const steps = [[0, 1, 3], [2, 1, 4], [4, 1, 6], [3, 1, 5], [6, -1, 4], [7, -1, 4], [5, -1, 3], [8, 1, 8], [1, -1, 1]];
    for (const [from, direction, to] of steps)
        assert.equal(neighbour(from, direction, days, size), to, `${from} ${direction}`);
});
