// Camera access: open, close and capture frames.

import { Problem, element } from "./api.js";

const MESSAGES = {
  NotAllowedError: "Camera access is blocked: allow it for this page in the browser.",
  NotFoundError: "No camera found: connect a camera or choose an image.",
  NotReadableError: "The camera cannot be read: close other programs that use it.",
};

/** Show the camera in a video element. `onEnd` is called when the camera is disconnected. Throws
 * Problem, or `signal.reason` if `signal` was aborted while the browser asked for permission. */
export async function openCamera(video, { signal, onEnd } = {}) {
  if (!navigator.mediaDevices) {
    throw new Problem("The camera works only on pages with https:// or on localhost.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch (error) {
    throw new Problem(MESSAGES[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
  if (signal?.aborted) {
    release(stream);
    throw signal.reason;
  }
  video.srcObject = stream;
  if (onEnd) stream.getVideoTracks()[0].addEventListener("ended", onEnd);
}

export function closeCamera(video) {
  if (video.srcObject) release(video.srcObject);
  video.srcObject = null;
}

function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** Return the current frame as a JPEG, at most `width` pixels wide. */
export function captureFrame(video, { width = Infinity, quality = 0.92 } = {}) {
  const scale = Math.min(1, width / video.videoWidth);
  const canvas = element("canvas", {
    width: Math.round(scale * video.videoWidth),
    height: Math.round(scale * video.videoHeight),
  });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}

/** Return a promise that resolves when the camera has a new frame. */
export function nextFrame(video) {
  return new Promise((done) => video.requestVideoFrameCallback(done));
}
