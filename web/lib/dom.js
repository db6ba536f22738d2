/* Elements without innerHTML. Names of cameras and files, labels and errors come from strangers;
 * here they can only become text nodes and attribute values, never markup. */

const SVG = 'http://www.w3.org/2000/svg';

/* h('a', {class: 'x', href: '/y', onclick: f}, 'text', child): children may be nested lists; null,
 * undefined and false are left out. A `style` is an object and goes through the CSSOM, which a
 * strict Content-Security-Policy allows. */
export function h(tag, attributes, ...children) {
    return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
    return build(document.createElementNS(SVG, tag), attributes, children);
}

/* Replaces what is in an element. */
export function fill(element, ...children) {
    element.replaceChildren(...flat(children));
    return element;
}

/* Sets the text only when it differs: screen readers and selections are not disturbed. */
export function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

function build(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {}))
        set(element, name, value);
    element.append(...flat(children));
    return element;
}

function set(element, name, value) {
    if (value === null || value === undefined || value === false)
        return;
    if (name.startsWith('on'))
        element.addEventListener(name.slice(2), value);
    else if (name === 'style')
        for (const [property, text] of Object.entries(value))
            element.style.setProperty(property, text);
    else if (name === 'data')
        Object.assign(element.dataset, value);
    else
        element.setAttribute(name, value === true ? '' : String(value));
}

function flat(children) {
    return children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false);
}
