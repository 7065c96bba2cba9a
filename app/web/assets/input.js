// Input of images: file field, folder field, drag and drop, paste, and the camera.

import { captureFrame, closeCamera, openCamera } from "./camera.js";

const $ = (id) => document.getElementById(id);
// Browsers report no type for files of some formats that the service supports.
const IMAGE_NAME = /\.(jpe?g|png|webp|bmp|tiff?|gif|hei[cf]s?|hif|avif)$/i;
const NO_IMAGE = "Not an image. Choose a JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF file.";

const isImage = ({ type, name }) =>
  type.startsWith("image/") || (!type && (IMAGE_NAME.test(name) || !name.includes(".")));

/** `onFiles` gets a list of {file, name, path, problem}. `onError` gets an error. */
export function start(onFiles, onError) {
  const pass = (found) => {
    if (found.length) onFiles(withProblems(found));
    else onError({ message: "The folder contains no files." });
  };
  for (const field of [$("file"), $("folder")]) {
    field.addEventListener("change", () => {
      pass([...field.files].map((file) => described(file, file.webkitRelativePath)));
      field.value = ""; // allow the user to choose the same file again
    });
  }
  $("folder").parentElement.hidden = !("webkitdirectory" in $("folder"));
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) pass(files.map((file) => described(file)));
  });
  $("camera").addEventListener("click", () => useCamera(pass, onError));
  acceptDrops(pass, onError);
}

const described = (file, path) => ({ file, name: file.name, path: path || file.name || "image" });

// The service explains why it rejects a single file. In a list, files that are obviously no images
// are not sent.
function withProblems(found) {
  if (found.length === 1) return found;
  return found.map((each) => (isImage(each.file) ? each : { ...each, problem: NO_IMAGE }));
}

function acceptDrops(pass, onError) {
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.remove("over");
    });
  }
  document.addEventListener("drop", async ({ dataTransfer }) => {
    // The items are empty after the first await.
    const items = [...dataTransfer.items].filter(({ kind }) => kind === "file");
    const dropped = items.map((item) => [item.getAsFile(), item.webkitGetAsEntry?.()]);
    if (!dropped.length) return; // text or a link
    try {
      const found = dropped.map(([file, entry]) =>
        entry?.isDirectory ? filesIn(entry) : [described(file)]);
      pass((await Promise.all(found)).flat());
    } catch (error) {
      onError(error);
    }
  });
}

// All files of a folder and of its folders, by path.
async function filesIn(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const batch = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!batch.length) return found;
    batch.sort((a, b) => a.name.localeCompare(b.name));
    for (const entry of batch) {
      if (entry.isDirectory) {
        found.push(...(await filesIn(entry)));
      } else {
        const file = await new Promise((done, fail) => entry.file(done, fail));
        found.push(described(file, entry.fullPath.slice(1)));
      }
    }
  }
}

async function useCamera(pass, onError) {
  const [dialog, video] = [$("camera-dialog"), $("video")];
  try {
    await openCamera(video);
  } catch (error) {
    onError(error);
    return;
  }
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue === "take" && video.videoWidth) {
    pass([{ file: await captureFrame(video), name: "camera.jpg", path: "camera.jpg" }]);
  }
  closeCamera(video);
}
