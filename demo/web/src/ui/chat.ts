import type { ChatMessage, Conference } from '../conference';
import { h, icon } from './dom';
import { complain } from './notices';

/** Messages that are shown at most. */
const KEPT = 500;

/** What is said in writing. */
export class Chat {
  readonly element: HTMLElement;
  readonly #log = h('ol', { class: 'messages', role: 'log', 'aria-label': 'Messages', 'aria-live': 'polite', tabindex: '0' });
  readonly #empty = h('p', { class: 'empty' }, 'Nobody has written yet. Messages are not kept: who comes later does not see them.');
  readonly #input = h('input', {
    'aria-label': 'Message', placeholder: 'Message to all, or @bot …', maxlength: '2000', autocomplete: 'off', enterkeyhint: 'send',
  });

  constructor(conference: Conference) {
    const submit = (event: Event) => {
      event.preventDefault();
      const text = this.#input.value.trim();
      if (text === '') {
        return;
      }
      if (conference.say(text)) {
        this.#input.value = '';
      } else {
        complain('The message was not sent: there is no connection yet.');
      }
    };
    const send = h('button', { type: 'submit', class: 'primary', 'aria-label': 'Send' }, icon('send'));
    this.element = h('div', { class: 'chat' }, this.#empty, this.#log, h('form', { submit }, this.#input, send));
  }

  focus(): void {
    this.#input.focus();
  }

  add({ name, own, bot, text, at }: ChatMessage): void {
    this.#empty.hidden = true;
    const atEnd = this.#log.scrollTop + this.#log.clientHeight >= this.#log.scrollHeight - 40;
    const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    this.#log.append(
      h('li', { class: own ? 'own' : bot ? 'bot' : undefined },
        h('p', { class: 'who' }, own ? 'You' : name, h('time', {}, time)),
        h('p', { class: 'text' }, text)));
    while (this.#log.childElementCount > KEPT) {
      this.#log.firstElementChild?.remove();
    }
    if (atEnd || own) {
      this.#log.scrollTop = this.#log.scrollHeight;
    }
  }
}
