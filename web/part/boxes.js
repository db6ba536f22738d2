/* What the detector found, drawn over a picture from the data. The drawing scales as the picture
 * does (`slice` where the picture covers its place, `meet` where it fits into it). */

import {h, svg} from '../lib/dom.js';
import {percent} from '../lib/words.js';

const KINDS = {
    person: 'person',
    bicycle: 'vehicle', car: 'vehicle', motorcycle: 'vehicle', bus: 'vehicle', truck: 'vehicle', train: 'vehicle', boat: 'vehicle',
    bird: 'animal', cat: 'animal', dog: 'animal', horse: 'animal', sheep: 'animal', cow: 'animal', bear: 'animal',
};
export const kindOf = label => KINDS[label] ?? 'thing';

export function boxLines(snapshot, fit = 'slice') {
    const {width, height} = snapshot;
    return svg('svg', {
        class: 'boxes', viewBox: `0 0 ${width} ${height}`,
        preserveAspectRatio: `xMidYMid ${fit}`, 'aria-hidden': 'true',
    }, boxed(snapshot).map(({label, box}, index) => ['halo', kindOf(label)].map(kind =>
        svg('rect', {
            class: `box ${kind}`, 'data-index': index, x: box[0], y: box[1],
            width: Math.max(0, box[2] - box[0]), height: Math.max(0, box[3] - box[1]),
            rx: Math.min(width, height) / 130, 'vector-effect': 'non-scaling-stroke',
        }))));
}

/* The words above the boxes; for a place that has the proportions of the picture. */
export function boxLabels(snapshot) {
    const {width, height} = snapshot;
    return h('div', {class: 'box-labels', 'aria-hidden': 'true'},
        boxed(snapshot).map(({label, confidence, box}, index) => {
            const above = box[1] / height > 0.045;
            const across = box[0] / width > 0.82 ? {right: share(width - box[2], width)} : {left: share(box[0], width)};
            return h('span', {
                class: `box-label ${kindOf(label)}${above ? '' : ' inside'}`, data: {index},
                style: {...across, top: share(box[1], height)},
            }, label, h('i', {}, ` ${percent(confidence)}`));
        }));
}

/* Detections that have a place in the picture, with the index that their rows carry. */
export const boxed = snapshot =>
    (snapshot.width > 0 ? snapshot.verdict?.detections ?? [] : []).filter(d => d.box);

const share = (part, whole) => `${Math.max(0, Math.min(98, part / whole * 100)).toFixed(2)}%`;
