/** What somebody was about to use when it failed. */
export type Wanted = 'microphone' | 'camera' | 'screen';

const THING: Record<Wanted, string> = { microphone: 'microphone', camera: 'camera', screen: 'screen' };

/** Says what went wrong with a device, and what to do about it. */
export function explainDevice(wanted: Wanted, error: unknown): string {
  const thing = THING[wanted];
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return wanted === 'screen'
        ? 'The screen is not shared: it was not allowed.'
        : `The ${thing} is blocked. Allow it in the address bar of the browser, then switch it on again.`;
    case 'NotFoundError':
    case 'OverconstrainedError':
      return `No ${thing} was found. Plug one in, or choose another one in the settings.`;
    case 'NotReadableError':
    case 'AbortError':
      return `The ${thing} cannot be used. Maybe another program has it.`;
    case 'InsecureContextError':
      return `The ${thing} works on https pages only. Open this page with https.`;
    default:
      return `The ${thing} does not work: ${reason(error)}`;
  }
}

/** The text of whatever was thrown. */
export function reason(error: unknown): string {
  return error instanceof Error && error.message ? error.message : String(error);
}

/** Thrown where a browser offers no devices since the page came over plain http. */
export class InsecureContextError extends Error {
  override readonly name = 'InsecureContextError';
}
