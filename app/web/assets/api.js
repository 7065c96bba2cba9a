// All requests of the page to the service.

// The address of the service, which may be under a path of a larger site. This file is in assets/.
const BASE = new URL("..", import.meta.url).href.replace(/\/$/, "");
const KEY = "emotion-key"; // name in sessionStorage, which ends with the tab
const TRIES = 4;
const NO_KEY = "The operator of the service can create one for you.";

/** An error as a sentence for people. `status` is 0 if there was no answer. `retryAfter` is the number
 * of seconds after which the service allows another try, or null. */
export class Problem extends Error {
  constructor(message, status = 0, retryAfter = null) {
    const end = /[.?!…]$/.test(message) ? "" : ".";
    super(message.charAt(0).toUpperCase() + message.slice(1) + end);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let askForKey = async () => null;

/** Set the function that asks for a key: async, takes the reason, returns the key or null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The response to a request. While the service is busy, the request is sent again, up to `tries`
 * times. If the service needs a key, it is asked for. An answer may take `seconds`; without it, any
 * time. Throws Problem. */
export async function ask(
  path,
  { method = "GET", body, headers = {}, signal, tries: most = TRIES, seconds: patience } = {},
) {
  for (let tries = 1; ; tries += 1) {
    const response = await send(path, { method, body, headers, signal, patience });
    if (response.ok) return response;
    const { detail, type } = await problemOf(response);
    const retryAfter = Number(response.headers.get("Retry-After")) || null;
    const problem = new Problem(detail, response.status, retryAfter);
    if (response.status === 401) {
      const why = sessionStorage.getItem(KEY) ? problem.message : NO_KEY;
      sessionStorage.removeItem(KEY);
      const key = await askForKey(why);
      if (!key) throw problem;
      sessionStorage.setItem(KEY, key);
    } else if (type.endsWith(":busy") && tries < most) {
      await delay(retryAfter ?? 1);
    } else {
      throw problem;
    }
  }
}

export const delay = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function send(path, { method, body, headers, signal, patience }) {
  const key = sessionStorage.getItem(KEY);
  const all = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  const ends = signal ? [signal] : [];
  if (patience) ends.push(AbortSignal.timeout(1000 * patience));
  const until = AbortSignal.any(ends);
  try {
    return await fetch(BASE + path, { method, body, headers: all, signal: until, cache: "no-store" });
  } catch (error) {
    throw brokenOff(error);
  }
}

function brokenOff(error) {
  if (error.name === "AbortError") return error;
  return new Problem("The service does not answer. Is it running?");
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
  return read(await ask(path, options));
}

/** The JSON of a response, which may break off. Throws Problem. */
export async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    throw brokenOff(error);
  }
}

/** Post an image with options. The response has the image object with every probability, or the
 * media type `accept`. Repeated requests store it once. `more` is for `ask`. Throws Problem. */
export async function analyse(image, name, options, { accept, ...more } = {}) {
  const form = new FormData();
  form.append("image", image, name);
  for (const [option, value] of Object.entries(options)) form.append(option, value);
  const headers = { "Idempotency-Key": randomName() };
  if (accept) headers.Accept = accept;
  return ask("/v1/images?view=full", { method: "POST", body: form, headers, ...more });
}

// crypto.randomUUID exists on secure pages only.
function randomName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Let the browser save the body of a response. */
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
