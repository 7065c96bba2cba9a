// The camera: opened for an element that shows it, closed again, and its frames as images.

import { Problem, element } from "./api.js";

const REFUSALS = {
  NotAllowedError: "The camera is not allowed: allow it in the browser for this page.",
  NotFoundError: "No camera was found: connect one, or choose an image.",
  NotReadableError: "The camera cannot be read: another program may use it.",
};

/** Show the camera in a video element. Throws Problem, and the reason of `signal` if that was aborted
 * while the browser asked for permission. */
export async function openCamera(video, { signal, onEnd } = {}) {
  if (!navigator.mediaDevices) {
    throw new Problem("Browsers allow the camera only for pages with https:// or on this machine.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch (error) {
    throw new Problem(REFUSALS[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
  if (signal?.aborted) {
    release(stream);
    throw signal.reason;
  }
  video.srcObject = stream;
  if (onEnd) stream.getVideoTracks()[0].addEventListener("ended", onEnd); // it was unplugged
}

export function closeCamera(video) {
  if (video.srcObject) release(video.srcObject);
  video.srcObject = null;
}

function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** The current frame as a JPEG, at most `width` pixels wide. */
export function photograph(video, { width = Infinity, quality = 0.92 } = {}) {
  const scale = Math.min(1, width / video.videoWidth);
  const canvas = element("canvas", {
    width: Math.round(scale * video.videoWidth),
    height: Math.round(scale * video.videoHeight),
  });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}

/** Settles when the camera has a new frame. */
export function nextFrame(video) {
  return new Promise((done) => video.requestVideoFrameCallback(done));
}
