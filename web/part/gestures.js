/* Fingers, wheel and double clicks on the large picture: a swipe goes to the neighbour; two fingers or a
 * double tap come nearer, and then one finger moves the picture. What is drawn on it moves along: all
 * children of the stage follow its --zoom. */

const NEAREST = 8;
const TAP_SCALE = 2.5;
const SWIPE_PX = 60;

/* `swiped(-1)`: to the picture on the left, `swiped(1)`: on the right. */
export function gestures(stage, swiped) {
    let scale = 1, x = 0, y = 0; /* a point p of the stage is drawn at p * scale + (x, y) */
    let start = null; /* of a swipe */
    const fingers = new Map(); /* pointer id -> where it is */

    stage.addEventListener('pointerdown', down);
    stage.addEventListener('pointermove', move);
    stage.addEventListener('pointerup', up);
    stage.addEventListener('pointercancel', up);
    stage.addEventListener('dblclick', event => toggle(at(event)));
    stage.addEventListener('wheel', wheel, {passive: false});
    return {reset: () => zoomTo(1, {x: 0, y: 0}), toggle: () => toggle({x: stage.clientWidth / 2, y: stage.clientHeight / 2})};

    function down(event) {
        if (event.button)
            return;
        fingers.set(event.pointerId, at(event));
        start = fingers.size === 1 && scale === 1 && event.pointerType !== 'mouse' ? at(event) : null;
        if (fingers.size > 1 || scale > 1)
            stage.setPointerCapture(event.pointerId);
    }

    function move(event) {
        const before = fingers.get(event.pointerId);
        if (!before)
            return;
        const now = at(event);
        const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        fingers.set(event.pointerId, now);
        if (other) {
            const middle = {x: (now.x + other.x) / 2, y: (now.y + other.y) / 2};
            zoomTo(scale * distance(now, other) / Math.max(1, distance(before, other)), middle);
            moveBy((now.x - before.x) / 2, (now.y - before.y) / 2);
        } else if (scale > 1) {
            moveBy(now.x - before.x, now.y - before.y);
        }
    }

    function up(event) {
        fingers.delete(event.pointerId);
        if (!start || event.type === 'pointercancel') {
            start = null;
            return;
        }
        const now = at(event);
        const across = now.x - start.x;
        if (Math.abs(across) > SWIPE_PX && Math.abs(across) > 2 * Math.abs(now.y - start.y))
            swiped(across < 0 ? 1 : -1);
        start = null;
    }

    /* Two fingers on a touchpad are a wheel with Ctrl. */
    function wheel(event) {
        if (!event.ctrlKey)
            return;
        event.preventDefault();
        zoomTo(scale * Math.exp(-event.deltaY / 100), at(event));
    }

    function toggle(place) {
        zoomTo(scale > 1 ? 1 : TAP_SCALE, place);
    }

    /* `place` of the stage stays where it is. */
    function zoomTo(wanted, place) {
        const next = Math.min(NEAREST, Math.max(1, wanted));
        x = place.x - (place.x - x) * next / scale;
        y = place.y - (place.y - y) * next / scale;
        scale = next;
        moveBy(0, 0);
    }

    /* The picture always covers the stage. */
    function moveBy(dx, dy) {
        x = Math.min(0, Math.max(stage.clientWidth * (1 - scale), x + dx));
        y = Math.min(0, Math.max(stage.clientHeight * (1 - scale), y + dy));
        stage.classList.toggle('near', scale > 1);
        stage.style.setProperty('--zoom', scale > 1 ? `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) scale(${scale.toFixed(3)})` : 'none');
    }

    function at(event) {
        const {left, top} = stage.getBoundingClientRect();
        return {x: event.clientX - left, y: event.clientY - top};
    }
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
