import { stayAwake } from './awake';
import { Conference, type Ending, type Entrance } from './conference';
import { Monitor } from './monitor';
import { observe } from './observe';
import { parseLink } from './settings';
import { h, logo } from './ui/dom';
import { Lobby } from './ui/lobby';
import { RoomView } from './ui/room';

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
  const mayRest = stayAwake();
  conference.on('status', (status) => {
    if (status === 'ended') {
      monitor.stop();
      mayRest();
      room = undefined;
      goodbye(conference.ending ?? { why: 'left' });
    }
  });
  show(view.element);
  view.element.querySelector('h1')?.focus();
}

/** What is seen after the end, whoever ended it. */
function goodbye(ending: Ending): void {
  const [title, text] = explain(ending);
  const again = h('button', { type: 'button', class: 'primary', click: enterLobby }, ending.why === 'left' ? 'Join again' : 'Try again');
  show(h('main', { class: 'goodbye' }, logo(), h('h1', {}, title), h('p', { class: 'lead', role: 'alert' }, text), again));
  again.focus();
}

function explain(ending: Ending): [string, string] {
  switch (ending.why) {
    case 'left':
      return ['You have left the room', 'The camera and the microphone are off.'];
    case 'closed':
      return ['The conference is over', 'The server has closed the room.'];
    case 'unreachable':
      return ['There is no connection', 'The server cannot be reached. Check the network, then try again.'];
    case 'refused':
      return ['The room cannot be entered', `The server says: ${ending.reason}`];
  }
}

window.sluice = { observe: () => (room ? observe(room.conference, room.monitor) : { status: 'lobby' }) };
document.addEventListener('keydown', (event) => {
  if (room?.view.key(event)) {
    event.preventDefault();
  }
});
window.addEventListener('pagehide', () => room?.conference.leave());
enterLobby();
