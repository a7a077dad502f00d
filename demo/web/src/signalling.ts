import { Peer, WebSocketTransport } from 'protoo-client';
import { Emitter } from './emitter';
import type { Notifications, Pushes, Requests } from './protocol';

/** What happens to the connection, and what the server says. */
export type SignallingEvents = Notifications & {
  /** The connection is there, for the first time or again; the server knows nothing of an earlier one. */
  open: undefined;
  /** The connection broke; another one is tried. */
  disconnected: undefined;
  /** An attempt to connect failed; another one follows. */
  failed: undefined;
  /** It is over: the server ended it, or cannot be reached. */
  closed: { byServer: boolean };
};

type PushHandlers = { [Method in keyof Pushes]: (data: Pushes[Method]) => Promise<void> };

/** The server does not know the method that was asked for. */
export class UnsupportedError extends Error {}

/** Talks with the server over a WebSocket, which is opened again when it breaks. */
export class Signalling extends Emitter<SignallingEvents> {
  readonly #peer: Peer;

  constructor(url: string, handlers: PushHandlers) {
    super();
    this.#peer = new Peer(new WebSocketTransport(url));
    let open = false;
    this.#peer.on('open', () => {
      open = true;
      this.emit('open', undefined);
    });
    this.#peer.on('disconnected', () => {
      open = false;
      this.emit('disconnected', undefined);
    });
    this.#peer.on('failed', () => this.emit('failed', undefined));
    this.#peer.on('close', () => this.emit('closed', { byServer: open }));
    this.#peer.on('notification', ({ method, data }) => {
      this.emit(method as keyof Notifications, data as Notifications[keyof Notifications]);
    });
    this.#peer.on('request', ({ method, data }, accept, reject) => {
      const handler = handlers[method as keyof Pushes] as ((data: unknown) => Promise<void>) | undefined;
      if (!handler) {
        reject(404, `unknown method ${method}`);
        return;
      }
      handler(data).then(
        () => accept(),
        (error: unknown) => reject(500, String(error)),
      );
    });
  }

  /**
   * Asks the server.
   * @throws UnsupportedError if the server does not know the method; Error with the server's reason; or that there was
   *   no answer, or no connection.
   */
  async request<Method extends keyof Requests>(method: Method, data: Requests[Method][0]): Promise<Requests[Method][1]> {
    try {
      return (await this.#peer.request(method, data)) as Requests[Method][1];
    } catch (error) {
      if (error instanceof Error && /^unknown method/i.test(error.message)) {
        throw new UnsupportedError(error.message);
      }
      throw error;
    }
  }

  /** Ends the connection for good. */
  close(): void {
    this.#peer.close();
  }
}
