import type { Entrance } from '../conference';
import { type Choice, listDevices, openBoth, openCamera, openMicrophone } from '../devices';
import { explainDevice } from '../errors';
import { cleanRoom, type Link, randomName, remember, remembered } from '../settings';
import { h, icon, logo, setAttribute, setText } from './dom';
import { LevelMeter } from './level';

const OPEN = { microphone: openMicrophone, camera: openCamera };
type Device = keyof typeof OPEN;

/** What is seen before somebody enters: the own picture, devices, a name and a room. */
export class Lobby {
  readonly #link: Link;
  readonly #enter: (entrance: Entrance) => void;
  readonly #tracks = new Map<Device, MediaStreamTrack>();
  /** What is wrong with each, in words. */
  readonly #problems = new Map<Device, string>();
  readonly #level = new LevelMeter();
  readonly #video = h('video', { autoplay: true, playsinline: true, muted: true, class: 'mirrored', 'aria-label': 'Your camera' });
  readonly #empty = h('p', { class: 'preview-empty' }, 'The camera is off');
  readonly #problem = h('p', { class: 'problem', role: 'alert' });
  readonly #name: HTMLInputElement;
  readonly #room: HTMLInputElement;
  readonly #buttons: Record<Device, HTMLButtonElement>;
  readonly #selects: Record<Device, HTMLSelectElement>;
  readonly element: HTMLElement;
  #left = false;

  constructor(link: Link, enter: (entrance: Entrance) => void) {
    this.#link = link;
    this.#enter = enter;
    this.#name = h('input', {
      id: 'name', name: 'name', required: true, maxlength: '64', autocomplete: 'nickname', placeholder: 'What others see',
      value: link.displayName || (remembered().displayName ?? ''),
    });
    this.#room = h('input', {
      id: 'room', name: 'room', required: true, maxlength: '64', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off',
      value: link.roomId || randomName(8),
    });
    this.#video.muted = true;
    this.#buttons = { microphone: this.#button('microphone'), camera: this.#button('camera') };
    this.#selects = { microphone: this.#select('microphone'), camera: this.#select('camera') };
    this.element = this.#build();
    void this.#start();
  }

  /** Lets go of what is not taken along. */
  #leave(): void {
    this.#left = true;
    this.#level.stop();
    this.#video.srcObject = null;
  }

  #build(): HTMLElement {
    const field = (label: string, control: HTMLElement) =>
      h('div', { class: 'field' }, h('label', { for: control.id }, label), control);
    const invited = this.#link.roomId !== '';
    return h('main', { class: 'lobby' },
      h('section', { class: 'lobby-preview', 'aria-label': 'Camera and microphone' },
        h('div', { class: 'preview' }, this.#empty, this.#video,
          h('div', { class: 'preview-buttons' }, this.#buttons.microphone, this.#buttons.camera), this.#level.element),
        this.#problem),
      h('form', { class: 'lobby-form', submit: (event) => this.#submit(event) },
        h('div', { class: 'brand' }, logo(), h('span', {}, 'Sluice')),
        h('h1', {}, invited ? 'Ready to join?' : 'Meet in the browser'),
        h('p', { class: 'lead' }, invited
          ? `You are invited to the room “${this.#link.roomId}”.`
          : 'Choose a room, join it, and send its link to the others.'),
        field('Your name', this.#name),
        field('Room', this.#room),
        h('div', { class: 'fields' }, field('Microphone', this.#selects.microphone), field('Camera', this.#selects.camera)),
        h('button', { type: 'submit', class: 'primary' }, 'Join')));
  }

  #button(device: Device): HTMLButtonElement {
    return h('button', { type: 'button', class: 'round', 'aria-pressed': 'false', click: () => void this.#toggle(device) });
  }

  #select(device: Device): HTMLSelectElement {
    const select = h('select', { id: device, change: () => {
      remember({ [device]: select.value });
      if (this.#tracks.has(device)) {
        void this.#open(device);
      }
    } });
    return select;
  }

  async #start(): Promise<void> {
    this.#show();
    (this.#name.value ? this.element.querySelector<HTMLElement>('.primary') : this.#name)?.focus();
    const { microphone, camera } = remembered();
    try {
      const tracks = await openBoth(microphone, camera);
      this.#take('microphone', tracks.microphone);
      this.#take('camera', tracks.camera);
      await this.#list();
    } catch {
      // One of them is missing or blocked: which one, and why, is found by opening each.
      await this.#open('camera');
      await this.#open('microphone');
    }
    this.#show();
  }

  /** Keeps a track that was opened, unless nobody waits for it any more. */
  #take(device: Device, track: MediaStreamTrack): void {
    this.#tracks.get(device)?.stop();
    if (this.#left) {
      track.stop();
    } else {
      this.#tracks.set(device, track);
    }
  }

  async #toggle(device: Device): Promise<void> {
    const track = this.#tracks.get(device);
    if (track) {
      track.stop();
      this.#tracks.delete(device);
      this.#show();
    } else {
      await this.#open(device);
    }
  }

  async #open(device: Device): Promise<void> {
    try {
      this.#take(device, await OPEN[device](this.#selects[device].value || remembered()[device]));
      this.#problems.delete(device);
      await this.#list();
    } catch (error) {
      this.#problems.set(device, explainDevice(device, error));
    }
    setText(this.#problem, [...this.#problems.values()].join(' '));
    this.#show();
  }

  async #list(): Promise<void> {
    const { microphones, cameras } = await listDevices();
    fill(this.#selects.microphone, microphones, this.#tracks.get('microphone'));
    fill(this.#selects.camera, cameras, this.#tracks.get('camera'));
  }

  #show(): void {
    if (this.#left) {
      return;
    }
    for (const device of ['microphone', 'camera'] as const) {
      const on = this.#tracks.has(device);
      const button = this.#buttons[device];
      setAttribute(button, 'aria-pressed', String(on));
      setAttribute(button, 'aria-label', `${device === 'camera' ? 'Camera' : 'Microphone'} ${on ? 'on' : 'off'}`);
      button.replaceChildren(icon(on ? device : `${device}Off`));
      const select = this.#selects[device];
      select.disabled = select.options.length === 0;
    }
    const camera = this.#tracks.get('camera');
    this.#video.srcObject = camera ? new MediaStream([camera]) : null;
    this.#video.hidden = !camera;
    this.#level.watch(this.#tracks.get('microphone'));
  }

  #submit(event: Event): void {
    event.preventDefault();
    const displayName = this.#name.value.trim();
    const roomId = cleanRoom(this.#room.value);
    if (!displayName || !roomId) {
      (displayName ? this.#room : this.#name).focus();
      return;
    }
    remember({ displayName });
    this.#leave();
    const [microphone, camera] = [this.#tracks.get('microphone'), this.#tracks.get('camera')];
    this.#enter({ link: { ...this.#link, roomId }, displayName, microphone, camera });
  }
}

/** Lists devices to choose from; the one in use is chosen. */
export function fill(select: HTMLSelectElement, choices: Choice[], track: MediaStreamTrack | undefined): void {
  const used = track?.getSettings().deviceId ?? select.value;
  select.replaceChildren(...choices.map(({ id, label }) => h('option', { value: id, selected: id === used }, label)));
  select.disabled = choices.length === 0;
}
