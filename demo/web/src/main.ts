import { Conference, type Entrance } from './conference';
import { Monitor } from './monitor';
import { parseLink } from './settings';
import { h, logo } from './ui/dom';
import { Lobby } from './ui/lobby';
import { complain } from './ui/notices';
import { RoomView } from './ui/room';
import { observe } from './observe';

declare global {
  interface Window {
    /** For tests, and for whoever opens the console: what this page sees. */
    sluice: { observe: () => unknown };
  }
}

let room: { view: RoomView; conference: Conference; monitor: Monitor } | undefined;

function show(element: HTMLElement): void {
  document.getElementById('app')?.replaceChildren(element);
}

function enterLobby(): void {
  document.title = 'Sluice conference';
  show(new Lobby(parseLink(location.search), enterRoom).element);
}

function enterRoom(entrance: Entrance): void {
  const { link } = entrance;
  const query = new URLSearchParams(location.search);
  query.set('roomId', link.roomId);
  // The address is the link to send to others; reloading asks for the name again, which is remembered.
  query.delete('displayName');
  history.replaceState(null, '', `?${query}`);
  document.title = `${link.roomId} · Sluice`;
  const conference = new Conference(entrance);
  const monitor = new Monitor(conference);
  const view = new RoomView(conference, monitor);
  room = { view, conference, monitor };
  let entered = false;
  conference.on('status', (status) => {
    entered ||= status === 'connected';
    if (status === 'ended') {
      monitor.stop();
      room = undefined;
      goodbye(entered);
    }
  });
  show(view.element);
  view.element.querySelector('h1')?.focus();
}

/** What is seen after the end, whoever ended it. */
function goodbye(entered: boolean): void {
  if (!entered) {
    complain('The server cannot be reached.');
  }
  const again = h('button', { type: 'button', class: 'primary', click: enterLobby }, entered ? 'Join again' : 'Try again');
  show(h('main', { class: 'goodbye' }, logo(),
    h('h1', {}, entered ? 'You have left the room' : 'There is no connection'), again));
  again.focus();
}

window.sluice = { observe: () => (room ? observe(room.conference, room.monitor) : { status: 'lobby' }) };
document.addEventListener('keydown', (event) => {
  if (room?.view.key(event)) {
    event.preventDefault();
  }
});
window.addEventListener('pagehide', () => room?.conference.leave());
enterLobby();
