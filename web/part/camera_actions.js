/* What a camera can be told to do. */

import {api, post} from '../lib/api.js';
import {fill, h} from '../lib/dom.js';
import {CAN, has} from '../lib/features.js';
import {isAdmin} from '../lib/session.js';
import {cameraTitle} from '../lib/words.js';
import {icon} from './icon.js';
import {attempt, toast} from './toast.js';

const WAIT_S = 20;

/* `changed(news)` is called with what is different then. */
export function cameraActions(camera, changed) {
    const element = h('div', {class: 'actions'});
    const title = cameraTitle(camera.name);
    let drawn = '';
    return {element, refresh};

    function refresh() {
        const now = [camera.enabled, camera.kind, isAdmin()].join();
        if (now === drawn)
            return;
        drawn = now;
        fill(element,
            isAdmin() && camera.kind !== 'push' && camera.enabled && h('button', {
                class: 'button', type: 'button', 'aria-label': `Take a picture with ${title}`, onclick: take,
            }, icon('shutter'), 'Take a picture'),
            isAdmin() && has(CAN.enable) && h('button', {
                class: 'button', type: 'button', 'aria-label': `${camera.enabled ? 'Switch off' : 'Switch on'} ${title}`, onclick: toggle,
            }, icon('power'), camera.enabled ? 'Switch off' : 'Switch on'),
            h('a', {class: 'button', href: `/timeline?camera=${encodeURIComponent(camera.name)}`, 'aria-label': `Pictures of ${title}`}, icon('timeline'), 'Pictures'));
    }

    async function take(event) {
        const button = event.currentTarget;
        button.disabled = true;
        await attempt(async () => {
            const answer = await post(api('cameras', camera.name, 'trigger') + `?wait=${WAIT_S}`);
            toast(answer.verdict ? `${title}: a new picture is there` : `${title} has not answered yet; it is asked again`);
        });
        button.disabled = false;
    }

    async function toggle() {
        const wanted = !camera.enabled;
        if (await attempt(() => post(api('cameras', camera.name, wanted ? 'enable' : 'disable')),
                          `${title} is switched ${wanted ? 'on' : 'off'}`)) {
            changed({enabled: wanted, state: wanted ? 'unknown' : 'off'});
            element.querySelector('[aria-label^="Switch"]')?.focus();
        }
    }
}
