// Decisions of consumers and transports in words. Pure.

import type { Decision, Layers, Pacing } from './protocol';
import { formatBitrate } from './stats';

const REASONS: Record<string, string> = {
  started: 'it can be sent now',
  stopped: 'it is paused',
  preferred: 'you asked for it',
  newStream: 'the sender began another stream',
  score: 'the quality of a stream changed',
  clock: 'the times of a stream became known',
  spatialLayers: 'the sender sends other resolutions',
  keyFrame: 'a key frame came',
  keyFrameLate: 'a key frame came too late',
  switchPoint: 'a frame came that allows it',
  timestamps: 'times do not fit yet',
  senderRestarted: 'the sender began anew',
  receiver: 'your browser asked',
  parent: 'the conference asked',
  noKeyFrame: 'nothing can be shown before a key frame',
  layer: 'they belong to other layers',
  payloadType: 'your browser does not know their codec',
  padding: 'they hold nothing',
  late: 'they came too late',
  repeated: 'they were sent before',
  noTarget: 'no stream can be sent',
  transport: 'the network could not take them',
  bandwidth: 'the network takes more or less now',
  room: 'all of it arrives without delay',
  delay: 'packets take longer and longer',
  queue: 'packets take long',
  loss: 'packets are lost',
  probe: 'a try got through',
  silence: 'your browser has not reported for a while',
  remb: 'your browser said so',
  desired: 'more is wanted',
};

function layers(wanted: Layers | undefined): string {
  return wanted ? `resolution ${wanted.spatialLayer + 1}, frame rate ${wanted.temporalLayer + 1}` : 'nothing';
}

/** A word of a program as words: "newReason" is "new reason". */
function words(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
}

function deed(decision: Decision): string {
  const { what, count, targetLayers, currentLayers, sent, bitrate = 0, bandwidth } = decision;
  const rate = (name: 'before' | 'estimate' | 'available' | 'desired' | 'allocated') => formatBitrate(bandwidth?.[name] ?? null);
  switch (what) {
    case 'target':
      return `aims at ${layers(targetLayers)}`;
    case 'switch':
      return `sends ${layers(currentLayers ?? targetLayers)}`;
    case 'keyFrameRequest':
      return sent ? 'asks for a key frame' : 'waits for a key frame';
    case 'drop':
      return `leaves out ${count} ${count === 1 ? 'packet' : 'packets'}`;
    case 'raise':
      return `expects more: ${rate('estimate')} instead of ${rate('before')}`;
    case 'lower':
      return `expects less: ${rate('estimate')} instead of ${rate('before')}`;
    case 'probe': {
      const measured = bandwidth?.measured;
      const result = measured === undefined ? '' : `, ${formatBitrate(measured)} get through`;
      return `tries ${formatBitrate(bitrate)} for a moment${result}`;
    }
    case 'limit':
      return bitrate > 0 ? `sends ${formatBitrate(bitrate)} at most` : 'sends as much as is possible';
    case 'allocate':
      return `sends ${rate('allocated')} of video, ${rate('available')} are possible and ${rate('desired')} wanted`;
    default:
      return words(what);
  }
}

/** What was decided and why; `since` is the time from which it is counted, in milliseconds of the server's clock. */
export function sentence(decision: Decision, since: number): { at: string; text: string } {
  const recovered = decision.why === 'loss' && decision.what === 'raise';
  const reason = recovered ? 'fewer packets are lost' : (REASONS[decision.why] ?? words(decision.why));
  const times = decision.count > 1 && decision.what !== 'drop' ? `, ${decision.count} times` : '';
  return { at: `${((decision.timestamp - since) / 1000).toFixed(1)} s`, text: `${deed(decision)}${times}: ${reason}` };
}

/** How long packets waited for their turn; nothing if none did. */
export function waits({ packets, longestWait, maxDelay }: Pacing): string {
  const who = packets === 1 ? '1 packet of a large picture' : `${packets} packets of large pictures`;
  return packets === 0 ? '' : `${who} waited for their turn, ${longestWait} ms at most (${maxDelay} ms are allowed).`;
}
