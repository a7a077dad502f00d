import type { Conference } from '../conference';
import { listDevices, watchDevices } from '../devices';
import { explainDevice } from '../errors';
import { h, icon } from './dom';
import { fill } from './lobby';
import { complain } from './notices';

/** Name and devices, while in a room. */
export class Preferences {
  readonly element: HTMLDialogElement;
  readonly #conference: Conference;
  readonly #name: HTMLInputElement;
  readonly #microphone: HTMLSelectElement;
  readonly #camera: HTMLSelectElement;

  constructor(conference: Conference) {
    this.#conference = conference;
    this.#name = h('input', { id: 'own-name', maxlength: '64', required: true, autocomplete: 'nickname' });
    this.#microphone = h('select', { id: 'own-microphone', change: () => void conference.own.choose('microphone', this.#microphone.value) });
    this.#camera = h('select', { id: 'own-camera', change: () => void conference.own.choose('camera', this.#camera.value) });
    const field = (label: string, control: HTMLElement) =>
      h('div', { class: 'field' }, h('label', { for: control.id }, label), control);
    const submit = (event: Event) => {
      event.preventDefault();
      this.#rename();
      this.element.close();
    };
    const close = h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', click: () => this.element.close() }, icon('close'));
    this.element = h('dialog', { 'aria-labelledby': 'preferences-title' },
      h('form', { submit },
        h('header', {}, h('h2', { id: 'preferences-title' }, 'Settings'), close),
        field('Your name', this.#name),
        field('Microphone', this.#microphone),
        field('Camera', this.#camera),
        h('p', { class: 'hint' }, 'Keys: M microphone, V camera, S screen, C chat, I statistics.'),
        h('button', { type: 'submit', class: 'primary' }, 'Done')));
    watchDevices(() => {
      if (this.element.open) {
        void this.#list();
      }
    });
  }

  async open(): Promise<void> {
    this.#name.value = this.#conference.displayName;
    this.element.showModal();
    await this.#list();
  }

  async #list(): Promise<void> {
    try {
      const { microphones, cameras } = await listDevices();
      fill(this.#microphone, microphones, this.#conference.own.tracks.get('microphone'));
      fill(this.#camera, cameras, this.#conference.own.tracks.get('camera'));
    } catch (error) {
      complain(explainDevice('microphone', error));
    }
  }

  #rename(): void {
    const name = this.#name.value.trim();
    if (name && name !== this.#conference.displayName) {
      void this.#conference.rename(name);
    }
  }
}
