// What the link says, and what the browser remembers.

import type { DeviceInfo } from './protocol';

/** Codecs that a link can ask for. */
export type VideoCodec = 'vp8' | 'vp9' | 'h264' | 'av1';

/** What the link of a room says. */
export interface Link {
  roomId: string;
  displayName: string;
  /** Media over TCP alone. */
  forceTcp: boolean;
  /** What the camera and the screen are sent with; the server's first one otherwise. */
  codec?: VideoCodec;
}

const CODECS: readonly string[] = ['vp8', 'vp9', 'h264', 'av1'];

/** Reads the query of a link. What is missing is empty, what makes no sense is left out. */
export function parseLink(query: string): Link {
  const parameters = new URLSearchParams(query);
  const codec = parameters.get('codec')?.toLowerCase() ?? '';
  return {
    roomId: cleanRoom(parameters.get('roomId') ?? ''),
    displayName: (parameters.get('displayName') ?? '').slice(0, 128),
    forceTcp: parameters.get('forceTcp') === 'true',
    ...(CODECS.includes(codec) ? { codec: codec as VideoCodec } : {}),
  };
}

/** Makes a room's name of what somebody typed: 1 to 64 printable characters without spaces, as the server demands. */
export function cleanRoom(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, '-')
    .replace(/[^\x21-\x7e]/g, '')
    .slice(0, 64);
}

const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';

/** A name that nobody else has. */
export function randomName(length: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => LETTERS[byte % LETTERS.length]).join('');
}

/** What a browser says of itself, in the form that others are told. */
export function identify(userAgent: string): DeviceInfo {
  const browsers: [RegExp, string, string][] = [
    [/Edg(?:A|iOS)?\/(\d+)/, 'edge', 'Edge'],
    [/OPR\/(\d+)/, 'opera', 'Opera'],
    [/(?:Firefox|FxiOS)\/(\d+)/, 'firefox', 'Firefox'],
    [/(?:HeadlessChrome|Chrome|CriOS)\/(\d+)/, 'chrome', 'Chrome'],
    [/Version\/(\d+).*Safari/, 'safari', 'Safari'],
  ];
  for (const [pattern, flag, name] of browsers) {
    const version = pattern.exec(userAgent)?.[1];
    if (version !== undefined) {
      return { flag, name, version };
    }
  }
  return { flag: 'unknown', name: 'Unknown browser' };
}

/** What is remembered of a user from one visit to the next. */
export interface Remembered {
  displayName?: string;
  microphone?: string;
  camera?: string;
}

const KEY = 'sluice';

export function remembered(): Remembered {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    // Nothing is kept in private windows of some browsers.
    return {};
  }
}

export function remember(more: Remembered): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...remembered(), ...more }));
  } catch {
    // As above.
  }
}
