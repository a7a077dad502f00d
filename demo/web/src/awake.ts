/**
 * Keeps the screen of a phone on until the function that is returned is called. Browsers let go whenever the page is not
 * seen, so it is asked for again.
 */
export function stayAwake(): () => void {
  let lock: WakeLockSentinel | undefined;
  let wanted = true;
  const ask = async () => {
    try {
      const got = await navigator.wakeLock.request('screen');
      if (wanted) {
        lock = got;
      } else {
        await got.release();
      }
    } catch {
      // Not all browsers can, nor does any with an empty battery.
    }
  };
  const seen = () => {
    if (document.visibilityState === 'visible') {
      void ask();
    }
  };
  document.addEventListener('visibilitychange', seen);
  void ask();
  return () => {
    wanted = false;
    document.removeEventListener('visibilitychange', seen);
    void lock?.release();
  };
}
