/* What a new installation shows in place of cameras: what the program does, and how the first camera
 * comes in. It gives way by itself as soon as there is one. */

import {api, get} from '../lib/api.js';
import {h} from '../lib/dom.js';
import {CAN, has} from '../lib/features.js';
import {show} from '../lib/router.js';
import {isAdmin} from '../lib/session.js';
import {copy} from './copy.js';

const LOOK_MS = 3000;
const ASKED = `[camera:porch]
kind = hikvision
address = 192.168.1.21:80
user = viewer
password = the camera's own`;
const PUSHING = `[camera:garage]

[ftp_account:garage]
password = a long one
camera = garage`;

export function firstSteps(signal) {
    const file = h('code', {}, 'the configuration file');
    const reload = h('div', {});
    const timer = setInterval(() => !document.hidden && look(), LOOK_MS);
    signal.addEventListener('abort', () => clearInterval(timer));
    fillIn();
    return h('div', {class: 'first-steps'},
        h('h2', {}, 'No camera yet: here is how the first one comes in'),
        h('p', {class: 'soft'}, 'This program takes still pictures from your cameras, finds the people and things on them, tells whom you want, and keeps them where you want.'),
        h('ol', {},
          h('li', {}, h('p', {}, 'Write the camera into ', file, '. One that is asked for its pictures:'), sample(ASKED),
            h('p', {}, 'One that pushes its pictures by FTP (the first needs a restart in place of a reload, which begins the FTP server):'), sample(PUSHING)),
          h('li', {}, h('p', {}, 'Let the daemon read it:'), reload),
          h('li', {}, h('p', {}, 'The camera appears on this page by itself. For other makers, see ', h('code', {}, 'snapshotd config --sample'), '.'))));

    async function look() {
        const {cameras} = await get(api('cameras'), signal).catch(() => ({cameras: []}));
        if (cameras.length > 0 && !signal.aborted)
            show();
    }

    /* What this daemon knows of itself makes the steps ready to use. */
    async function fillIn() {
        reload.replaceChildren(sample('systemctl reload snapshotd'));
        const [status, config] = await Promise.allSettled([
            get(api('status'), signal), isAdmin() && has(CAN.config) ? get(api('config'), signal) : null]);
        if (status.value?.pid)
            reload.append(h('p', {class: 'soft small'}, 'Or, without systemd: ', h('code', {}, `kill -HUP ${status.value.pid}`)));
        if (config.value?.file)
            file.textContent = config.value.file;
    }
}

function sample(text) {
    return h('div', {class: 'sample'}, h('pre', {tabindex: '0'}, text),
        h('button', {class: 'button', type: 'button', onclick: () => copy(text)}, 'Copy'));
}
