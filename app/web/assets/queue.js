// Queue of images to analyse: the state of each entry, and the order of the requests.

import { analyse, randomKey, read } from "./api.js";

const LANES = 2; // requests at a time
const MAX_PAUSES = 30; // pauses of one entry for a busy service
const MAX_PAUSE = 60; // seconds, if the service does not send Retry-After

export const WAITING = "waiting";
export const ANALYSING = "analysing";
export const DONE = "done";
export const FAILED = "failed";
export const CANCELLED = "cancelled";

/** An image of the queue. `name` is sent to the service, `path` is shown. */
class Entry {
  state = WAITING;
  reason = ""; // why the entry failed or waits
  image = null; // the full JSON of the service
  options = {}; // of the request for `image`
  controller = null; // AbortController of the running request
  isUnsaved = false; // true if `image` is from changed options and not stored
  storedId = null; // id of the image in the store
  replaced = []; // ids of earlier stored results, which are to be deleted
  #key = null; // {text, key}: the Idempotency-Key of the request that has not succeeded yet

  constructor({ file, name, path, problem }) {
    Object.assign(this, { file, name, path, isImage: !problem });
    if (problem) Object.assign(this, { state: FAILED, reason: problem });
  }

  /** Return the Idempotency-Key for a request. A repeated request has the same key, so the service
   * stores the image once even if its first response was lost. */
  keyFor(options) {
    const text = JSON.stringify(options);
    if (this.#key?.text !== text) this.#key = { text, key: randomKey() };
    return this.#key.key;
  }

  /** Set the result of a request that stores the image, unless its options say otherwise. */
  stored(image, options) {
    this.#key = null;
    Object.assign(this, { image, options, isUnsaved: false, storedId: image.id ?? null });
  }

  /** Set the result of a request with changed options, which stores nothing. */
  reanalysed(image, options) {
    Object.assign(this, { image, options, isUnsaved: true });
  }

  get canRetry() {
    return this.isImage && [FAILED, CANCELLED].includes(this.state);
  }
}

/** Analyses images, two at a time. If the service is busy, the queue of several images pauses for
 * the time that the service asks for. */
export class Queue {
  entries = [];
  #lanes = 0;
  #resumeAt = 0; // time in milliseconds
  #hooks;

  /** `options` returns the options of a request. `onChange` gets an entry with a new state, or
   * null for a new list. The queue awaits `onDone` before the next request. */
  constructor({ options, onChange, onDone }) {
    this.#hooks = { options, onChange, onDone };
  }

  /** Return the number of entries with one of the states. */
  count(...states) {
    return this.entries.filter(({ state }) => states.includes(state)).length;
  }

  get isRunning() {
    return this.count(WAITING, ANALYSING) > 0;
  }

  /** Append files: {file, name, path, problem}. A file with a problem is listed, not sent. */
  add(files) {
    const added = files.map((each) => new Entry(each));
    this.entries.push(...added);
    this.#hooks.onChange(null);
    this.#start();
    return added;
  }

  /** Cancel everything and empty the list. */
  clear() {
    const { entries } = this;
    this.entries = [];
    for (const { controller } of entries) controller?.abort();
    this.#resumeAt = 0;
    this.#hooks.onChange(null);
  }

  /** Cancel all entries that have no result yet. */
  cancel() {
    for (const entry of this.entries) {
      if (entry.state === WAITING) this.#set(entry, CANCELLED);
      entry.controller?.abort();
    }
  }

  /** Analyse failed and cancelled entries again. */
  retry(entries) {
    for (const entry of entries.filter(({ canRetry }) => canRetry)) this.#set(entry, WAITING);
    this.#start();
  }

  #set(entry, state, reason = "") {
    Object.assign(entry, { state, reason });
    if (this.entries.includes(entry)) this.#hooks.onChange(entry);
  }

  #next() {
    return this.entries.find(({ state, controller }) => state === WAITING && !controller);
  }

  #start() {
    while (this.#lanes < LANES && this.#next()) this.#work();
  }

  async #work() {
    this.#lanes += 1;
    for (let entry = this.#next(); entry; entry = this.#next()) await this.#analyse(entry);
    this.#lanes -= 1;
  }

  async #analyse(entry) {
    const controller = new AbortController();
    const { signal } = controller;
    entry.controller = controller;
    try {
      for (let pauses = 0; ; pauses += 1) {
        await this.#pause(signal);
        this.#set(entry, ANALYSING);
        try {
          await this.#request(entry, signal);
          break;
        } catch (error) {
          if (!this.#isBusy(error) || pauses === MAX_PAUSES) throw error;
          const seconds = error.retryAfter ?? Math.min(2 ** pauses, MAX_PAUSE);
          this.#resumeAt = Math.max(this.#resumeAt, Date.now() + 1000 * seconds);
          this.#set(entry, WAITING, `The service is busy. Next try in ${seconds} s.`);
        }
      }
      this.#set(entry, DONE);
    } catch (error) {
      if (signal.aborted) this.#set(entry, CANCELLED);
      else this.#fail(entry, error);
    } finally {
      entry.controller = null;
    }
    if (entry.state === DONE || entry.state === FAILED) await this.#hooks.onDone(entry);
  }

  async #request(entry, signal) {
    const options = await this.#hooks.options();
    signal.throwIfAborted();
    // A single image is retried by `ask`, a list of images by this queue.
    const maxTries = this.entries.length > 1 ? { maxTries: 1 } : {};
    const key = entry.keyFor(options);
    const response = await analyse(entry.file, entry.name, options, { signal, key, ...maxTries });
    entry.stored(await read(response), options);
  }

  // Without the key or the right, all other requests would fail too.
  #fail(entry, error) {
    this.#set(entry, FAILED, error.message);
    if ([401, 403].includes(error.status)) this.cancel();
  }

  #isBusy(error) {
    return this.entries.length > 1 && [429, 503].includes(error.status);
  }

  async #pause(signal) {
    while (Date.now() < this.#resumeAt) {
      await new Promise((done) => setTimeout(done, Math.min(200, this.#resumeAt - Date.now())));
      signal.throwIfAborted();
    }
  }
}
