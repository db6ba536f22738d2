/* Times, sizes and states in words. */

const clock = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit', second: '2-digit'});
const minute = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'});
const day = new Intl.DateTimeFormat(undefined, {weekday: 'long', day: 'numeric', month: 'long'});
const dayOfYear = new Intl.DateTimeFormat(undefined, {weekday: 'long', day: 'numeric', month: 'long', year: 'numeric'});
const whole = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'medium'});
const digits = new Intl.NumberFormat();

export const clockTime = at => clock.format(at);
export const wholeTime = at => whole.format(at);
export const number = n => digits.format(n);

export function plural(n, one, many = one + 's') {
    return `${number(n)} ${n === 1 ? one : many}`;
}

/* 'Today', 'Yesterday', else the date; the year only where it is another. */
export function dayName(at, now = Date.now()) {
    const days = daysBetween(midnight(at), midnight(now));
    if (days === 0 || days === 1)
        return days ? 'Yesterday' : 'Today';
    const same = new Date(at).getFullYear() === new Date(now).getFullYear();
    return (same ? day : dayOfYear).format(at);
}
/* '18:10', or 'Sunday, 1 March, 18:10'. */
export const aboutTime = at => (dayName(at) === 'Today' ? '' : `${dayName(at)}, `) + minute.format(at);
export const longDay = at => day.format(at);

/* The midnight here that a day begins with, or that of some days later. Days may have 23 or 25 hours. */
export function midnight(at, later = 0) {
    const d = new Date(at);
    return new Date(d.getFullYear(), d.getMonth(), d.getDate() + later).getTime();
}
export const daysBetween = (from, to) => Math.round((to - from) / 86400000);

/* The date of a local day as an input of type date has it. */
export function isoDay(at) {
    const d = new Date(at);
    return [d.getFullYear(), pad(d.getMonth() + 1), pad(d.getDate())].join('-');
}
const pad = n => String(n).padStart(2, '0');

export function ago(at, now = Date.now()) {
    const s = Math.max(0, (now - at) / 1000);
    if (s < 3)
        return 'just now';
    return `${span(s)} ago`;
}

export function span(s) {
    if (s < 60)
        return `${Math.round(s)} s`;
    if (s < 3600)
        return `${Math.round(s / 60)} min`;
    if (s < 172800)
        return `${Math.round(s / 3600)} h`;
    return `${Math.round(s / 86400)} days`;
}

export function bytes(n) {
    const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
    let u = 0;
    for (; n >= 1000 && u < units.length - 1; u++)
        n /= 1000;
    return `${n >= 10 || u === 0 ? Math.round(n) : n.toFixed(1)} ${units[u]}`;
}

export const percent = share => `${Math.round(share * 100)} %`;

/* "front-door" reads better as "front door"; what is shown is still the camera's own name. */
export const cameraTitle = name => name.replace(/[-_]+/g, ' ');

const QUIET_AFTER_MS = 3600000; /* no camera that is asked regularly is silent for so long */

/* How a camera is: one of four tones, two words, and the reason when there is one. */
export function cameraCondition(camera, now = Date.now()) {
    const silent = !camera.last_picture_at || now - Date.parse(camera.last_picture_at) > QUIET_AFTER_MS;
    switch (camera.state) {
    case 'failing':
        return {tone: 'bad', word: 'Failing', why: camera.last_error};
    case 'open':
        return {tone: 'bad', word: 'Left alone for a while', why: camera.last_error};
    case 'locked':
        return {tone: 'bad', word: 'Password rejected', why: camera.last_error};
    case 'off':
        return {tone: 'off', word: 'Switched off', why: ''};
    case 'unknown':
        return {tone: 'quiet', word: 'Not asked yet', why: ''};
    default:
        return silent ? {tone: 'quiet', word: 'Quiet', why: ''} : {tone: 'good', word: 'Live', why: ''};
    }
}
