import { sentence, waits } from '../decisions';
import type { Decision, Pacing } from '../protocol';
import { h, setText } from './dom';

/** What the server decided about something, and why: unfolds on demand, and hides while there is nothing. */
export class Why {
  readonly element: HTMLDetailsElement;
  readonly #list = h('ol');
  readonly #note = h('p');
  readonly #ask: () => Promise<{ decisions?: Decision[]; pacing?: Pacing } | undefined>;

  /** `ask` asks the server. */
  constructor(title: string, ask: () => Promise<{ decisions?: Decision[]; pacing?: Pacing } | undefined>) {
    this.#ask = ask;
    this.element = h('details', { class: 'why', hidden: true }, h('summary', {}, title), this.#note, this.#list);
    this.element.addEventListener('toggle', () => this.update());
  }

  /** Asks anew if it is unfolded. */
  update(): void {
    if (this.element.open) {
      void this.load();
    }
  }

  /** Asks anew. */
  async load(): Promise<void> {
    try {
      const { decisions = [], pacing } = (await this.#ask()) ?? {};
      const since = decisions[0]?.timestamp ?? 0;
      const items = decisions.map((decision) => {
        const { at, text } = sentence(decision, since);
        return h('li', {}, h('time', {}, at), h('span', {}, text));
      });
      this.#list.replaceChildren(...items.reverse());
      const note = pacing ? waits(pacing) : '';
      setText(this.#note, note);
      this.#note.hidden = note === '';
      this.element.hidden = items.length === 0;
    } catch {
      // The server does not tell, or what was asked about is gone.
      this.element.hidden = true;
    }
  }
}
