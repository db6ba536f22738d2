/* The grid of the timeline. Of all pictures only those in sight and a little around it are elements;
 * those ahead in the direction of scrolling load before they are seen, those that were passed stop
 * loading. Sections of days stand at fixed heights, so nothing moves under the reader. */

import {fill, h} from '../lib/dom.js';
import {HEADING, layOut, measure, neighbour, placeOf, visible} from '../lib/grid_layout.js';
import {dayName, isoDay, longDay, midnight, plural} from '../lib/words.js';
import {card, dropCard} from './card.js';

const SCREENS_AHEAD = 3; /* a second of fast scrolling, for a thumbnail to come */
const SCREENS_BEHIND = 0.6;
const PICTURES_AHEAD = 600; /* ten seconds of fast scrolling: more is asked for when fewer are left */
const FRESH_MS = 600;

export class PictureGrid {
    /* `query` is appended to the links, `onNeed` asks the store for more, `onMove` hears of scrolling. */
    constructor({onNeed, onMove, signal}) {
        this.element = h('div', {class: 'grid'});
        this.cells = new Map(); /* id -> element */
        this.sections = new Map(); /* day -> {element, heading} */
        this.onNeed = onNeed;
        this.onMove = onMove;
        this.lastTop = 0;
        this.query = '';
        this.store = null;
        this.frame = 0;
        addEventListener('scroll', () => this.schedule(), {signal, passive: true});
        const resized = new ResizeObserver(() => this.resize());
        resized.observe(this.element);
        signal.addEventListener('abort', () => {
            resized.disconnect();
            cancelAnimationFrame(this.frame);
            this.clear();
        });
    }

    use(store, query) {
        this.clear();
        this.store = store;
        this.query = query;
        this.changed();
    }

    clear() {
        for (const cell of this.cells.values())
            dropCard(cell);
        this.cells.clear();
        this.sections.clear();
        fill(this.element);
    }

    /* Another width: the picture that was on top stays there. */
    resize() {
        if (!this.store || this.element.clientWidth === this.width || this.element.clientWidth === 0)
            return;
        const anchor = this.layout?.days.length ? this.range(this.top(), this.top() + 1).from : 0;
        this.changed();
        if (anchor > 0 && anchor < this.store.items.length)
            scrollTo(0, this.offset() + this.place(anchor).y - HEADING);
        this.render();
    }

    /* The store has other pictures than before. */
    changed() {
        if (!this.store)
            return; /* the first page is on the way */
        this.width = this.element.clientWidth;
        this.size = measure(this.width);
        this.layout = layOut(this.store.items, item => (item.day ??= midnight(item.at)), this.size);
        this.element.style.height = `${this.layout.height}px`;
        this.element.style.setProperty('--cell', `${this.size.cell}px`);
        this.render();
    }

    schedule() {
        this.frame ||= requestAnimationFrame(() => {
            this.frame = 0;
            this.render();
            this.onMove?.();
        });
    }

    render() {
        const top = this.top(), height = innerHeight;
        const down = top >= this.lastTop;
        this.lastTop = top;
        const before = height * (down ? SCREENS_BEHIND : SCREENS_AHEAD);
        const behind = height * (down ? SCREENS_AHEAD : SCREENS_BEHIND);
        const {from, to} = this.range(top - before, top + height + behind);
        const wanted = new Map();
        for (let i = from; i < to; i++)
            wanted.set(this.store.items[i].id, i);
        for (const [id, cell] of this.cells)
            if (!wanted.has(id)) {
                dropCard(cell);
                this.cells.delete(id);
            }
        this.drawDays(from, to);
        if (!this.store.complete && to + PICTURES_AHEAD > this.store.items.length)
            this.onNeed();
    }

    drawDays(from, to) {
        const kept = new Set();
        for (const day of this.layout.days) {
            if (day.to <= from)
                continue;
            if (day.from >= to)
                break;
            kept.add(day.key);
            const section = this.section(day);
            let next = section.heading.nextSibling;
            for (let i = Math.max(from, day.from); i < Math.min(to, day.to); i++) {
                const cell = this.cell(i, day);
                if (next && !next.parentNode)
                    next = cell; /* drawn anew in its place */
                if (cell === next)
                    next = next.nextSibling;
                else
                    section.element.insertBefore(cell, next);
            }
        }
        for (const [key, section] of this.sections)
            if (!kept.has(key)) {
                section.element.remove();
                this.sections.delete(key);
            }
    }

    section(day) {
        let section = this.sections.get(day.key);
        if (!section) {
            const count = h('span', {class: 'soft'});
            const heading = h('h2', {class: 'day'}, h('span', {}, dayName(day.key)), count);
            section = {heading, count, element: h('section', {class: 'day-pictures', data: {day: isoDay(day.key)}}, heading)};
            this.sections.set(day.key, section);
            const later = [...this.element.children].find(e => e.dataset.day < section.element.dataset.day);
            this.element.insertBefore(section.element, later ?? null);
        }
        section.element.style.transform = `translateY(${day.top}px)`;
        section.element.style.height = `${day.height}px`;
        const ended = this.store.complete || day !== this.layout.days.at(-1);
        const name = dayName(day.key);
        const words = [name === longDay(day.key) ? '' : longDay(day.key), ended && plural(day.to - day.from, 'picture')];
        fill(section.count, words.filter(Boolean).join(' · '));
        return section;
    }

    cell(index, day) {
        const item = this.store.items[index];
        let cell = this.cells.get(item.id);
        if (cell && cell.shows !== item) { /* its verdict has come, its star was set */
            const newer = card(item, {width: this.size.cell, query: this.query});
            const picture = cell.querySelector('img.here');
            if (picture)
                newer.querySelector('img')?.replaceWith(picture);
            const focused = document.activeElement === cell;
            cell.replaceWith(newer);
            if (focused)
                newer.focus({preventScroll: true});
            cell = newer;
            this.adopt(cell, item);
        } else if (!cell) {
            cell = card(item, {width: this.size.cell, query: this.query});
            this.adopt(cell, item);
        }
        const {x, y} = placeOf(index, this.layout.days, this.size);
        cell.style.transform = `translate(${x}px, ${y - day.top}px)`;
        return cell;
    }

    adopt(cell, item) {
        cell.shows = item;
        cell.classList.toggle('selected', item.id === this.store.selected);
        if (item.fresh && Date.now() - item.fresh < FRESH_MS)
            cell.classList.add('arriving');
        this.cells.set(item.id, cell);
    }

    /* Moves the selection; `step` is one of next, previous, down, up, first, last. Returns the item. */
    select(step) {
        const {items} = this.store;
        if (items.length === 0)
            return null;
        const at = this.store.find(this.store.selected);
        const index = at < 0 ? this.range(this.top() + HEADING, this.top() + innerHeight).from : {
            next: at + 1, previous: at - 1, first: 0, last: items.length - 1,
            down: neighbour(at, 1, this.layout.days, this.size),
            up: neighbour(at, -1, this.layout.days, this.size),
        }[step];
        return this.selectAt(Math.max(0, Math.min(items.length - 1, index)));
    }

    selectAt(index) {
        const item = this.store.items[index];
        this.cells.get(this.store.selected)?.classList.remove('selected');
        this.store.selected = item.id;
        this.reveal(index);
        this.render();
        const cell = this.cells.get(item.id);
        cell?.classList.add('selected');
        cell?.focus({preventScroll: true});
        return item;
    }

    /* Scrolls no more than is needed, and never smoothly: keys are held down. */
    reveal(index) {
        const y = this.offset() + this.place(index).y;
        const over = stickyHeight() + HEADING;
        const under = innerHeight - this.size.row - bottomHeight();
        if (y < scrollY + over)
            scrollTo(0, y - over);
        else if (y > scrollY + under)
            scrollTo(0, y - under);
    }

    place(index) {
        return placeOf(index, this.layout.days, this.size);
    }
    range(top, bottom) {
        return visible(this.layout.days, top, bottom, this.size);
    }
    offset() {
        return this.element.getBoundingClientRect().top + scrollY;
    }
    top() {
        return -this.element.getBoundingClientRect().top;
    }
}

const stickyHeight = () => document.querySelector('.bar').offsetHeight;
const bottomHeight = () => {
    const places = document.querySelector('.places');
    return getComputedStyle(places).position === 'fixed' ? places.offsetHeight : 0;
};
