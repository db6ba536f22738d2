/* Who may come in: users, tokens for programs, and what they did. Everybody finds his password here. */

import {api, get, post, remove} from '../lib/api.js';
import {fill, h, setText} from '../lib/dom.js';
import {CAN, has} from '../lib/features.js';
import {changePassword, isAdmin, session} from '../lib/session.js';
import {ago, clockTime, dayName, wholeTime} from '../lib/words.js';
import {copy} from '../part/copy.js';
import {titled} from '../part/frame.js';
import {icon} from '../part/icon.js';
import {attempt, toast} from '../part/toast.js';

const DAY_S = 86400;
const SCOPES = ['read', 'trigger', 'push', 'manage'];
const AUDIT_ROWS = 50;

export async function open(view, {signal}) {
    titled('Users and tokens');
    view.append(h('div', {class: 'page-head'}, h('h1', {}, 'Users and tokens'),
        h('p', {}, session.user ? `You are ${session.user}, ${session.role}.` : 'You are at the machine itself: no login is needed.')));
    const panels = h('div', {class: 'access'});
    view.append(panels);
    if (session.how === 'session')
        panels.append(ownPassword());
    if (isAdmin() && has(CAN.users))
        panels.append(await users(signal));
    if (isAdmin() && has(CAN.tokens))
        panels.append(await tokens(signal));
    if (isAdmin() && has(CAN.audit))
        panels.append(await audit(signal));
}

function ownPassword() {
    const now = field('Password of now', {type: 'password', autocomplete: 'current-password'});
    const next = field('The next', {type: 'password', autocomplete: 'new-password', minlength: 10});
    return panel('Your password', form('Change it', [now, next], async () => {
        await changePassword(now.value(), next.value());
        toast('The password is changed. Your other sessions have ended.');
    }));
}

async function users(signal) {
    const body = h('tbody', {});
    const name = field('Name', {autocomplete: 'off', autocapitalize: 'none'});
    const password = field('Password', {type: 'password', autocomplete: 'new-password', minlength: 10});
    const role = select('Role', [['viewer', 'viewer: sees'], ['admin', 'admin: sees and changes']]);
    const list = async () => {
        const {users: all} = await get(api('users'), signal);
        fill(body, all.length === 0 && h('tr', {}, h('td', {class: 'soft', colspan: 4}, 'No users yet. The first makes logins possible from elsewhere.')),
            all.map(user => h('tr', {},
                h('td', {}, h('strong', {}, user.name)), h('td', {}, user.role),
                h('td', {class: 'soft'}, user.login_at ? `here ${ago(Date.parse(user.login_at))}` : 'never here'),
                h('td', {class: 'right'}, goneButton(`Remove ${user.name}`, () => remove(api('users', user.name)), list)))));
    };
    await list();
    return panel('Users', table(['Name', 'Role', 'Last login', ''], body),
        form('Add the user', [name, role, password], async () => {
            await post(api('users'), {name: name.value(), role: role.value(), password: password.value()});
            await list();
        }));
}

async function tokens(signal) {
    const body = h('tbody', {});
    const name = field('What for', {autocomplete: 'off', placeholder: 'doorbell'});
    const days = select('Good for', [['90', '90 days'], ['365', 'a year'], ['', 'ever']]);
    const boxes = SCOPES.map(scope => h('input', {type: 'checkbox', value: scope, checked: scope === 'read'}));
    const scopes = {element: h('fieldset', {class: 'scopes'}, h('legend', {class: 'unseen'}, 'What it may'), boxes.map(box => h('label', {}, box, box.value)))};
    const secret = h('div', {class: 'secret', role: 'status', hidden: true});
    const list = async () => {
        const {tokens: all} = await get(api('tokens'), signal);
        fill(body, all.length === 0 && h('tr', {}, h('td', {class: 'soft', colspan: 5}, 'No tokens. Programs need one where a login is required.')),
            all.map(token => h('tr', {},
                h('td', {}, h('strong', {}, token.name)), h('td', {}, token.scopes.join(', ')),
                h('td', {class: 'soft'}, token.used_at ? `used ${ago(Date.parse(token.used_at))}` : 'never used'),
                h('td', {class: 'soft'}, token.expires_at ? `until ${wholeTime(Date.parse(token.expires_at))}` : 'for ever'),
                h('td', {class: 'right'}, goneButton(`End the token ${token.name}`, () => remove(api('tokens', token.id)), list)))));
    };
    await list();
    return panel('Tokens for programs', table(['What for', 'May', 'Used', 'Good', ''], body), secret,
        form('Make the token', [name, days, scopes], async () => {
            const made = await post(api('tokens'), {
                name: name.value(), scopes: boxes.filter(b => b.checked).map(b => b.value),
                expires: days.value() ? Number(days.value()) * DAY_S : null,
            });
            secret.hidden = false;
            fill(secret, h('span', {}, 'Shown this once:'), h('code', {}, made.token),
                h('button', {class: 'button', type: 'button', onclick: () => copy(made.token, {title: 'The token'})}, 'Copy'));
            await list();
        }));
}

async function audit(signal) {
    const body = h('tbody', {});
    const more = h('button', {class: 'button', type: 'button'}, 'Earlier');
    let next = api('audit') + `?limit=${AUDIT_ROWS}`;
    const load = async () => {
        const page = await get(next, signal);
        next = page.next;
        more.hidden = !next;
        body.append(...page.audit.map(row => h('tr', {},
            h('td', {}, h('time', {datetime: row.at, title: wholeTime(Date.parse(row.at))}, `${dayName(Date.parse(row.at))}, ${clockTime(Date.parse(row.at))}`)),
            h('td', {}, row.who ?? h('span', {class: 'soft'}, 'nobody')), h('td', {}, row.what), h('td', {class: 'soft'}, row.detail), h('td', {class: 'soft'}, row.address))));
    };
    more.addEventListener('click', () => attempt(load));
    await load();
    if (!body.childElementCount)
        body.append(h('tr', {}, h('td', {class: 'soft', colspan: 5}, 'Nothing has happened yet.')));
    return panel('Who did what', table(['When', 'Who', 'What', 'Detail', 'From'], body), h('div', {class: 'panel-words'}, more));
}

function goneButton(words, gone, then) {
    return h('button', {
        class: 'tool', type: 'button', 'aria-label': words, title: words,
        onclick: async event => {
            const button = event.currentTarget;
            if (button.dataset.sure) { /* the second click means it */
                if (await attempt(gone))
                    await attempt(then);
                return;
            }
            button.dataset.sure = '1';
            button.setAttribute('aria-label', `Sure? ${words}`);
            fill(button, h('span', {class: 'sure-word'}, 'Sure?'));
            button.addEventListener('blur', () => {
                delete button.dataset.sure;
                button.setAttribute('aria-label', words);
                fill(button, icon('trash'));
            }, {once: true});
        },
    }, icon('trash'));
}

function field(words, attributes) {
    const input = h('input', {class: 'input', required: true, ...attributes});
    return {element: h('label', {class: 'field'}, words, input), value: () => input.value, clear: () => { input.value = ''; }};
}

function select(words, options) {
    const input = h('select', {class: 'select'}, options.map(([value, text]) => h('option', {value}, text)));
    return {element: h('label', {class: 'field'}, words, input), value: () => input.value};
}

function form(word, fields, send) {
    const failure = h('p', {class: 'form-failure', role: 'alert', hidden: true});
    return h('form', {
        class: 'inline-form', onsubmit: async event => {
            event.preventDefault();
            failure.hidden = true;
            try {
                await send();
                fields.forEach(f => f.clear?.());
            } catch (error) {
                failure.hidden = false;
                setText(failure, error.message);
            }
        },
    }, fields.map(f => f.element), h('button', {class: 'button', type: 'submit'}, word), failure);
}

function table(heads, body) {
    return h('div', {class: 'scroll-x', tabindex: '0', role: 'region', 'aria-label': `Table: ${heads.filter(Boolean).join(', ')}`}, h('table', {class: 'table'},
        h('thead', {}, h('tr', {}, heads.map(text => text ? h('th', {scope: 'col'}, text) : h('td', {})))), body));
}

function panel(title, ...content) {
    return h('section', {class: 'panel card'}, h('h2', {}, title), content);
}
