// Keyboard shortcuts: single keys, silent while somebody types.

const TYPING = new Set(['INPUT', 'TEXTAREA', 'SELECT']);

/** Runs `actions[key]()` at a key press. Returns a function that stops it. */
export function listenForKeys(actions) {
  const listener = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (TYPING.has(event.target.tagName) && event.key !== 'Escape') return;
    if (event.target.closest?.('dialog[open]')) return;
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  };
  document.addEventListener('keydown', listener);
  return () => document.removeEventListener('keydown', listener);
}
