import { h, icon, setAttribute, setText } from './dom';

/** What is done with a tile. */
export interface TileActions {
  pin: () => void;
  details?: () => void;
}

/** Two letters that stand for somebody without a picture. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? '')][0] ?? '').join('').toUpperCase() || '?';
}

/** A colour that stays with an id, as a hue. */
export function hue(id: string): number {
  return [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
}

/** The picture of somebody, or of a screen, with a name. */
export class Tile {
  readonly element: HTMLElement;
  readonly video = h('video', { autoplay: true, playsinline: true });
  readonly #avatar = h('div', { class: 'avatar', 'aria-hidden': 'true' });
  readonly #name = h('span', { class: 'tile-name' });
  readonly #muted = h('span', { class: 'tile-muted', hidden: true }, icon('microphoneOff'));
  readonly #note = h('span', { class: 'tile-note' });
  readonly #pin: HTMLButtonElement;
  readonly #details: HTMLButtonElement | undefined;
  #who = '';

  constructor(id: string, actions: TileActions) {
    // Sound has elements of its own.
    this.video.muted = true;
    this.#avatar.style.setProperty('--hue', String(hue(id)));
    const { pin, details } = actions;
    this.#pin = h('button', { type: 'button', class: 'quiet', 'aria-pressed': 'false', click: pin }, icon('pin'));
    this.#details = details && h('button', { type: 'button', class: 'quiet', click: details }, icon('settings'));
    this.element = h('article', { class: 'tile', dblclick: pin }, this.#avatar, this.video,
      h('div', { class: 'tile-buttons' }, this.#pin, this.#details),
      h('div', { class: 'tile-label' }, this.#muted, this.#name, this.#note));
    this.setTrack(undefined);
  }

  /** Shows a picture, or who it is when there is none. */
  setTrack(track: MediaStreamTrack | undefined): void {
    const shown = (this.video.srcObject as MediaStream | null)?.getVideoTracks()[0];
    if (track !== shown) {
      this.video.srcObject = track ? new MediaStream([track]) : null;
    }
    this.video.hidden = !track;
  }

  setName(name: string, what = ''): void {
    this.#who = what ? `${name}, ${what}` : name;
    setText(this.#name, what ? `${name} · ${what}` : name);
    setText(this.#avatar, initials(name));
    setAttribute(this.#pin, 'aria-label', `Make ${this.#who} large`);
    if (this.#details) {
      setAttribute(this.#details, 'aria-label', `Quality and figures of ${this.#who}`);
    }
    this.#label();
  }

  setMuted(muted: boolean): void {
    this.#muted.hidden = !muted;
    this.#label();
  }

  setSpeaking(speaking: boolean): void {
    this.element.classList.toggle('speaking', speaking);
  }

  setPinned(pinned: boolean): void {
    setAttribute(this.#pin, 'aria-pressed', String(pinned));
  }

  /** A few words about the picture. */
  setNote(note: string): void {
    setText(this.#note, note);
  }

  #label(): void {
    setAttribute(this.element, 'aria-label', this.#muted.hidden ? this.#who : `${this.#who}, microphone off`);
  }
}
