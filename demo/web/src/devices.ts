// Cameras, microphones and screens of the user.

import { InsecureContextError } from './errors';

/** The devices of the browser; a missing member of an insecure page becomes an error that can be explained. */
function devices(): MediaDevices {
  const found = navigator.mediaDevices as MediaDevices | undefined;
  if (!found) {
    throw new InsecureContextError('not a secure page');
  }
  return found;
}

function first(tracks: MediaStreamTrack[]): MediaStreamTrack {
  const [track] = tracks;
  if (!track) {
    throw new DOMException('no track', 'NotFoundError');
  }
  return track;
}

function audio(deviceId: string): MediaTrackConstraints | true {
  return deviceId ? { deviceId: { ideal: deviceId } } : true;
}

/** 720p, if the camera can do that. */
function video(deviceId: string): MediaTrackConstraints {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  return deviceId ? { ...size, deviceId: { ideal: deviceId } } : { ...size, facingMode: { ideal: 'user' } };
}

/** Opens a microphone: this one if it is there, otherwise any. */
export async function openMicrophone(deviceId = ''): Promise<MediaStreamTrack> {
  return first((await devices().getUserMedia({ audio: audio(deviceId) })).getAudioTracks());
}

/** Opens a camera: this one if it is there, otherwise any. */
export async function openCamera(deviceId = ''): Promise<MediaStreamTrack> {
  return first((await devices().getUserMedia({ video: video(deviceId) })).getVideoTracks());
}

/** Opens a microphone and a camera, for which the browser asks the user once. */
export async function openBoth(microphone = '', camera = ''): Promise<Record<'microphone' | 'camera', MediaStreamTrack>> {
  const stream = await devices().getUserMedia({ audio: audio(microphone), video: video(camera) });
  return { microphone: first(stream.getAudioTracks()), camera: first(stream.getVideoTracks()) };
}

/** Asks which screen or window to show, and opens it. */
export async function openScreen(): Promise<MediaStreamTrack> {
  const found = devices();
  if (!('getDisplayMedia' in found)) {
    throw new Error('this browser cannot share a screen.');
  }
  const video = { width: { max: 1920 }, height: { max: 1080 }, frameRate: { max: 30 } };
  const track = first((await found.getDisplayMedia({ video, audio: false })).getVideoTracks());
  // Text matters more than smooth motion.
  track.contentHint = 'detail';
  return track;
}

/** Whether this browser can share a screen; those of phones cannot. */
export function canShareScreen(): boolean {
  return 'mediaDevices' in navigator && 'getDisplayMedia' in navigator.mediaDevices;
}

/** A device to choose. */
export interface Choice {
  id: string;
  label: string;
}

/** The devices there are. Browsers tell their names once one of them may be used. */
export async function listDevices(): Promise<{ microphones: Choice[]; cameras: Choice[] }> {
  const all = await devices().enumerateDevices();
  const choices = (kind: MediaDeviceKind, name: string): Choice[] =>
    all
      .filter((device) => device.kind === kind && device.deviceId)
      .map((device, index) => ({ id: device.deviceId, label: device.label || `${name} ${index + 1}` }));
  return { microphones: choices('audioinput', 'Microphone'), cameras: choices('videoinput', 'Camera') };
}

/** Calls back when a device is plugged in or pulled out. */
export function watchDevices(changed: () => void): void {
  if ('mediaDevices' in navigator) {
    navigator.mediaDevices.addEventListener('devicechange', changed);
  }
}
