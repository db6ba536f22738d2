/* What is known of one picture: what was seen, what happened to it, what file it is. */

import {h} from '../lib/dom.js';
import {bytes, clockTime, percent, wholeTime} from '../lib/words.js';
import {boxed, kindOf} from './boxes.js';

/* `point(index)` is called with the detection under the pointer or the keyboard, null for none. */
export function seen(shot, point) {
    const verdict = shot.verdict;
    return section('Seen', 'seen',
        !verdict ? h('p', {class: 'tone', data: {tone: 'wait'}}, 'It waits to be examined.')
        : verdict.outcome === 'failed' ? h('p', {class: 'tone wraps', data: {tone: 'bad'}}, `The examination failed: ${verdict.error ?? 'no reason given'}`)
        : verdict.outcome === 'skipped' ? h('p', {class: 'soft'}, `Not examined: ${verdict.error ?? 'detection is off'}`)
        : verdict.detections.length === 0 ? h('p', {class: 'soft'}, 'Nothing was recognised.')
        : h('ul', {class: 'detections'}, rows(shot, point)),
        verdict?.outcome === 'examined' && verdict.error && h('p', {class: 'soft small'}, verdict.error),
        verdict?.damaged && h('p', {class: 'tone', data: {tone: 'wait'}}, 'The picture ends early: the lower part is missing.'),
        verdict?.outcome === 'examined' && h('p', {class: 'soft small'}, `${verdict.model}, ${Math.round(verdict.decode_ms + verdict.infer_ms)} ms`));
}

function rows(shot, point) {
    const places = boxed(shot);
    return shot.verdict.detections.map(detection => {
        const index = places.indexOf(detection);
        const at = index < 0 ? null : index;
        return h('li', {
            class: kindOf(detection.label),
            onpointerenter: () => point(at), onpointerleave: () => point(null),
        },
            h('span', {class: 'detection-label'}, detection.label),
            h('span', {class: 'sure', 'aria-hidden': 'true'}, h('i', {style: {width: percent(detection.confidence).replace(' ', '')}})),
            h('span', {class: 'figure'}, percent(detection.confidence)));
    });
}

const WORDS = {
    triggered: 'Triggered', fetched: 'Fetched', received: 'Received', stored: 'Stored safely', examined: 'Examined',
    'not examined': 'Not examined', 'examination failed': 'Examination failed', delivered: 'Told', 'not delivered': 'Not told',
    kept: 'Uploaded', 'not kept': 'Not uploaded', removed: 'Tidied away', failed: 'Given up',
};
const BAD = /fail|not |refused|given up|error/i;

export function story(shot) {
    const steps = shot.story ?? [];
    const first = Date.parse(steps[0]?.at ?? shot.event_at);
    return section('Story', 'story', h('ol', {class: 'story'}, steps.map((step, i) => {
        const at = Date.parse(step.at);
        const bad = step.what !== 'not examined' && BAD.test(step.what);
        return h('li', {class: bad ? 'bad' : '', data: {what: step.what}},
            h('div', {},
              h('strong', {}, WORDS[step.what] ?? sentence(step.what)),
              h('time', {datetime: step.at, title: wholeTime(at)}, i === 0 ? clockTime(at) : after(at - first))),
            step.detail && h('p', {}, step.detail));
    })));
}

/* How long after the first step: what people want to know of a pipeline. */
function after(ms) {
    if (ms < 1000)
        return `+${ms} ms`;
    if (ms < 120000)
        return `+${(ms / 1000).toFixed(1)} s`;
    return `+${Math.round(ms / 60000)} min`;
}

export function fileFacts(shot) {
    const row = (name, value, kind = '') => value && [h('dt', {}, name), h('dd', {class: kind}, value)];
    return section('File', 'file', h('dl', {class: 'file-facts'},
        row('Picture', `${shot.width} × ${shot.height}, ${shot.format}, ${bytes(shot.size)}`),
        row('Came', shot.source === 'fetched' ? `asked for, ${Math.round(shot.fetch_ms)} ms` : 'pushed by the camera'),
        row('Device', shot.device_key),
        row('Path', shot.path, 'mono'),
        row('SHA-256', shot.sha256, 'mono cut'),
        row('Id', shot.id, 'mono')),
        h('p', {class: 'small'}, h('a', {class: 'plain-link', href: shot.links.self, target: '_blank', rel: 'noopener'}, 'As JSON'),
          shot.links.annotated && [' · ', h('a', {class: 'plain-link', href: shot.links.annotated, target: '_blank', rel: 'noopener'}, 'Copy with boxes')]));
}

const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);

function section(title, name, ...content) {
    return h('section', {class: `fact ${name}`}, h('h2', {}, title), content);
}
