import { h, icon } from './dom';

/** How long a notice stays; milliseconds. */
const STAYS = { error: 12_000, info: 4_000 };

function place(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) {
    throw new Error(`the page has no #${id}`);
  }
  return element;
}

function show(kind: 'error' | 'info', text: string): void {
  const places = place('notices');
  // The same thing once more need not be there twice.
  for (const old of places.children) {
    if (old.textContent === text) {
      old.remove();
    }
  }
  const close = h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', click: () => notice.remove() }, icon('close'));
  const notice = h('div', { class: `notice ${kind}`, role: kind === 'error' ? 'alert' : undefined }, h('p', {}, text), close);
  places.append(notice);
  setTimeout(() => notice.remove(), STAYS[kind]);
}

/** Says that something went wrong, and says it aloud. */
export function complain(text: string): void {
  show('error', text);
}

/** Takes away what only said that something happened. */
export function clearNotices(): void {
  place('notices').querySelectorAll('.info').forEach((notice) => notice.remove());
}

/** Says that something happened. */
export function inform(text: string): void {
  show('info', text);
  place('spoken').textContent = text;
}
