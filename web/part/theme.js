/* Light, dark, or as the system has it. */

const THEMES = ['system', 'light', 'dark'];
const WORDS = {system: 'as the system has them', light: 'light', dark: 'dark'};
const KEY = 'theme';

export function applyTheme() {
    const theme = current();
    if (theme === 'system')
        delete document.documentElement.dataset.theme;
    else
        document.documentElement.dataset.theme = theme;
}

export function nextTheme() {
    try {
        localStorage.setItem(KEY, THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length]);
    } catch { /* a browser that keeps nothing: the choice lasts no longer than the click */ }
    applyTheme();
}

export const themeWord = () => WORDS[current()];

function current() {
    try {
        const kept = localStorage.getItem(KEY);
        return THEMES.includes(kept) ? kept : 'system';
    } catch {
        return 'system';
    }
}
