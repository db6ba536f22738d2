/* Icons, drawn as strokes on 24 x 24. They say nothing to screen readers: the words beside them do. */

import {svg} from '../lib/dom.js';

const STROKES = {
    wall: 'M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z',
    timeline: 'M4 6h10M4 12h16M4 18h7M18 5v2M14.5 17v2',
    camera: 'M4 8.5h3l1.5-2.5h7l1.5 2.5h3v10H4zM12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4',
    system: 'M4 13h3.5l2-6 4.5 11 2.5-7 1 2H20',
    access: 'M14.5 13.5a4.5 4.5 0 1 0-3.5-3.5L4 17v3h3l1-1v-2h2v-2h2zM16.5 7.5h.01',
    person: 'M12 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M5.5 20a6.5 6.5 0 0 1 13 0',
    star: 'M12 4l2.45 5.05 5.55.75-4.05 3.85 1 5.5L12 16.5l-4.95 2.65 1-5.5L4 9.8l5.55-.75z',
    search: 'M11 17.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13M16 16l4 4',
    left: 'M14.5 6l-6 6 6 6',
    right: 'M9.5 6l6 6-6 6',
    back: 'M20 12H5M11 6l-6 6 6 6',
    boxes: 'M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M9 9h6v6H9z',
    download: 'M12 4v11M7.5 11l4.5 4.5 4.5-4.5M4.5 20h15',
    trash: 'M5 7h14M10 7V4.5h4V7M6.5 7l1 13h9l1-13M10 11v5M14 11v5',
    again: 'M19 12a7 7 0 1 1-2-4.9M19.5 4v4h-4',
    upload: 'M12 16V5M7.5 9L12 4.5 16.5 9M4.5 20h15',
    link: 'M10 14a3.5 3.5 0 0 0 5 0l3.5-3.5a3.5 3.5 0 0 0-5-5L12.5 6.5M14 10a3.5 3.5 0 0 0-5 0L5.5 13.5a3.5 3.5 0 0 0 5 5l1-1',
    close: 'M6 6l12 12M18 6L6 18',
    check: 'M5 12.5l4.5 4.5L19 7.5',
    alert: 'M12 4.5L3.5 19.5h17zM12 10.5v4M12 17h.01',
    theme: 'M12 4.5v15a7.5 7.5 0 0 0 0-15zM12 19.5a7.5 7.5 0 0 1 0-15',
    out: 'M10 4.5H5v15h5M14 8l4 4-4 4M18 12H9',
    filter: 'M4 7h16M7 12h10M10 17h4',
    shutter: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16M12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7',
    gone: 'M4 5h16v14H4zM4 19L20 5',
    up: 'M12 19V6M6.5 11L12 5.5 17.5 11',
    plus: 'M12 5v14M5 12h14',
    power: 'M12 4v8M7.5 7a7 7 0 1 0 9 0',
};

export function icon(name) {
    return svg('svg', {class: `icon icon-${name}`, viewBox: '0 0 24 24', 'aria-hidden': 'true'},
               svg('path', {d: STROKES[name]}));
}
