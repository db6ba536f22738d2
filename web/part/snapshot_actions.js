/* What can be done with one picture. Each tells by a toast when it failed. */

import {api, post, remove} from '../lib/api.js';
import {CAN, has} from '../lib/features.js';
import {brief} from '../lib/snapshot.js';
import {dropEverywhere, forget, updateEverywhere} from '../lib/timeline_store.js';
import {attempt, toast} from './toast.js';

/* The snapshot as it is then, or null. */
export async function setStar(id, wanted) {
    let document = null;
    await attempt(async () => {
        document = await post(api('snapshots', id, wanted ? 'star' : 'unstar'));
        updateEverywhere(brief(document));
    });
    return document;
}

/* Into the trash; the toast brings it back and then calls `restored`. */
export async function moveToTrash(id, restored) {
    if (!has(CAN.delete)) {
        toast('This daemon cannot delete single pictures.', {tone: 'bad'});
        return false;
    }
    if (!await attempt(() => remove(api('snapshots', id))))
        return false;
    dropEverywhere(id);
    toast('Moved to the trash', {action: 'Undo', then: () => restore(id, restored)});
    return true;
}

export async function restore(id, restored) {
    if (await attempt(() => post(api('snapshots', id, 'undelete')), 'It is back')) {
        forget(); /* where news are asked for nobody tells them */
        restored();
    }
}
