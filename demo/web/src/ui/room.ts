import type { Conference, RemoteStream, Status } from '../conference';
import { canShareScreen } from '../devices';
import type { Monitor } from '../monitor';
import type { Source } from '../encodings';
import { Chat } from './chat';
import { h, icon, type IconName, logo, setAttribute, setText } from './dom';
import { clearNotices, complain, inform } from './notices';
import { Preferences } from './preferences';
import { Stage } from './stage';
import { Statistics } from './statistics';

const STATUS: Record<Status, string> = {
  connecting: 'Connecting …',
  connected: 'Connected',
  interrupted: 'Sound and pictures are interrupted …',
  reconnecting: 'No connection. Trying again …',
  ended: 'Ended',
};
const KEYS: Record<Source, string> = { microphone: 'm', camera: 'v', screen: 's' };
const NAMES: Record<Source, string> = { microphone: 'Microphone', camera: 'Camera', screen: 'Share screen' };
type PanelName = 'chat' | 'statistics';
const TITLES: Record<PanelName, string> = { chat: 'Chat', statistics: 'Statistics' };

/** What is seen in a room. */
export class RoomView {
  readonly element: HTMLElement;
  readonly #conference: Conference;
  readonly #stage: Stage;
  readonly #chat: Chat;
  readonly #statistics: Statistics;
  readonly #preferences: Preferences;
  readonly #status = h('span', { class: 'status', role: 'status' });
  readonly #count = h('span', { class: 'count' });
  readonly #alone: HTMLElement;
  readonly #silenced: HTMLButtonElement;
  readonly #own = new Map<Source, HTMLButtonElement>();
  readonly #openers: Record<PanelName, HTMLButtonElement>;
  readonly #panelTitle = h('h2', { id: 'panel-title' });
  readonly #panel: HTMLElement;
  #open: PanelName | undefined;
  #unread = 0;

  constructor(conference: Conference, monitor: Monitor) {
    this.#conference = conference;
    this.#silenced = h('button', { type: 'button', class: 'banner', hidden: true, click: () => this.#stage.playSounds() },
      icon('sound'), 'Press here to hear the others');
    this.#stage = new Stage(conference, (stream) => this.#showStream(stream), (silenced) => (this.#silenced.hidden = !silenced));
    this.#chat = new Chat(conference);
    this.#statistics = new Statistics(conference, monitor);
    this.#preferences = new Preferences(conference);
    this.#openers = { chat: this.#opener('chat', 'chat', 'c'), statistics: this.#opener('statistics', 'chart', 'i') };
    this.#openers.chat.hidden = true;
    this.#alone = h('p', { class: 'alone' }, 'Nobody else is here yet. ', this.#copyButton('Copy the link'));
    this.#panel = h('aside', { class: 'panel', hidden: true, 'aria-labelledby': 'panel-title' },
      h('header', {}, this.#panelTitle,
        h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close', click: () => this.#toggle(undefined) }, icon('close'))),
      this.#chat.element, this.#statistics.element);
    this.element = h('div', { class: 'room' }, this.#header(),
      h('div', { class: 'middle' }, h('div', { class: 'stage-frame' }, this.#stage.element, this.#alone, this.#silenced), this.#panel),
      this.#toolbar(), this.#preferences.element);
    this.#follow(monitor);
    this.#update();
  }

  #follow(monitor: Monitor): void {
    const conference = this.#conference;
    conference.on('status', () => this.#update());
    conference.on('joined', ({ displayName }) => inform(`${displayName} joined`));
    conference.on('changed', (participant) => {
      // What is still under way for somebody who left meanwhile must not bring the tile back.
      if (conference.participants.get(participant.id) === participant) {
        this.#stage.update(participant);
      }
      this.#update();
    });
    conference.on('left', (participant) => {
      this.#stage.remove(participant);
      if (conference.status !== 'reconnecting' && conference.status !== 'ended') {
        inform(`${participant.displayName} left`);
      }
      this.#update();
    });
    conference.own.on('changed', () => this.#update());
    conference.on('speaker', (peerId) => this.#stage.speaks(peerId));
    conference.on('data', (data) => {
      this.#openers.chat.hidden = !data;
      if (!data && this.#open === 'chat') {
        this.#toggle(undefined);
      }
    });
    conference.on('chat', (message) => {
      this.#chat.add(message);
      if (!message.own && this.#open !== 'chat') {
        this.#countUnread(this.#unread + 1);
        inform(`${message.name}: ${message.text}`);
      }
    });
    conference.on('error', complain);
    monitor.on('sample', () => this.#stage.fit());
  }

  /** Acts on keys; whether this was one that means something. */
  key(event: KeyboardEvent): boolean {
    if (event.key === 'Escape' && this.#open) {
      this.#toggle(undefined);
      return true;
    }
    const target = event.target as HTMLElement;
    const typing = target.matches('input:not([type=range]), textarea, select') || this.#preferences.element.open;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) {
      return false;
    }
    const key = event.key.toLowerCase();
    const buttons = [...this.element.querySelectorAll<HTMLButtonElement>('[aria-keyshortcuts]')];
    const button = buttons.find((one) => one.getAttribute('aria-keyshortcuts')?.toLowerCase() === key && !one.hidden);
    button?.click();
    return button !== undefined;
  }

  #header(): HTMLElement {
    return h('header', { class: 'bar' },
      h('div', { class: 'brand' }, logo(), h('span', {}, 'Sluice')),
      h('h1', { tabindex: '-1' }, this.#conference.link.roomId), this.#count, this.#status, this.#copyButton('Copy link'));
  }

  #toolbar(): HTMLElement {
    for (const source of ['microphone', 'camera', 'screen'] as const) {
      const button = h('button', {
        type: 'button', class: `tool ${source}`, 'aria-keyshortcuts': KEYS[source].toUpperCase(),
        click: () => void this.#switch(source),
      });
      button.hidden = source === 'screen' && !canShareScreen();
      this.#own.set(source, button);
    }
    const settings = h('button', { type: 'button', class: 'tool', click: () => void this.#preferences.open() },
      icon('settings'), h('span', {}, 'Settings'));
    const leave = h('button', { type: 'button', class: 'tool leave', click: () => this.#conference.leave() },
      icon('leave'), h('span', {}, 'Leave'));
    return h('footer', { class: 'toolbar', 'aria-label': 'Controls' },
      h('div', {}, ...this.#own.values(), leave),
      h('div', {}, this.#openers.chat, this.#openers.statistics, settings));
  }

  #opener(panel: PanelName, name: IconName, key: string): HTMLButtonElement {
    return h('button', {
      type: 'button', class: 'tool', 'aria-expanded': 'false', 'aria-keyshortcuts': key.toUpperCase(),
      title: `${TITLES[panel]} (${key.toUpperCase()})`, click: () => this.#toggle(this.#open === panel ? undefined : panel),
    }, icon(name), h('span', {}, TITLES[panel]), h('b', { class: 'badge', hidden: true }));
  }

  #copyButton(text: string): HTMLButtonElement {
    return h('button', { type: 'button', class: 'copy', click: () => void this.#copy() }, icon('link'), h('span', {}, text));
  }

  async #copy(): Promise<void> {
    const link = `${location.origin}${location.pathname}?${new URLSearchParams({ roomId: this.#conference.link.roomId })}`;
    try {
      await navigator.clipboard.writeText(link);
      inform('The link of this room is copied');
    } catch {
      complain(`The link of this room is ${link}`);
    }
  }

  async #switch(source: Source): Promise<void> {
    await this.#conference.own.set(source, !this.#conference.own.isOn(source));
  }

  #toggle(panel: PanelName | undefined): void {
    const before = this.#open;
    this.#open = panel;
    this.#panel.hidden = !panel;
    for (const name of ['chat', 'statistics'] as const) {
      setAttribute(this.#openers[name], 'aria-expanded', String(panel === name));
    }
    this.#chat.element.hidden = panel !== 'chat';
    this.#statistics.element.hidden = panel !== 'statistics';
    this.#statistics.show(panel === 'statistics');
    this.element.classList.toggle('with-panel', panel !== undefined);
    if (panel) {
      setText(this.#panelTitle, TITLES[panel]);
    } else if (before && this.#panel.contains(document.activeElement)) {
      this.#openers[before].focus();
    }
    if (panel === 'chat') {
      this.#countUnread(0);
      clearNotices();
      this.#chat.focus();
    }
  }

  #showStream(stream: RemoteStream): void {
    this.#toggle('statistics');
    this.#statistics.focus(stream);
  }

  #countUnread(count: number): void {
    this.#unread = count;
    const badge = this.#openers.chat.querySelector<HTMLElement>('.badge');
    if (badge) {
      badge.hidden = count === 0;
      setText(badge, String(count));
    }
    setAttribute(this.#openers.chat, 'aria-label', count > 0 ? `Chat, ${count} new messages` : 'Chat');
  }

  #update(): void {
    const { status, participants } = this.#conference;
    setText(this.#status, STATUS[status]);
    setAttribute(this.#status, 'data-status', status);
    setText(this.#count, participants.size === 0 ? 'only you' : `${participants.size + 1} people`);
    this.#alone.hidden = participants.size > 0 || status !== 'connected';
    for (const [source, button] of this.#own) {
      const on = this.#conference.own.isOn(source);
      const name: IconName = source === 'screen' ? 'screen' : on ? source : `${source}Off`;
      setAttribute(button, 'aria-pressed', String(on));
      setAttribute(button, 'title', `${NAMES[source]} (${KEYS[source].toUpperCase()})`);
      if (button.dataset['icon'] !== name) {
        button.dataset['icon'] = name;
        button.replaceChildren(icon(name), h('span', {}, NAMES[source]));
      }
    }
    this.#stage.updateSelf();
  }
}
