// Everything that the page asks of the service goes through here.

const KEY = "emotion-key"; // in sessionStorage: of this tab, gone with it
const TRIES = 4;

/** What went wrong, as a sentence for people. `status` is 0 where nobody answered. */
export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

let askForKey = async () => null;

/** Say who asks people for a key: an async function of the reason that returns it, or null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The response to a request, which is sent again while the service is busy, and with the key
 * that people give when it needs one. Throws Problem. */
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  for (let tries = 1; ; tries += 1) {
    const response = await send(path, { method, body, headers, signal });
    if (response.ok) return response;
    const { detail, type } = await problemOf(response);
    const problem = new Problem(detail, response.status);
    if (response.status === 401) {
      sessionStorage.removeItem(KEY);
      const key = await askForKey(detail);
      if (!key) throw problem;
      sessionStorage.setItem(KEY, key);
    } else if (type.endsWith(":busy") && tries < TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((done) => setTimeout(done, 1000 * seconds));
    } else {
      throw problem;
    }
  }
}

async function send(path, { method, body, headers, signal }) {
  const key = sessionStorage.getItem(KEY);
  const all = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  try {
    return await fetch(path, { method, body, headers: all, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service does not answer. Is it running? Try again in a moment.");
  }
}

async function problemOf(response) {
  try {
    const { detail, type } = await response.json();
    return { detail: detail ?? response.statusText, type: type ?? "" };
  } catch {
    return { detail: `The service answered ${response.status}.`, type: "" };
  }
}

/** The JSON that a path answers. Throws Problem. */
export async function get(path, options) {
  return (await ask(path, options)).json();
}

/** Post a picture with options; the image object with every probability. Sent again, it is kept
 * once. Throws Problem. */
export async function analyse(picture, name, options, { accept, signal } = {}) {
  const form = new FormData();
  form.append("image", picture, name);
  for (const [option, value] of Object.entries(options)) form.append(option, value);
  const headers = { "Idempotency-Key": randomName() };
  if (accept) headers.Accept = accept;
  return ask("/v1/images?view=full", { method: "POST", body: form, headers, signal });
}

// crypto.randomUUID is there on secure pages only.
function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Let the browser save what a response holds. */
export async function save(response, name) {
  const url = URL.createObjectURL(await response.blob());
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A new element with properties and children; strings become text, never markup. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
