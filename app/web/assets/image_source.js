// The image that the page shows for a result: the file, or the annotated image of the service.

import { analyse, element } from "./api.js";

/** Return {url, isAnnotated, reason} for an entry of the queue. The file is used if the browser
 * decodes it to the same width and height as the service. Otherwise, for example if the browser
 * does not support the format, the annotated image of the service is used. The caller revokes
 * `url`, which is null if there is no image, and then `reason` says why. */
export async function imageSource(entry, threshold, signal) {
  const { file, image } = entry;
  const url = URL.createObjectURL(file);
  const preview = element("img", { src: url });
  try {
    await preview.decode();
    if (preview.naturalWidth === image.width && preview.naturalHeight === image.height) {
      return { url, isAnnotated: false };
    }
  } catch {
    // This browser cannot decode the file.
  }
  URL.revokeObjectURL(url);
  try {
    return { url: await fetchAnnotated(entry, threshold, signal), isAnnotated: true };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { url: null, isAnnotated: true, reason: error.message };
  }
}

/** Return the URL of the annotated image of an entry. The caller revokes it. Throws Problem. */
export async function fetchAnnotated(entry, threshold, signal) {
  const response = await annotated(entry, threshold, "image/jpeg", signal);
  return URL.createObjectURL(await response.blob());
}

/** Request the annotated image of an entry in a media type. Nothing is stored. Throws Problem. */
export function annotated({ file, name, options }, threshold, accept, signal) {
  const unstored = { ...options, threshold, store: "false" };
  return analyse(file, name, unstored, { accept, signal });
}
