// A picture that takes all the bits that an encoder may spend, at each size: a fake camera is so plain that all of it
// fits almost anywhere.

/** Grey dots of `size` pixels at random, as bright as 128 plus or minus `depth`. */
function grain(width, height, size, depth) {
  const canvas = new OffscreenCanvas(Math.ceil(width / size), Math.ceil(height / size));
  const context = canvas.getContext('2d');
  const picture = context.createImageData(canvas.width, canvas.height);
  for (let index = 0; index < picture.data.length; index += 4) {
    picture.data.fill(128 + (Math.random() * 2 - 1) * depth, index, index + 3);
    picture.data[index + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** A track of moving structure under noise that is another one in each frame. */
export function noise({ width, height, frameRate }) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d', { alpha: false });
  const margin = 128;
  const [wide, high] = [width + margin, height + margin];
  const still = new OffscreenCanvas(wide, high);
  const into = still.getContext('2d', { alpha: false });
  // Coarse and fine, so that something is left at a quarter of the size.
  for (const [size, alpha] of [
    [64, 1],
    [16, 0.5],
    [4, 0.3],
  ]) {
    into.globalAlpha = alpha;
    into.drawImage(grain(wide, high, size, 127), 0, 0, wide, high);
  }
  const moving = grain(wide, high, 3, 127);
  let frame = 0;
  setInterval(() => {
    frame += 1;
    const place = (speed) => -Math.round((margin / 2) * (1 + Math.sin(frame * speed)));
    context.globalAlpha = 1;
    context.drawImage(still, place(0.05), place(0.031));
    context.globalAlpha = 0.08;
    const anywhere = () => -Math.floor(Math.random() * margin);
    context.drawImage(moving, anywhere(), anywhere(), wide, high);
  }, 1000 / frameRate);
  return canvas.captureStream(frameRate).getVideoTracks()[0];
}
