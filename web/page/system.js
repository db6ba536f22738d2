/* How the program is: what needs somebody, what waits, where pictures and news go, and the last hours. */

import {api, get} from '../lib/api.js';
import {fill, h} from '../lib/dom.js';
import {on} from '../lib/events.js';
import {CAN, has} from '../lib/features.js';
import {hoursOf} from '../lib/histogram.js';
import {isAdmin} from '../lib/session.js';
import {bytes, cameraCondition, cameraTitle, number, plural, span} from '../lib/words.js';
import {barChart, dotChart, lineChart} from '../part/chart.js';
import {titled} from '../part/frame.js';
import {icon} from '../part/icon.js';
import {configTable} from '../part/config_table.js';

const STATUS_MS = 5000;
const LOOK_BACK_H = 24;
const LOOK_BACK = `the last ${LOOK_BACK_H} hours`;
const HOUR_MS = 3600000;
const LAST_SHOTS = 200;

export async function open(view, {signal}) {
    titled('System');
    const headline = h('div', {class: 'headline'});
    const charts = h('div', {class: 'charts'});
    const panels = h('div', {class: 'panels'});
    view.append(h('h1', {class: 'unseen'}, 'System'), headline, charts, panels);
    let status = await get(api('status'), signal);
    draw();
    drawCharts();
    if (isAdmin() && has(CAN.config))
        view.append(configTable(signal));

    /* The event is small; it says that there is something to ask for. */
    let last = Date.now();
    const refresh = async () => {
        last = Date.now();
        try {
            status = await get(api('status'), signal);
            draw();
        } catch { /* the bar says that the connection is lost */ }
    };
    on('status', () => Date.now() - last >= 1000 && refresh(), signal);
    const clock = setInterval(() => !document.hidden && Date.now() - last >= STATUS_MS && refresh(), STATUS_MS);
    const slow = setInterval(() => !document.hidden && drawCharts(), 60000);
    signal.addEventListener('abort', () => { clearInterval(clock); clearInterval(slow); });

    function draw() {
        fill(headline, verdict(status));
        fill(panels, pipeline(status),
             h('div', {class: 'panel-column'}, places(status), engine(status), doors(status)));
    }

    async function drawCharts() {
        const [hours, waited, shots] = await Promise.allSettled([hourly(signal), queued(signal), get(api('snapshots') + `?limit=${LAST_SHOTS}&state=examined`, signal)]);
        if (signal.aborted)
            return;
        fill(charts,
            hours.value && barChart('Pictures an hour', LOOK_BACK, ...hours.value),
            waited.value && lineChart('Waiting', LOOK_BACK, ...waited.value),
            shots.value?.snapshots.length > 1 && dotChart('Time to examine a picture', shots.value.snapshots.map(s => ({
                at: Date.parse(s.event_at), value: (s.verdict?.decode_ms ?? 0) + (s.verdict?.infer_ms ?? 0),
            }))));
    }
}

/* Both charts begin with it, so that a glance compares them. */
const firstHour = () => (Math.floor(Date.now() / HOUR_MS) - LOOK_BACK_H + 1) * HOUR_MS;

async function queued(signal) {
    if (!has(CAN.queues))
        return null;
    const {span_s, spans} = await get(api('queues'), signal);
    const from = firstHour();
    return [{from, to: from + LOOK_BACK_H * HOUR_MS, span: span_s * 1000},
        spans.map(({from: at, ...counts}) => ({at: Date.parse(at), ...counts})).filter(s => s.at >= from),
        [['detect', 'picture'], ['fetch', 'trigger'], ['deliver', 'event']]];
}

async function hourly(signal) {
    if (!has(CAN.histogram))
        return null;
    const from = firstHour();
    const {hours, exact} = await hoursOf({from: new Date(from).toISOString()}, signal);
    const found = new Map(hours.map(b => [Date.parse(b.from), b]));
    return [Array.from({length: LOOK_BACK_H}, (_, i) => {
        const at = from + i * HOUR_MS;
        return {at, count: found.get(at)?.count ?? 0, persons: found.get(at)?.persons ?? 0};
    }), exact];
}

/* One sentence for the whole, and what is wrong beneath it. */
function verdict(status) {
    const sick = status.health?.filter(p => p.state !== 'ok') ?? [];
    const failing = (status.cameras ?? []).map(camera => [camera, cameraCondition(camera)]).filter(([, c]) => c.tone === 'bad');
    const none = (status.cameras ?? []).length === 0;
    const worst = sick.some(p => p.state === 'stuck' || p.state === 'sick') || !status.ready;
    const tone = worst ? 'bad' : sick.length || status.attention || failing.length || none ? 'wait' : 'good';
    const words = {good: 'Everything works', wait: 'Something wants attention', bad: 'Something is wrong'}[tone];
    const because = [none && 'No camera is configured yet: the page Cameras shows how the first one comes in', status.attention, status.not_ready_because, ...sick.map(p => `${p.name}: ${p.reason ?? p.state}`),
        ...failing.map(([camera, c]) => `Camera ${cameraTitle(camera.name)}: ${c.why || c.word}`)].filter(Boolean);
    return [
        h('div', {class: 'headline-words'},
          h('p', {class: 'headline-word', data: {tone}}, icon(tone === 'good' ? 'check' : 'alert'), words),
          h('p', {class: 'soft'}, `Version ${status.version}, running for ${span(status.uptime_s)}`),
          because.length > 0 && h('ul', {class: 'because'}, [...new Set(because)].map(text => h('li', {}, text)))),
        h('dl', {class: 'numbers'},
          figure('Pictures', number(status.counts.snapshots)),
          figure('With people', number(status.counts.persons)),
          figure('Waiting', number(status.counts.stored + status.counts.triggers_pending)),
          figure('Free disk', bytes(status.disk.free_bytes), status.disk.free_bytes < status.disk.reserve_bytes)),
    ];
}

const figure = (name, value, bad = false) => h('div', {class: bad ? 'bad' : ''}, h('dt', {}, name), h('dd', {}, value));

/* detect.1, detect.2 ... are one stage to people. */
function pipeline({stages}) {
    const groups = new Map();
    for (const stage of stages) {
        const name = stage.name.replace(/\.\d+$/, '');
        const group = groups.get(name) ?? {name, threads: 0, queued: 0, done: 0, failed: 0, state: 'running', last_error: ''};
        group.threads++;
        for (const key of ['queued', 'done', 'failed'])
            group[key] += stage[key];
        if (stage.state !== 'running')
            group.state = stage.state;
        group.last_error ||= stage.last_error;
        groups.set(name, group);
    }
    return panel('Pipeline', h('div', {class: 'scroll-x', tabindex: '0', role: 'region', 'aria-label': 'Stages of the pipeline'}, h('table', {class: 'table'},
        h('thead', {}, h('tr', {}, h('th', {scope: 'col'}, 'Stage'), ['Waiting', 'Done', 'Failed'].map(t => h('th', {class: 'right', scope: 'col'}, t)))),
        h('tbody', {}, [...groups.values()].map(s => h('tr', {},
            h('td', {}, h('span', {class: 'tone', data: {tone: s.state === 'running' ? 'good' : 'bad'}}, s.name, s.threads > 1 && h('span', {class: 'soft'}, ` × ${s.threads}`), s.state !== 'running' && ` ${s.state}`),
              s.last_error && h('p', {class: 'soft small'}, s.last_error)),
            [s.queued, s.done, s.failed].map((n, i) => h('td', {class: `right${n ? '' : ' soft'}${i === 2 && n ? ' warn' : ''}`}, number(n)))))))));
}

function places(status) {
    const rows = [
        ...status.destinations.map(d => ({
            name: d.name, what: 'is told of events', tone: d.dead || d.last_error ? 'bad' : d.pending ? 'wait' : 'good',
            words: [d.state, waits(d.pending), givenUp(d.dead)], error: d.last_error,
        })),
        ...(status.storages ?? []).map(s => ({
            name: s.name, what: s.kind === 'directory' ? 'keeps copies' : `keeps copies, ${s.kind}`,
            tone: s.state !== 'well' ? 'bad' : s.dead ? 'bad' : s.pending ? 'wait' : 'good',
            words: [s.state !== 'well' && s.state, `${number(s.kept)} kept`, waits(s.pending), givenUp(s.dead)],
            error: s.last_error || s.archive_error,
        })),
    ];
    return panel('Where things go', rows.length === 0
        ? h('p', {class: 'panel-words soft'}, 'Nobody is told and nothing is uploaded.')
        : h('ul', {class: 'lines'}, rows.map(line)));
}

const waits = n => n > 0 && `${number(n)} waiting`;
const givenUp = n => n > 0 && `${number(n)} given up`;

function engine({detector, cloud}) {
    const rows = [{
        name: detector.name === 'none' ? 'No detector' : `Detector: ${detector.name}`, what: '',
        tone: detector.ready ? 'good' : detector.name === 'none' ? 'off' : 'bad', words: [detector.description],
        error: detector.name !== detector.wanted ? `${detector.wanted} was wanted: ${detector.why}` : '',
    }];
    if (cloud)
        rows.push({
            name: 'Cloud', what: cloud.description,
            tone: cloud.regions.every(r => r.state === 'closed') ? 'good' : 'wait',
            words: [`${plural(cloud.day.calls, 'call')} today`, cloud.day.left !== null && `${number(cloud.day.left)} left`,
                `about $${cloud.month_cost_usd_estimate.toFixed(2)} this month`, waits(cloud.waiting)],
        });
    return panel('Detection', h('ul', {class: 'lines'}, rows.map(line)));
}

/* How pictures come in, and what else the program does. */
function doors({ftp, spool, broker, fan, secrets, cloudwatch, errors}) {
    const rows = [];
    if (ftp && ftp.state !== 'off')
        rows.push({
            name: 'FTP server', what: ftp.listen, tone: ftp.state === 'running' ? 'good' : 'bad',
            words: [plural(ftp.stored, 'upload'), ftp.failed > 0 && `${ftp.failed} failed`, ftp.banned > 0 && `${ftp.banned} shut out`], error: ftp.last_error,
        });
    for (const folder of spool ?? []) {
        if (folder.name === 'ftp' && ftp?.state === 'off')
            continue; /* nobody fills it, and it need not exist */
        rows.push({
            name: `Folder ${folder.name}`, what: '', tone: folder.state === 'ok' ? 'good' : 'bad',
            words: [`${number(folder.taken)} taken`, folder.refused > 0 && `${number(folder.refused)} refused`,
                folder.unknown_folder && `no camera for “${folder.unknown_folder}”`], error: folder.last_error,
        });
    }
    const triggers = broker?.triggers;
    if (triggers)
        rows.push({name: 'Broker', what: triggers.address, tone: triggers.state === 'connected' ? 'good' : 'bad', words: [triggers.state], error: triggers.last_error});
    if (fan)
        rows.push({name: 'Fan', what: fan.sensor, tone: fan.state === 'running' ? 'good' : 'bad', words: [`${fan.celsius.toFixed(1)} °C`], error: fan.last_error});
    if (secrets && secrets.state !== 'off')
        rows.push({name: 'Secrets', what: '1Password', tone: {ok: 'good', cached: 'wait'}[secrets.state] ?? 'bad', words: [secrets.state], error: secrets.last_error});
    if (cloudwatch && cloudwatch.state !== 'off')
        rows.push({name: 'CloudWatch', what: cloudwatch.region, tone: cloudwatch.state === 'well' ? 'good' : 'bad', words: [], error: cloudwatch.last_error});
    if (errors?.on)
        rows.push({name: 'Error reports', what: errors.where, tone: errors.last_error ? 'bad' : 'good', words: [`${number(errors.sent)} sent`], error: errors.last_error});
    return rows.length > 0 && panel('Ways in, and company', h('ul', {class: 'lines'}, rows.map(line)));
}

function line({name, what, tone, words, error}) {
    const text = words.filter(Boolean).join(' · ');
    return h('li', {},
        h('div', {}, h('span', {class: 'tone', data: {tone}}, name), what && h('span', {class: 'soft'}, what)),
        text && h('p', {class: 'soft'}, text),
        error && h('p', {class: 'why'}, error));
}

function panel(title, ...content) {
    return h('section', {class: 'panel card'}, h('h2', {}, title), content);
}
