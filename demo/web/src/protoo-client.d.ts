// The part of protoo-client that is used here; the package has no types of its own.
declare module 'protoo-client' {
  interface Message {
    method: string;
    data: unknown;
  }

  export class WebSocketTransport {
    constructor(url: string);
  }

  export class Peer {
    constructor(transport: WebSocketTransport);
    get connected(): boolean;
    request(method: string, data?: unknown): Promise<unknown>;
    close(): void;
    on(event: 'open' | 'disconnected' | 'close', listener: () => void): this;
    on(event: 'failed', listener: (attempt: number) => void): this;
    on(
      event: 'request',
      listener: (request: Message, accept: (data?: unknown) => void, reject: (code: number, reason: string) => void) => void,
    ): this;
    on(event: 'notification', listener: (notification: Message) => void): this;
  }
}
