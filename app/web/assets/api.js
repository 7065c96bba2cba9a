// API client of the page.

// The address of the service, which may have a path. This file is in the folder assets/.
const BASE = new URL("..", import.meta.url).href.replace(/\/$/, "");
const KEY = "emotion-key"; // name in sessionStorage, which the browser clears with the tab
const MAX_TRIES = 4;
const NO_KEY = "Ask the operator of the service for an API key.";

/** An error with a message for users. `status` is 0 without a response. `retryAfter` is the number
 * of seconds after which the service accepts another request, or null. */
export class Problem extends Error {
  constructor(message, status = 0, retryAfter = null) {
    const end = /[.?!…]$/.test(message) ? "" : ".";
    super(message.charAt(0).toUpperCase() + message.slice(1) + end);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let askForKey = async () => null;

/** Set the function that asks the user for an API key. It is async, takes the reason, and returns
 * the key or null. */
export function onKeyNeeded(askUser) {
  askForKey = askUser;
}

/** Send a request and return the response. Retries while the service is busy, up to `maxTries`
 * requests in all. Asks the user for an API key if the service requires one. `timeout` is in
 * seconds; there is none by default. Throws Problem. */
export async function ask(
  path,
  { method = "GET", body, headers = {}, signal, maxTries = MAX_TRIES, timeout } = {},
) {
  for (let tries = 1; ; tries += 1) {
    const response = await send(path, { method, body, headers, signal, timeout });
    if (response.ok) return response;
    const { detail, type } = await problemOf(response);
    const retryAfter = Number(response.headers.get("Retry-After")) || null;
    const problem = new Problem(detail, response.status, retryAfter);
    if (response.status === 401) {
      const reason = sessionStorage.getItem(KEY) ? problem.message : NO_KEY;
      sessionStorage.removeItem(KEY);
      const key = await askForKey(reason);
      if (!key) throw problem;
      sessionStorage.setItem(KEY, key);
    } else if (type.endsWith(":busy") && tries < maxTries) {
      await delay(retryAfter ?? 1);
    } else {
      throw problem;
    }
  }
}

export const delay = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function send(path, { method, body, headers: requestHeaders, signal: abort, timeout }) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { ...requestHeaders, Authorization: `Bearer ${key}` } : requestHeaders;
  const signals = abort ? [abort] : [];
  if (timeout) signals.push(AbortSignal.timeout(1000 * timeout));
  const signal = AbortSignal.any(signals);
  try {
    return await fetch(BASE + path, { method, body, headers, signal, cache: "no-store" });
  } catch (error) {
    throw connectionProblem(error);
  }
}

function connectionProblem(error) {
  if (error.name === "AbortError") return error;
  return new Problem("The service cannot be reached. Check that it is running.");
}

async function problemOf(response) {
  try {
    const { detail, type } = await response.json();
    return { detail: detail ?? response.statusText, type: type ?? "" };
  } catch {
    return { detail: `The service responded with status ${response.status}.`, type: "" };
  }
}

/** Request a path and return the JSON of the response. Throws Problem. */
export async function get(path, options) {
  return read(await ask(path, options));
}

/** Return the JSON of a response. Throws Problem if the connection breaks. */
export async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    throw connectionProblem(error);
  }
}

/** Post an image with options. The response is the full JSON, or has the media type `accept`.
 * Retries have the same Idempotency-Key: `key`, by default a random one. `requestOptions` are passed
 * to `ask`. Throws Problem. */
export async function analyse(
  image,
  name,
  options,
  { accept, key = randomKey(), ...requestOptions } = {},
) {
  const form = new FormData();
  form.append("image", image, name);
  for (const [option, value] of Object.entries(options)) form.append(option, value);
  const headers = { "Idempotency-Key": key };
  if (accept) headers.Accept = accept;
  return ask("/v1/images?view=full", { method: "POST", body: form, headers, ...requestOptions });
}

/** Return a random Idempotency-Key. */
export function randomKey() {
  // crypto.randomUUID is available on secure pages only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Let the browser save the body of a response. */
export async function save(response, name) {
  const url = URL.createObjectURL(await response.blob());
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Create an element with properties and children. Strings become text, never markup. */
export function element(name, properties = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in created) created[key] = value;
    else created.setAttribute(key, value);
  }
  created.append(...children);
  return created;
}
