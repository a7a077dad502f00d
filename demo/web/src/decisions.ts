// Decisions of a consumer in words. Pure.

import type { Decision, Layers } from './protocol';

const REASONS: Record<string, string> = {
  started: 'it can be sent now',
  stopped: 'it is paused',
  preferred: 'you asked for it',
  newStream: 'the sender began another stream',
  score: 'the quality of a stream changed',
  clock: 'the times of a stream became known',
  spatialLayers: 'the sender sends other resolutions',
  keyFrame: 'a key frame came',
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
};

function layers(wanted: Layers | undefined): string {
  return wanted ? `resolution ${wanted.spatialLayer + 1}, frame rate ${wanted.temporalLayer + 1}` : 'nothing';
}

/** A word of a program as words: "newReason" is "new reason". */
function words(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
}

function deed({ what, count, targetLayers, currentLayers, sent }: Decision): string {
  switch (what) {
    case 'target':
      return `aims at ${layers(targetLayers)}`;
    case 'switch':
      return `sends ${layers(currentLayers ?? targetLayers)}`;
    case 'keyFrameRequest':
      return sent ? 'asks for a key frame' : 'waits for a key frame';
    case 'drop':
      return `leaves out ${count} ${count === 1 ? 'packet' : 'packets'}`;
    default:
      return words(what);
  }
}

/** What was decided and why; `since` is the time from which it is counted, in milliseconds of the server's clock. */
export function sentence(decision: Decision, since: number): { at: string; text: string } {
  const reason = REASONS[decision.why] ?? words(decision.why);
  const times = decision.count > 1 && decision.what !== 'drop' ? `, ${decision.count} times` : '';
  return { at: `${((decision.timestamp - since) / 1000).toFixed(1)} s`, text: `${deed(decision)}${times}: ${reason}` };
}
